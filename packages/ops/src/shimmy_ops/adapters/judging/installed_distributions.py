"""The ``Distributions`` port by `importlib.metadata`.

pip-licenses reads the same data; it knows no expressions with AND and OR apart from comparing
them letter by letter, shows one licence file a package where some have forty, and cannot be told
what a wheel holds of others. So it is a witness in the tests, not what this is built on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from shimmy_ops.domain.judging.inventory import Installed

_LICENCE_FILE = re.compile(
    r"(?:.*/)?[\w.-]+\.dist-info/licen[cs]es/.+"
    r"|(?:.*/)?(?:licen[cs]e|copying|notice|authors)(?:[.-][\w.-]+)?",
    re.IGNORECASE,
)
_NO_TEXT = (".py", ".pyc", ".pyi", ".so")
_LARGEST = 4_000_000


class InstalledDistributions:
    """See ``ports.judging``."""

    def find(self, names: Sequence[str]) -> dict[str, Installed]:
        found = {}
        for name in names:
            with suppress(metadata.PackageNotFoundError):
                found[name] = _read(metadata.distribution(name))
        return found


def _read(one: metadata.Distribution) -> Installed:
    told = one.metadata
    return Installed(
        name=told["Name"],
        version=one.version,
        expression=_first(told, "License-Expression"),
        free_text=_first(told, "License"),
        classifiers=tuple(told.get_all("Classifier", [])),
        texts={str(path): text for path in one.files or () if (text := _text(one, path))},
    )


def _first(told: metadata.PackageMetadata, name: str) -> str:
    return next(iter(told.get_all(name, [])), "")


def _text(one: metadata.Distribution, path: metadata.PackagePath) -> str:
    name = str(path)
    if not _LICENCE_FILE.fullmatch(name) or name.endswith(_NO_TEXT):
        return ""
    place = Path(str(one.locate_file(path)))
    if not place.is_file() or place.stat().st_size > _LARGEST:
        return ""
    return place.read_text(encoding="utf-8", errors="replace")
