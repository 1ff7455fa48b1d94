"""May this version be loaded after those that were?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class SeenVersions:
    """``highest`` that was ever loaded here, and the ``minimum`` any of them asked for; 0: none."""

    highest: int = 0
    minimum: int = 0


VersionFault: TypeAlias = Literal["older-than-seen", "below-minimum"]


def judge_version(version: int, seen: SeenVersions, *, allow_older: bool) -> VersionFault | None:
    """None where it may be loaded. What was withdrawn (the minimum) no setting brings back."""
    if version < seen.minimum:
        return "below-minimum"
    if version < seen.highest and not allow_older:
        return "older-than-seen"
    return None


def remember_version(version: int, minimum: int, seen: SeenVersions) -> SeenVersions:
    """What is known after a version was loaded; neither number ever shrinks."""
    return SeenVersions(max(seen.highest, version), max(seen.minimum, minimum))


def read_seen(record: Mapping[str, object]) -> SeenVersions:
    """From a kept record; what is damaged in it counts as not there."""
    numbers = {name: record.get(name) for name in ("highest", "minimum")}
    sound = {
        name: value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
        for name, value in numbers.items()
    }
    return SeenVersions(sound["highest"], sound["minimum"])
