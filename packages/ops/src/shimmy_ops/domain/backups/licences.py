"""Licences that a backup has and Keygen has not: what is made again, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Document: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LicenceAgain:
    """A licence under its old id and key; ``policy`` None: no policy of its plan is there."""

    id: str
    policy: str | None
    attributes: Document = field(repr=False)


def missing_licences(
    kept: Document,
    found: Sequence[Document],
    policies: Sequence[Document],
    erased: frozenset[str],
) -> tuple[LicenceAgain, ...]:
    """``kept`` is the backup's part of Keygen; ``found`` and ``policies`` are there now.

    A policy that has another id now is known by its plan. Who was ``erased`` gets nothing again.
    """
    there = {str(one["id"]) for one in found}
    plans = {str(one["id"]): _plan(one) for one in kept["policies"]}
    limits = {str(one["id"]): one for one in kept["policies"]}
    now = {str(one["id"]) for one in policies}
    by_plan = {_plan(one): str(one["id"]) for one in policies if _plan(one)}
    return tuple(
        LicenceAgain(
            str(one["id"]),
            one["policy"] if one["policy"] in now else by_plan.get(plans.get(one["policy"], "")),
            _attributes(one, limits.get(one["policy"], {})),
        )
        for one in kept["licences"]
        if str(one["id"]) not in there and _customer(one) not in erased
    )


def _customer(licence: Document) -> str:
    return str((licence.get("metadata") or {}).get("customer") or "")


def _plan(policy: Document) -> str:
    return str((policy.get("metadata") or {}).get("plan") or "")


def _attributes(licence: Document, policy: Document) -> dict[str, Any]:
    """What a licence is made with; a limit only where it is not its policy's."""
    names = ("name", "key", "expiry", "suspended", "metadata")
    own = {
        name: licence[name]
        for name in ("maxMachines", "maxUses")
        if licence.get(name) is not None and licence.get(name) != policy.get(name)
    }
    return {**{name: licence.get(name) for name in names}, **own}
