"""Entries of allow-lists: what may stay, why, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn

from shimmy_ops.errors import ReleaseError

_SHORTEST_REASON = 12


@dataclass(frozen=True, slots=True)
class HoleAllowance:
    """A known hole that does not reach us; ``package`` empty: in whatever package."""

    id: str
    package: str
    reason: str
    expires: date

    def __str__(self) -> str:
        return f"{self.id}{f' in {self.package}' if self.package else ''}"


@dataclass(frozen=True, slots=True)
class Settled:
    """What a package's own data leave open, by somebody who read its files."""

    package: str
    licence: str
    reason: str


@dataclass(frozen=True, slots=True)
class Inside:
    """Somebody else's part within a package; ``text`` is a licence file as `FILE of PACKAGE`."""

    package: str
    what: str
    licence: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What is used and comes with no release: whoever uses it fetches it."""

    what: str
    licence: str
    reason: str


@dataclass(frozen=True, slots=True)
class LicenceRules:
    """``accepted``: SPDX ids and why."""

    accepted: Mapping[str, str]
    settled: tuple[Settled, ...] = ()
    inside: tuple[Inside, ...] = ()
    beside: tuple[Beside, ...] = ()


def parse_hole_allowances(data: Mapping[str, Any]) -> tuple[HoleAllowance, ...]:
    """Of audit-allow.toml: [[allow]] with id, reason, expires, and perhaps package.

    An end is demanded: what does not reach us today may tomorrow. Raises ReleaseError.
    """
    found = []
    for number, entry in _entries(data, "allow", {"allow"}):
        texts = _texts(entry, f"entry {number}", ("id", "reason"), ("package",), ("expires",))
        expires = entry.get("expires")
        if type(expires) is not date:
            _refuse(f"entry {number}: expires is no date, as in expires = 2027-01-31")
        found.append(HoleAllowance(texts["id"], texts["package"], texts["reason"], expires))
    return tuple(found)


def parse_licence_rules(data: Mapping[str, Any]) -> LicenceRules:
    """Of licences-allow.toml. Raises ReleaseError."""
    tables = {"licence", "package", "inside", "beside"}
    accepted, settled, inside, beside = {}, [], [], []
    for number, entry in _entries(data, "licence", tables):
        one = _texts(entry, f"licence {number}", ("id", "reason"))
        accepted[one["id"]] = one["reason"]
    for number, entry in _entries(data, "package", tables):
        one = _texts(entry, f"package {number}", ("name", "licence", "reason"))
        settled.append(Settled(one["name"], one["licence"], one["reason"]))
    for number, entry in _entries(data, "inside", tables):
        names = ("package", "what", "licence", "reason")
        one = _texts(entry, f"inside {number}", names, ("text",))
        inside.append(Inside(*(one[name] for name in (*names, "text"))))
    for number, entry in _entries(data, "beside", tables):
        one = _texts(entry, f"beside {number}", ("what", "licence", "reason"))
        beside.append(Beside(one["what"], one["licence"], one["reason"]))
    return LicenceRules(accepted, tuple(settled), tuple(inside), tuple(beside))


def _entries(
    data: Mapping[str, Any], table: str, known: set[str]
) -> list[tuple[int, Mapping[str, Any]]]:
    entries = data.get(table, [])
    if set(data) - known or not isinstance(entries, list):
        _refuse(f"it holds something else than {', '.join(f'[[{one}]]' for one in sorted(known))}")
    if not all(isinstance(one, dict) for one in entries):
        _refuse(f"[[{table}]] is no table")
    return list(enumerate(entries, 1))


def _texts(
    entry: Mapping[str, Any],
    where: str,
    needed: tuple[str, ...],
    optional: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
) -> dict[str, str]:
    strange = set(entry) - {*needed, *optional, *others}
    if strange:
        _refuse(f"{where}: {', '.join(sorted(strange))} is not known here")
    found = {name: entry.get(name, "") for name in (*needed, *optional)}
    for name, value in found.items():
        if not isinstance(value, str) or (name in needed and not value.strip()):
            _refuse(f"{where}: {name} is missing, or no text")
    if "reason" in found and len(found["reason"].strip()) < _SHORTEST_REASON:
        _refuse(f"{where} gives no reason")
    return found


def _refuse(message: str) -> NoReturn:
    raise ReleaseError(
        "allowances-wrong", f"The allow-list: {message}.", hint="docs/ops.md has the rules."
    )
