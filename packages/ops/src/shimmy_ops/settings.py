"""Which secrets the environment gives: the only module that reads it."""

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
