"""Words of Cloudflare's command line, for one environment of a bundle's wrangler.jsonc."""

from __future__ import annotations

from dataclasses import dataclass

from shimmy_ops.domain.profile import Profile

CONFIG = "wrangler.jsonc"
FOLDER = "{folder}"
Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerWords:
    """``wrangler`` are the words that begin each; ``folder`` is where the bundle lies."""

    wrangler: Words
    environment: str
    folder: str

    def _of(self, *words: str) -> Words:
        config = f"{self.folder}/{CONFIG}"
        return (*self.wrangler, *words, "--config", config, "--env", self.environment)

    def deploy(self) -> Words:
        """Put the bundle in place."""
        return self._of("deploy")

    def dry_run(self, into: str) -> Words:
        """All of a deploy but the deploy; reaches nobody."""
        return self._of("deploy", "--dry-run", "--outdir", into)

    def migrate(self, database: str) -> Words:
        """Bring D1 to the newest schema that the bundle knows; what is there already is left."""
        return self._of("d1", "migrations", "apply", database, "--remote")

    def list_secrets(self) -> Words:
        """Their names; nobody is told their values."""
        return self._of("secret", "list", "--format", "json")

    def put_secret(self, name: str) -> Words:
        """The value is read from the command's input."""
        return self._of("secret", "put", name)


def worker_environment(profile: Profile) -> str:
    """Which environment of wrangler.jsonc a profile is."""
    return profile.worker_env or ("production" if profile.livemode else "test")


def worker_words(profile: Profile, folder: str) -> WorkerWords:
    """A profile's, for the bundle in ``folder``."""
    return WorkerWords(profile.wrangler, worker_environment(profile), folder)


def deploy_words(profile: Profile) -> Words:
    """The profile's own words, or wrangler's; empty where it names neither."""
    if profile.worker_deploy or not profile.wrangler:
        return profile.worker_deploy
    return worker_words(profile, FOLDER).deploy()
