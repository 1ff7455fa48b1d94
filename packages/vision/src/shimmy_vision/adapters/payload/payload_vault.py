"""From a packed library to loaded functions: judged, unpacked, held, linked."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.adapters.payload.linked_libraries import Linker, Loaded
from shimmy_vision.adapters.payload.packed_folder import PackedPayload, has_payload, read_packed
from shimmy_vision.domain.payload.manifest import PayloadManifest
from shimmy_vision.domain.payload.pinned import PUBLIC_KEY
from shimmy_vision.domain.payload.rollback import (
    SeenVersions,
    judge_version,
    read_seen,
    remember_version,
)
from shimmy_vision.domain.payload.seal import describe_seal
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.library_places import PayloadPlaces

if sys.platform == "win32":
    from shimmy_vision.adapters.payload.windows_places import link_here
else:
    from shimmy_vision.adapters.payload.posix_places import link_here


@dataclass(frozen=True, slots=True)
class LinkedPayload:
    """Loaded libraries by their stems, and what they came from."""

    packed: PackedPayload
    libraries: dict[str, ctypes.CDLL]


def platform_here() -> str:
    """As a manifest names it: ``linux-x86_64``."""
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    return f"{system}-{platform.machine().lower()}".replace("amd64", "x86_64")


def open_packed(folder: Path, public_key: str = PUBLIC_KEY) -> PackedPayload:
    """What is packed in ``folder``, judged; nothing is unpacked. Raises LibraryError."""
    return read_packed(folder, public_key, platform_here())


def describe_library(directory: Path, public_key: str = PUBLIC_KEY) -> str:
    """Who answers for the library in ``directory``, in words; nothing of it is loaded."""
    if not (public_key or has_payload(directory)):
        return describe_seal("unsealed", None)
    try:
        packed = open_packed(directory, public_key)
    except LibraryError as error:
        return f"refused: {error.code}"
    return describe_seal(packed.seal, packed.manifest.version)


def load_packed(
    folder: Path,
    places: PayloadPlaces,
    hear: Loaded,
    linker: Linker = ctypes.CDLL,
    *,
    sealing: bool | None = None,
) -> LinkedPayload:
    """Load the library that is packed in ``folder``; once a process.

    ``hear`` is told of each loaded library before the next one's code runs. ``sealing`` False does
    without sealed memory. Raises LibraryError.
    """
    packed = open_packed(folder, places.public_key)
    manifest = packed.manifest
    # Who signed nothing has no say over what may run here later.
    record = places.record if packed.seal == "sealed" else None
    _check_version(manifest, _seen(record), allow_older=places.allow_older)
    libraries = link_here(packed, places.unpacked, hear, linker, sealing=sealing)
    if record is not None:
        _remember(record, manifest)
    return LinkedPayload(packed, libraries)


def _seen(record: Path | None) -> SeenVersions:
    return read_seen({} if record is None else read_record(record))


def _check_version(manifest: PayloadManifest, seen: SeenVersions, *, allow_older: bool) -> None:
    version = manifest.version
    match judge_version(version, seen, allow_older=allow_older):
        case None:
            return
        case "older-than-seen":
            raise LibraryError(
                "payload-older",
                f"This native library (version {version}) is older than one that ran here before "
                f"({seen.highest}).",
                hint="Install the newest version. To go back on purpose: "
                "SHIMMY_ALLOW_OLDER_LIBRARY=1",
            )
        case "below-minimum":
            raise LibraryError(
                "payload-withdrawn",
                f"This native library (version {version}) was withdrawn: at least {seen.minimum} "
                "is needed.",
                hint="Install the newest version: pip install --upgrade shimmy-vision",
            )


def _remember(record: Path, manifest: PayloadManifest) -> None:
    # Read anew: loading took its time, and another version may have run meanwhile.
    seen = _seen(record)
    after = remember_version(manifest.version, manifest.minimum_version, seen)
    if after == seen:
        return
    # Where nothing can be kept, nothing is: an older version would be let in.
    with contextlib.suppress(OSError):
        write_record(record, {"highest": after.highest, "minimum": after.minimum})
