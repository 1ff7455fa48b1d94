"""What a Worker needs before its code: D1's newest schema, and every secret that it reads."""

from __future__ import annotations

from collections.abc import Sequence

from shimmy_ops.domain.deploying.worker_words import CONFIG, worker_words
from shimmy_ops.domain.deploying.wrangler_config import fill_config
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.releases.records import Release
from shimmy_ops.errors import DeployError
from shimmy_ops.ports.deploying import Commands, SecretValues, Workbench
from shimmy_ops.use_cases.list_worker_secrets import list_worker_secrets
from shimmy_ops.use_cases.put_in_place import Yard


def prepare_worker(
    release: Release,
    profile: Profile,
    yard: Yard,
    commands: Commands,
    bench: Workbench,
    secrets: SecretValues,
) -> None:
    """The same again changes nothing. Secrets that are there are left. Raises DeployError.

    Where the profile has words of its own for deploying and none for wrangler, they do all this.
    """
    if not profile.wrangler:
        yard.told("worker: worker_deploy does everything; no wrangler is named")
        return
    folder = yard.shelf.folder(release.parts["worker"])
    words = worker_words(profile, str(folder))
    config = fill_config(bench.read(folder, CONFIG), words.environment, {})
    for database in config.databases:
        _need(commands.run(words.migrate(database)).code, f"migrating {database}")
        yard.told(f"worker: {database} has the newest schema")
    there = list_worker_secrets(words, commands) or frozenset()
    # Also what the bundle does not ask for and the environment has: the token of the metrics.
    besides = sorted(secrets.names() - {*config.secrets, *config.variables})
    missing = [name for name in (*config.secrets, *besides) if name not in there]
    _refuse_unknown([name for name in missing if name not in secrets.names()])
    for name in missing:
        # Read only now, and handed on by the command's input: no list of words holds it.
        _need(commands.run(words.put_secret(name), secrets.read(name)).code, f"putting {name}")
        yard.told(f"worker: {name} is put")


def _refuse_unknown(names: Sequence[str]) -> None:
    if names:
        raise DeployError(
            "worker-secrets-missing",
            f"The Worker has no {', '.join(names)}, and the environment file refers to none.",
            hint="Put each value into a file (0600), and name it with NAME_FILE in the file that "
            "--env names.",
        )


def _need(code: int, doing: str) -> None:
    if code:
        raise DeployError(
            "wrangler-refused",
            f"Wrangler ended with {code} when {doing}. The Worker that runs was not replaced.",
            hint="The deploy's log has what it said; the same command goes on.",
        )
