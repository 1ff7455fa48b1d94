"""Licences, machines and verdicts as values, read from Keygen's JSON:API documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class LicenceFacts:
    """One licence; None in a limit means unlimited, in ``expiry`` never.

    ``period_start`` and ``period_end`` bound the month whose pages ``uses`` counts. Fulfilment
    writes them into the licence's metadata before it resets the count, with ``reset_at``, the
    moment of writing; it resets within five minutes from then or writes anew. None before the
    first reset.
    """

    id: str
    expiry: datetime | None
    suspended: bool
    uses: int
    max_uses: int | None
    max_machines: int | None
    plan: str
    period_start: datetime | None
    period_end: datetime | None
    reset_at: datetime | None = None
    key: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine a licence is activated on; ``name`` is what its owner calls it."""

    id: str
    fingerprint: str = field(repr=False)
    name: str
    platform: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Valid:
    """The server's signed yes, said at ``at``."""

    facts: LicenceFacts
    at: datetime


@dataclass(frozen=True, slots=True)
class Denial:
    """The server's signed no, said at ``at``; ``code`` is Keygen's and only explains."""

    code: str
    detail: str
    at: datetime
    licence: str = ""
    expiry: datetime | None = None
    max_machines: int | None = None
    machines: tuple[Machine, ...] = ()


Verdict: TypeAlias = Valid | Denial


def read_verdict(document: Mapping[str, Any], nonce: int, at: datetime) -> Verdict:
    """The verdict of a validation; ``at`` is the moment it was signed.

    Raises ValueError for a document that is no answer to ``nonce``.
    """
    meta = _object(document.get("meta"), "meta")
    if meta.get("nonce") != nonce:
        raise ValueError("the nonce was not echoed")
    data = document.get("data")
    facts = None if data is None else read_licence(_object(data, "data"))
    if meta.get("valid") is True and facts is not None:
        return Valid(facts, at)
    denial = Denial(str(meta.get("code") or ""), str(meta.get("detail") or ""), at)
    if facts is None:
        return denial
    return replace(denial, licence=facts.id, expiry=facts.expiry, max_machines=facts.max_machines)


def read_licence(resource: Mapping[str, Any]) -> LicenceFacts:
    """A ``licenses`` resource; ValueError for anything else."""
    attributes = _attributes(resource, "licenses")
    metadata = _object(attributes.get("metadata") or {}, "metadata")
    return LicenceFacts(
        id=_text(resource, "id"),
        expiry=read_moment(attributes.get("expiry")),
        suspended=attributes.get("suspended") is not False,
        uses=_count(attributes.get("uses"), "uses") or 0,
        max_uses=_count(attributes.get("maxUses"), "maxUses"),
        max_machines=_count(attributes.get("maxMachines"), "maxMachines"),
        plan=one_line(metadata.get("plan") or attributes.get("name") or "", 60) or "licensed",
        period_start=read_moment(metadata.get("pagesPeriodStart")),
        period_end=read_moment(metadata.get("pagesPeriodEnd")),
        reset_at=read_moment(metadata.get("pagesResetAt")),
        key=str(attributes.get("key") or ""),
    )


def read_machine(resource: Mapping[str, Any]) -> Machine:
    """A ``machines`` resource; ValueError for anything else."""
    attributes = _attributes(resource, "machines")
    return Machine(
        id=_text(resource, "id"),
        fingerprint=_text(attributes, "fingerprint"),
        name=_printable(attributes.get("name") or attributes.get("hostname") or "unnamed"),
        platform=_printable(attributes.get("platform") or "unknown"),
        since=read_moment(attributes.get("created")),
    )


def read_machines(document: Mapping[str, Any]) -> tuple[Machine, ...]:
    """A list of ``machines``."""
    data = document.get("data")
    if isinstance(data, list):
        return tuple(read_machine(_object(one, "data")) for one in data)
    raise ValueError("data is no list")


def related_id(resource: Mapping[str, Any], name: str) -> str:
    """The id of a to-one relationship, empty where there is none."""
    relations = _object(resource.get("relationships") or {}, "relationships")
    data = _object(relations.get(name) or {}, name).get("data") or {}
    return str(_object(data, name).get("id", ""))


def included(document: Mapping[str, Any], kind: str) -> Sequence[Mapping[str, Any]]:
    """The included resources of one type."""
    listed = document.get("included") or []
    if isinstance(listed, list):
        return [one for one in listed if isinstance(one, dict) and one.get("type") == kind]
    raise ValueError("included is no list")


def read_moment(value: object) -> datetime | None:
    """A wire time, in UTC; None stays None, anything else is a ValueError."""
    if value is None:
        return None
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        try:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except OverflowError as error:
            raise ValueError("a time is beyond the calendar") from error
    raise ValueError("a time is no text")


def _attributes(resource: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    if _object(resource, "a resource").get("type") != kind:
        raise ValueError(f"not one of {kind}")
    return _object(resource.get("attributes"), "attributes")


def _object(value: object, name: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{name} is no object")


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{name} is no text")


def _count(value: object, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{name} is no count")


def one_line(text: object, longest: int) -> str:
    """What somebody else wrote, fit for a terminal: one line, bounded, no control characters."""
    line = "".join(one if one.isprintable() else " " for one in str(text)[:longest])
    return " ".join(line.split())


def _printable(text: object) -> str:
    """Names of machines: what cannot be shown stays visible as such."""
    return "".join(one if one.isprintable() else "?" for one in str(text))[:60]
