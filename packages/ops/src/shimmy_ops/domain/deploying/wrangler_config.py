"""A bundle's wrangler.jsonc: what of an environment is still empty, and filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shimmy_ops.errors import DeployError

_COMMENTS = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(\s*[}\]])', re.DOTALL)
_NO_DATABASE = "00000000-0000-0000-0000-000000000000"
_OPTIONAL = ("SHIMMY_STORE_PORTAL", "SHIMMY_STORE_KEYGEN_PUBLIC_KEY", "SHIMMY_STORE_STRIPE_URL",
             "SHIMMY_STORE_KEYGEN_URL")  # fmt: skip
# The file says which binding is the ledger, and no environment file elsewhere can know it.
_OF_THE_WORKER = ("SHIMMY_STORE_LEDGER",)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """``text`` is the whole file with an environment filled in.

    ``variables`` as they are deployed, ``secrets`` the names that must be there, ``databases`` the
    names of D1's.
    """

    text: str
    variables: Mapping[str, str]
    secrets: tuple[str, ...]
    databases: tuple[str, ...]


def fill_config(text: str, environment: str, values: Mapping[str, str]) -> WorkerConfig:
    """``values`` are plain ones of the store's environment file. Raises DeployError.

    Secrets and what only the Worker knows stay as they are.
    """
    read = _parsed(text)
    try:
        chosen = read["env"][environment]
        secrets = tuple(str(one) for one in chosen.get("secrets", {}).get("required", ()))
        known = chosen.setdefault("vars", {})
        wanted = [name for name in values if not name.endswith("_FILE")]
        for name in wanted:
            if name not in secrets and name not in _OF_THE_WORKER:
                known[name] = values[name]
        variables = {str(name): str(value) for name, value in known.items()}
        databases = [(str(one["database_name"]), str(one["database_id"]))
                     for one in chosen.get("d1_databases", ())]  # fmt: skip
    except (LookupError, TypeError, AttributeError) as error:
        raise _unreadable(f"it has no whole environment {environment}") from error
    _refuse_gaps(environment, variables, databases)
    names = tuple(name for name, _ in databases)
    return WorkerConfig(json.dumps(read, indent=2) + "\n", variables, secrets, names)


def _parsed(text: str) -> dict[str, Any]:
    plain = _COMMENTS.sub(lambda found: found[1] or "", text)
    plain = _TRAILING.sub(lambda found: found[1] or found[2], plain)
    try:
        read = json.loads(plain)
    except ValueError as error:
        raise _unreadable("it is no JSON with comments") from error
    if not isinstance(read, dict):
        raise _unreadable("it is no object")
    return read


def _refuse_gaps(
    environment: str, variables: Mapping[str, str], databases: list[tuple[str, str]]
) -> None:
    gaps = [f"{name} is empty" for name, value in variables.items()
            if not value and name not in _OPTIONAL]  # fmt: skip
    gaps += [f"the database_id of {name} is still to be filled in"
             for name, identifier in databases if identifier in ("", _NO_DATABASE)]  # fmt: skip
    if gaps:
        raise DeployError(
            "worker-config-incomplete",
            f"Environment {environment} of wrangler.jsonc is not whole:\n  " + "\n  ".join(gaps),
            hint="--env names the store's environment file, whose plain values fill it; "
            "`wrangler d1 create NAME` tells a database's id.",
        )


def _unreadable(why: str) -> DeployError:
    return DeployError(
        "worker-config-unreadable",
        f"The bundle's wrangler.jsonc cannot be used: {why}.",
        hint="make worker prepares a bundle in build/worker.",
    )
