"""Who runs the store, as the legal pages name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from shimmy_store.errors import SiteError


@dataclass(frozen=True, slots=True)
class Operator:
    """All texts, shown as they are. ``law``: whose law the terms stand under."""

    name: str
    address: str
    email: str
    registration: str
    law: str
    courts: str
    tax: str
    refund_days: str
    effective: str
    source: str


# What each field is, for whoever has to fill it in.
MEANINGS: Mapping[str, str] = {
    "name": "the legal name of whoever sells",
    "address": "the postal address, in one line",
    "email": "the address that customers write to",
    "registration": "register and number, or the word none",
    "law": "the law that the terms stand under, like 'the law of Ireland'",
    "courts": "where disputes are heard",
    "tax": "how sales tax or VAT is handled, as a sentence",
    "refund_days": "days within which a purchase is refunded on request",
    "effective": "the day from which the texts hold",
    "source": "https address where customers get the program",
}
_NAMES = tuple(one.name for one in fields(Operator))


def draft_operator() -> Operator:
    """Every field a mark that is seen at once, and that a live site is refused with."""
    return Operator(**{name: f"[[OPERATOR: {MEANINGS[name]}]]" for name in _NAMES})


def parse_operator(data: Any) -> Operator:
    """From the operator's file; SiteError names every field that is missing, odd or unknown.

    ``reviewed = true`` says that a person who may has read the three legal pages.
    """
    given = data if isinstance(data, dict) else {}
    problems = [
        f"{name} is missing: {MEANINGS[name]}" for name in _NAMES if not _text(given.get(name))
    ]
    if given.get("reviewed") is not True:
        problems.append("reviewed is not true: the three legal pages are drafts until it is")
    if _text(given.get("email")) and "@" not in _text(given["email"]):
        problems.append("email is no address")
    if _text(given.get("source")) and not _text(given["source"]).startswith("https://"):
        problems.append("source does not begin with https://")
    days = _text(given.get("refund_days"))
    if days and not days.isdecimal():
        problems.append("refund_days is no whole number")
    unknown = sorted(set(given) - {*_NAMES, "reviewed"})
    problems += [f"{name} is not known" for name in unknown]
    if problems:
        raise SiteError(
            "operator-incomplete",
            "The operator's file cannot be used:\n  " + "\n  ".join(problems),
            hint="docs/site.md shows one.",
        )
    return Operator(**{name: _text(given[name]) for name in _NAMES})


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()
