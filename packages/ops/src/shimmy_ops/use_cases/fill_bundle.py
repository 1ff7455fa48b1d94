"""A copy of the Worker's bundle whose configuration says what the store's environment says."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import PurePath

from shimmy_ops.domain.deploying.worker_words import CONFIG, worker_environment
from shimmy_ops.domain.deploying.wrangler_config import fill_config
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.releases.config_file import parse_config
from shimmy_ops.ports.deploying import Workbench


def fill_bundle(
    bundle: PurePath, environment: str | None, profile: Profile, bench: Workbench
) -> AbstractContextManager[PurePath]:
    """Gone when the block ends. ``environment`` is the file's text. Raises DeployError."""
    values = {} if environment is None else parse_config(environment).values
    text = bench.read(bundle, CONFIG)
    filled = fill_config(text, worker_environment(profile), values)
    return bench.changed(bundle, CONFIG, filled.text)
