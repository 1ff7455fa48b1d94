"""Which findings may stay, who said so and until when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import NoReturn

from shimmy_ops.domain.secrets.findings import Finding, Level, Origin, Spot
from shimmy_ops.domain.secrets.kinds import REMEDIES
from shimmy_ops.errors import ScanError

_FIELDS = {"fingerprint", "path", "kind", "reason", "expires"}
_SHORTEST_REASON = 12


@dataclass(frozen=True, slots=True)
class Allowance:
    """One entry: a value by its fingerprint, or a kind of finding at some paths."""

    number: int
    reason: str
    fingerprint: str | None = None
    path: str | None = None
    kind: str | None = None
    expires: date | None = None

    def covers(self, finding: Finding) -> bool:
        """Whether everything that the entry names fits."""
        return (
            (self.fingerprint is None or self.fingerprint == finding.fingerprint)
            and (self.kind is None or self.kind == finding.kind)
            and (self.path is None or _fits(finding.origin, self.path))
        )

    def __str__(self) -> str:
        parts = (self.fingerprint, self.kind, self.path)
        return f"entry {self.number} ({', '.join(part for part in parts if part)})"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is left of the findings, and how many were allowed."""

    findings: tuple[Finding, ...]
    allowed: int


def parse_allowances(data: Mapping[str, object]) -> tuple[Allowance, ...]:
    """The entries of an allow-list; an error says which one is wrong and why."""
    entries = data.get("allow", [])
    if set(data) - {"allow"} or not isinstance(entries, list):
        _refuse("The allow-list holds something else than [[allow]] tables.")
    return tuple(_allowance(number, entry) for number, entry in enumerate(entries, 1))


def judge(
    findings: Iterable[Finding],
    allowances: tuple[Allowance, ...],
    list_path: str,
    today: date,
    *,
    whole: bool,
) -> Judgement:
    """Take away what is allowed; ``whole`` scans also say which entries nothing needs."""
    valid = [a for a in allowances if a.expires is None or a.expires >= today]
    used: set[int] = set()
    left, allowed = [], 0
    for finding in findings:
        covering = [a.number for a in valid if a.covers(finding)]
        used.update(covering)
        allowed += bool(covering)
        if not covering:
            left.append(finding)
    left.extend(_about_the_list(allowances, used, list_path, today, whole=whole))
    return Judgement(tuple(left), allowed)


def _about_the_list(
    allowances: tuple[Allowance, ...], used: set[int], path: str, today: date, *, whole: bool
) -> Iterator[Finding]:
    for allowance in allowances:
        if allowance.expires is not None and allowance.expires < today:
            kind = "allowance-expired"
        elif whole and allowance.number not in used:
            kind = "allowance-unused"
        else:
            continue
        origin = Origin(path)
        yield Finding(kind, origin, Spot(), str(allowance), "", REMEDIES[kind], Level.WARNING)


def _fits(origin: Origin, pattern: str) -> bool:
    names = (origin.full, *origin.members[-1:])
    return any(fnmatchcase(name, pattern) for name in names)


def _allowance(number: int, entry: object) -> Allowance:
    if not isinstance(entry, dict) or set(entry) - _FIELDS:
        _refuse(f"Entry {number} may hold only {', '.join(sorted(_FIELDS))}.")
    texts = {name: entry.get(name) for name in ("fingerprint", "path", "kind", "reason")}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            _refuse(f"Entry {number}: {name} is not text.")
    reason, fingerprint = texts["reason"] or "", texts["fingerprint"]
    path, kind, expires = texts["path"], texts["kind"], entry.get("expires")
    if len(reason.strip()) < _SHORTEST_REASON:
        _refuse(f"Entry {number} gives no reason.")
    if fingerprint is None and not (path and kind):
        _refuse(f"Entry {number} names neither a fingerprint nor a path with a kind.")
    if fingerprint is not None and not re.fullmatch(r"[0-9a-f]{16}", fingerprint):
        _refuse(f"Entry {number}: a fingerprint is 16 hexadecimal digits.")
    if path is not None and not re.search(r"\w{3}", path):
        _refuse(f"Entry {number}: the path fits everything.")
    if kind is not None and kind not in REMEDIES:
        _refuse(f"Entry {number}: there is no kind {kind!r}.")
    if expires is not None and type(expires) is not date:
        _refuse(f"Entry {number}: expires is no date, as in expires = 2027-01-31.")
    return Allowance(number, reason, fingerprint, path, kind, expires)


def _refuse(message: str) -> NoReturn:
    raise ScanError("allow-list-wrong", message, hint="docs/ops.md has the rules and an example.")
