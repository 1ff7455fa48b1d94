"""SPDX licence expressions: what a package says, and whether it may be used on these terms."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_WORDS = re.compile(r"[()]|[^\s()]+")
# What the trove classifiers say without doubt; "BSD License" names three licences.
_CLASSIFIERS: Mapping[str, str] = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def settle_expression(expression: str, free_text: str, classifiers: Sequence[str]) -> str:
    """The expression of a package's data; empty where they leave it open."""
    for given in (expression, free_text):
        if given and (canonical := canonical_expression(given)):
            return canonical
    ends = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    named = [one for one in ends if one != "OSI Approved"]
    if len(named) == 1:
        return _CLASSIFIERS.get(named[0], "")
    return ""


def canonical_expression(given: str) -> str:
    """As SPDX writes it; empty where it is no expression."""
    try:
        return str(canonicalize_license_expression(given))
    except InvalidLicenseExpression:
        return ""


def not_accepted(expression: str, accepted: Collection[str]) -> tuple[str, ...]:
    """Licences of an expression that stand in the way; none where it may be used.

    `A OR B` is our choice, `A AND B` is both, `A WITH E` is one licence of its own.
    """
    words = _WORDS.findall(expression)
    left, position = _either(words, 0, accepted)
    return tuple(dict.fromkeys(left if position == len(words) else (expression,)))


def _either(words: list[str], at: int, accepted: Collection[str]) -> tuple[list[str], int]:
    left, at = _both(words, at, accepted)
    while at < len(words) and words[at] == "OR":
        other, at = _both(words, at + 1, accepted)
        left = [] if not left or not other else [*left, *other]
    return left, at


def _both(words: list[str], at: int, accepted: Collection[str]) -> tuple[list[str], int]:
    left, at = _one(words, at, accepted)
    while at < len(words) and words[at] == "AND":
        other, at = _one(words, at + 1, accepted)
        left = [*left, *other]
    return left, at


def _one(words: list[str], at: int, accepted: Collection[str]) -> tuple[list[str], int]:
    if at < len(words) and words[at] == "(":
        left, at = _either(words, at + 1, accepted)
        return left, at + 1
    name = words[at] if at < len(words) else ""
    at += 1
    if words[at : at + 1] == ["WITH"]:
        name, at = f"{name} WITH {' '.join(words[at + 1 : at + 2])}", at + 2
    return ([] if name in accepted else [name]), at
