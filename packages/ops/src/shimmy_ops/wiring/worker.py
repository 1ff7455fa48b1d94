"""The Worker in place, as Cloudflare's own command tells of it."""

from __future__ import annotations

from pathlib import Path

from shimmy_ops.adapters.deploying.folder_bench import FolderBench
from shimmy_ops.adapters.deploying.logged_commands import LoggedCommands
from shimmy_ops.domain.deploying.worker_words import CONFIG, worker_words
from shimmy_ops.domain.deploying.wrangler_config import fill_config
from shimmy_ops.domain.preflight.facts import Unasked, WorkerSecrets
from shimmy_ops.domain.profile import Profile
from shimmy_ops.settings import child_environment
from shimmy_ops.use_cases.list_worker_secrets import list_worker_secrets
from shimmy_ops.wiring.releases import open_shelf


def ask_worker_secrets(profile: Profile, base: Path) -> WorkerSecrets | Unasked:
    """Of the release in place; ``base`` is where the profile's folders are. Raises OpsError."""
    if not profile.wrangler:
        return Unasked("The profile names no wrangler: no Worker is asked.", needless=True)
    shelf = open_shelf(profile, base)
    active = shelf.state().active
    parts = {} if active is None else shelf.history().find(active).parts
    if "worker" not in parts:
        return Unasked("The release in place has no Worker.", needless=True)
    folder = shelf.folder(parts["worker"])
    words = worker_words(profile, str(folder))
    wanted = fill_config(FolderBench().read(folder, CONFIG), words.environment, {}).secrets
    log = base / profile.state_folder / "deploys" / "preflight.log"
    there = list_worker_secrets(words, LoggedCommands(base, log, child_environment()))
    missing = tuple(one for one in wanted if one not in (there or ()))
    return WorkerSecrets(len(wanted), missing)
