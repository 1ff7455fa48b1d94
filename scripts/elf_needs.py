"""What a shared library asks of the system it runs on: libraries, and the versions of symbols.

Read with binutils' ``readelf``, which comes with every compiler.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# PEP 600: a wheel of manylinux_X_Y runs where the C library is X.Y or newer. Which C++ runtime a
# system of that age has is what auditwheel's policies say: the newest GLIBCXX of each.
_GLIBCXX_OF = (
    ((2, 17), (3, 4, 19)),
    ((2, 24), (3, 4, 22)),
    ((2, 27), (3, 4, 24)),
    ((2, 31), (3, 4, 28)),
    ((2, 34), (3, 4, 29)),
    ((2, 35), (3, 4, 30)),
    ((2, 39), (3, 4, 33)),
)


@dataclass(frozen=True, slots=True)
class LibraryNeeds:
    """``versions`` are the newest asked for by family: ``GLIBC`` (2, 34)."""

    soname: str
    version: str
    needed: tuple[str, ...]
    versions: Mapping[str, tuple[int, ...]]


def read_needs(_named: object, path: Path) -> LibraryNeeds:
    """Of one library; ``version`` is what its file name says after ``.so.``."""
    command = ("readelf", "--wide", "--dynamic", "--version-info", str(path))
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    soname = re.search(r"\(SONAME\).*\[(.+?)\]", said)
    needed = re.findall(r"\(NEEDED\).*\[(.+?)\]", said)
    return LibraryNeeds(
        soname=soname.group(1) if soname else path.name,
        version=path.name.partition(".so.")[2],
        needed=tuple(needed),
        versions=_newest(re.findall(r"Name: (GLIBC|GLIBCXX|CXXABI|GCC)_([0-9.]+)", said)),
    )


def _newest(found: Iterable[tuple[str, str]]) -> dict[str, tuple[int, ...]]:
    newest: dict[str, tuple[int, ...]] = {}
    for family, text in found:
        version = tuple(int(part) for part in text.split("."))
        newest[family] = max(newest.get(family, ()), version)
    return newest


def wheel_tag(needs: Iterable[LibraryNeeds], machine: str) -> str:
    """``py3-none-manylinux_2_35_x86_64``: the oldest system that has all that is asked for."""
    newest: dict[str, tuple[int, ...]] = {}
    for one in needs:
        for family, version in one.versions.items():
            newest[family] = max(newest.get(family, ()), version)
    glibc = newest.get("GLIBC", (2, 17))[:2]
    runtime = next(
        (system for system, has in _GLIBCXX_OF if has >= newest.get("GLIBCXX", ())),
        _GLIBCXX_OF[-1][0],
    )
    major, minor = max(glibc, runtime, (2, 17))
    return f"py3-none-manylinux_{major}_{minor}_{machine}"
