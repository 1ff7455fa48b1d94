"""The store's environment file: what provisioning knows, and by reference what is secret."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from shimmy_ops.domain.steps import Found
from shimmy_ops.domain.store_env import LEFT, MADE, store_environment
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.ports.environment_file import EnvironmentFile
from shimmy_ops.ports.safe import Safe


def write_store_env(
    desired: Desired, found: Found, safe: Safe, file: EnvironmentFile, fresh: Callable[[], str]
) -> None:
    """Lines for a shell. Raises ProvisionError where something is missing, KeepingError.

    ``fresh`` makes a secret that nobody can guess: for those that are made here, the first time.
    """
    known = store_environment(desired, found)
    for name in sorted(set(MADE.values()) - safe.held(MADE.values())):
        safe.keep(name, fresh())
    for name, source in known.copied.items():
        secret = safe.read(source)
        if secret and secret != safe.read(name):
            safe.keep(name, secret)
    unsigned = () if found.licensing.public_key else ("KEYGEN_PUBLIC_KEY",)
    left = ", ".join(f"SHIMMY_STORE_{name}" for name in (*LEFT, *unsigned))
    file.write(
        [
            f"# Written by shimmy-ops provision --profile {desired.profile.name}.",
            f"# Still to be given: {left}.",
            *(f"export {name}={shlex.quote(value)}" for name, value in known.plain.items()),
            *(safe.assignment(variable, name) for variable, name in known.kept.items()),
        ]
    )
