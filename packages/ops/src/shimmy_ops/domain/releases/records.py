"""Records of releases: numbered, never rewritten, each holding on to the one before."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from shimmy_ops.errors import ReleaseError

Part: TypeAlias = Literal["config", "worker", "image", "site"]
PARTS: tuple[Part, ...] = get_args(Part)
"""In the order in which they are put in place: what leads customers to the store goes last."""

VERSION = r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}"
_NAME = re.compile(rf"(\d{{4,}})-({VERSION})\.json")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Release:
    """``parts``: the digest of each part's object; whole, also parts that did not change.

    ``restores``       the number of the release that a rollback put back; None for a release
    ``store_version``  what /health says of it; empty: not asked
    ``previous``       the digest of the record before, empty for the first
    """

    number: int
    version: str
    revision: str
    made: str
    parts: Mapping[Part, str]
    previous: str
    restores: int | None = None
    store_version: str = ""

    @property
    def origin(self) -> int:
        """The release whose parts these are."""
        return self.number if self.restores is None else self.restores

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.number:04}-{self.version}.json"

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says."""
        return hashlib.sha256(_canonical(_plain(self)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class History:
    """Every record in order, and what is wrong with them."""

    releases: tuple[Release, ...]
    problems: tuple[str, ...] = ()

    def find(self, wanted: int | str) -> Release:
        """By number, or a release's version. Raises ReleaseError."""
        for one in self.releases:
            if one.number == wanted or (one.restores is None and one.version == wanted):
                return one
        raise ReleaseError(
            "release-unknown",
            f"There is no release {wanted}.",
            hint="shimmy-ops release list shows them.",
        )


def encode_record(release: Release) -> str:
    """Its file's text."""
    return json.dumps({**_plain(release), "digest": release.digest}, indent=2) + "\n"


def read_history(files: Sequence[tuple[str, str]]) -> History:
    """Names and texts of all records, in any order; a damaged one is a problem, no exception."""
    releases: list[Release] = []
    problems = []
    for name, text in sorted(files, key=lambda one: _number(one[0])):
        try:
            release = _decode(text)
        except (ValueError, LookupError, TypeError):
            problems.append(f"record {name} is damaged")
            continue
        expected = releases[-1].digest if releases else ""
        if release.name != name:
            problems.append(f"record {name} says that it is {release.name}")
        if releases and release.number != releases[-1].number + 1:
            problems.append(f"a record between {releases[-1].number} and {release.number} is gone")
        elif release.previous != expected:
            problems.append(f"record {name} does not follow from the one before it")
        releases.append(release)
    if releases and releases[0].number != 1:
        problems.append(f"records before {releases[0].number} are gone")
    return History(tuple(releases), tuple(problems))


def _decode(text: str) -> Release:
    read: dict[str, Any] = json.loads(text)
    digest = read.pop("digest")
    release = Release(
        number=int(read["number"]),
        version=str(read["version"]),
        revision=str(read["revision"]),
        made=str(read["made"]),
        parts={part: read["parts"][part] for part in PARTS if part in read["parts"]},
        previous=str(read["previous"]),
        restores=None if read["restores"] is None else int(read["restores"]),
        store_version=str(read["store_version"]),
    )
    if digest != release.digest or _plain(release) != read:
        raise ValueError("another digest")
    if not all(_DIGEST.fullmatch(one) for one in release.parts.values()):
        raise ValueError("no digest")
    return release


def _plain(release: Release) -> dict[str, Any]:
    return {
        "number": release.number,
        "version": release.version,
        "revision": release.revision,
        "made": release.made,
        "parts": dict(release.parts),
        "previous": release.previous,
        "restores": release.restores,
        "store_version": release.store_version,
    }


def _canonical(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def _number(name: str) -> tuple[int, str]:
    found = _NAME.fullmatch(name)
    return (int(found[1]) if found else 0, name)
