"""Which packages are used, on which terms, and what stands in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from shimmy_ops.domain.judging.allow_lists import LicenceRules
from shimmy_ops.domain.judging.licence_terms import (
    canonical_expression,
    not_accepted,
    settle_expression,
)


@dataclass(frozen=True, slots=True)
class Pinned:
    """A line of a lock file; ``wanted`` on this machine."""

    name: str
    version: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Installed:
    """What a package's own data say; ``texts`` are its licence files by name."""

    name: str
    version: str
    expression: str
    free_text: str
    classifiers: tuple[str, ...]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Terms:
    """One package, or a part of one (``part``); what comes with no release has no package.

    ``licence``   SPDX expression, empty where nobody knows; ``because`` of somebody's decision
    ``texts``     licence files by name
    ``problems``  why it may not be used as it is
    """

    package: str
    version: str
    part: str
    licence: str
    because: str
    texts: Mapping[str, str]
    problems: tuple[str, ...]


def parse_lock(text: str, machine: Mapping[str, str]) -> tuple[Pinned, ...]:
    """The packages of a lock file in its order; ``machine`` is what markers ask for."""
    found = []
    for line in text.splitlines():
        given = line.strip().removesuffix("\\").strip()
        if not given or given.startswith(("#", "-")):
            continue
        try:
            one = Requirement(given)
        except InvalidRequirement:
            continue
        version = next((part.version for part in one.specifier if part.operator == "=="), "")
        wanted = one.marker is None or one.marker.evaluate(dict(machine))
        found.append(Pinned(canonicalize_name(one.name), version, wanted))
    return tuple(found)


def take_inventory(
    pinned: Sequence[Pinned], installed: Mapping[str, Installed], rules: LicenceRules
) -> tuple[Terms, ...]:
    """Terms of everything that is wanted here, parts after the package they are in."""
    found = []
    for one in (one for one in pinned if one.wanted):
        there = installed.get(one.name)
        found.append(_package(one, there, rules))
        found.extend(_parts(one, installed, rules))
    for beside in rules.beside:
        licence = canonical_expression(beside.licence)
        problems = tuple(_standing(licence, rules))
        found.append(Terms("", "", beside.what, licence, beside.reason, {}, problems))
    return tuple(found)


def unused_rules(terms: Sequence[Terms], rules: LicenceRules) -> tuple[str, ...]:
    """Entries of the list that nothing needs."""
    here = {one.package for one in terms}
    named = set[str]()
    for one in terms:
        named |= set(re.findall(r"[\w.+-]+(?: WITH [\w.+-]+)?", one.licence))
    unused = [f"licence {one}" for one in rules.accepted if one not in named]
    unused += [f"package {one.package}" for one in rules.settled if _key(one.package) not in here]
    unused += [f"part {one.what}" for one in rules.inside if _key(one.package) not in here]
    return tuple(unused)


def _package(pinned: Pinned, there: Installed | None, rules: LicenceRules) -> Terms:
    if there is None:
        problem = ("it is not installed, so that nobody knows",)
        return Terms(pinned.name, pinned.version, "", "", "", {}, problem)
    decided = [one for one in rules.settled if _key(one.package) == pinned.name]
    stated = settle_expression(there.expression, there.free_text, there.classifiers)
    licence = canonical_expression(decided[0].licence) if decided else stated
    problems = [*_standing(licence, rules)]
    if there.version != pinned.version:
        problems.append(f"version {there.version} is installed, another than is locked")
    if not there.texts:
        problems.append("its licence's text is not with it")
    because = decided[0].reason if decided else ""
    return Terms(pinned.name, there.version, "", licence, because, there.texts, tuple(problems))


def _parts(
    pinned: Pinned, installed: Mapping[str, Installed], rules: LicenceRules
) -> Iterator[Terms]:
    for one in rules.inside:
        if _key(one.package) != pinned.name:
            continue
        licence = canonical_expression(one.licence)
        file, _, package = one.text.partition(" of ")
        holder = installed.get(_key(package or one.package))
        texts = {} if holder is None else {
            name: text for name, text in holder.texts.items() if file and name.endswith(file)
        }  # fmt: skip
        problems = [*_standing(licence, rules)]
        if not texts:
            problems.append("its licence's text is not found")
        yield Terms(
            pinned.name, pinned.version, one.what, licence, one.reason, texts, tuple(problems)
        )


def _standing(licence: str, rules: LicenceRules) -> Iterator[str]:
    if not licence:
        yield "its licence is not known: settle it in [[package]] once its files were read"
        return
    for one in not_accepted(licence, rules.accepted):
        yield f"{one} is not among the licences that are accepted"


def _key(name: str) -> str:
    return str(canonicalize_name(name))
