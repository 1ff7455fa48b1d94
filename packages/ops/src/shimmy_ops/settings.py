"""What the environment gives, secrets among it: the only module that reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from shimmy_ops.domain.credentials import GivenSecret

_PREFIX = "SHIMMY_OPS"


def given_secret(
    profile: str, credential: str, environ: Mapping[str, str] | None = None
) -> GivenSecret:
    """``SHIMMY_OPS_LIVE_STRIPE_KEY`` or, before it, ``…_FILE``: each profile has its own."""
    given = os.environ if environ is None else environ
    variable = f"{_PREFIX}_{profile}_{credential}".upper().replace("-", "_")
    value, file = given.get(variable, ""), given.get(f"{variable}_FILE", "")
    return GivenSecret(variable, value.strip(), file.strip())


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, for a command that we run; a Python there says each line when it is written."""
    given = os.environ if environ is None else environ
    return {**given, "PYTHONUNBUFFERED": "1"}


def allows_synthetic(environ: Mapping[str, str] | None = None) -> bool:
    """Whether programs started from here would take models of random weights."""
    given = os.environ if environ is None else environ
    return given.get("SHIMMY_ALLOW_SYNTHETIC", "").strip().lower() not in ("", "0", "false", "no")


_CUSTOMERS = ("SHIMMY_LIBRARY_DIR", "SHIMMY_MODEL", "SHIMMY_MODEL_BASE_URL", "SHIMMY_MODEL_DIR")


def customer_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a customer's programs are started with: no secret, licence or machine of ours."""
    given = os.environ if environ is None else environ
    kept = {name: value for name, value in given.items() if not name.startswith("SHIMMY_")}
    return kept | {name: given[name] for name in _CUSTOMERS if name in given}
