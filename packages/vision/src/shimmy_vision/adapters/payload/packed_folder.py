"""The packed library as it lies in the installed package: manifest, signature, compressed files.

Every byte is held against the manifest before anything else looks at it: the packed file before
it is unpacked, what was unpacked before it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shimmy_vision.domain.payload.file_trust import judge_bytes, judge_packed
from shimmy_vision.domain.payload.manifest import (
    LONGEST_MANIFEST,
    PayloadFile,
    PayloadManifest,
    parse_manifest,
)
from shimmy_vision.domain.payload.seal import Seal, SealFault, judge_seal
from shimmy_vision.errors import LibraryError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MANIFEST, SIGNATURE, SUFFIX = "manifest.json", "manifest.sig", ".zst"

_SIGNATURE_BYTES = 64
_REINSTALL = (
    "The installed files were changed or are incomplete. Install again from where you got it: "
    "pip install --force-reinstall --no-deps shimmy-vision"
)


@dataclass(frozen=True, slots=True)
class PackedPayload:
    """A manifest that was judged, and the folder it lies in."""

    folder: Path
    manifest: PayloadManifest
    seal: Seal

    def unpack(self, file: PayloadFile) -> bytes:
        """The library's bytes. Raises LibraryError with code payload-damaged."""
        packed = _read(self.folder / f"{file.name}{SUFFIX}", file.packed_size)
        fault = judge_packed(file, packed)
        if fault is None:
            data = _decompress(packed, file.size)
            fault = judge_bytes(file, data)
            if fault is None:
                return data
        raise LibraryError(
            "payload-damaged",
            f"The packed native library is not what was built: {file.name} ({fault}).",
            hint=_REINSTALL,
        )


def has_payload(folder: Path) -> bool:
    """Whether a library is packed in ``folder``, sound or not."""
    return (folder / MANIFEST).exists()


def read_packed(folder: Path, public_key: str, platform: str) -> PackedPayload:
    """The payload in ``folder``, judged by its signature.

    Raises LibraryError: payload-manifest-missing, payload-manifest-malformed, payload-unsigned,
    payload-wrong-signature, payload-not-a-release, payload-wrong-platform.
    """
    data = _manifest_bytes(folder)
    try:
        manifest = parse_manifest(data)
    except ValueError as error:
        raise LibraryError(
            "payload-manifest-malformed",
            f"The native library's manifest cannot be read: {error}.",
            hint=_REINSTALL,
        ) from error
    match judge_seal(data, manifest.mode, _signature(folder), public_key):
        case "sealed" | "development" | "unsealed" as seal:
            pass
        case fault:
            raise _unproven(fault)
    if manifest.platform != platform:
        raise LibraryError(
            "payload-wrong-platform",
            f"The packed native library is for {manifest.platform}, this is {platform}.",
            hint="Install the package that was built for this machine.",
        )
    return PackedPayload(folder, manifest, seal)


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return _start_of(folder / MANIFEST, LONGEST_MANIFEST + 1)
    except OSError as error:
        raise LibraryError(
            "payload-manifest-missing",
            f"This build's native library is not there: {error.strerror or 'unreadable'}.",
            hint=f"If SHIMMY_LIBRARY_DIR is set, unset it. {_REINSTALL}",
        ) from error


def _unproven(fault: SealFault) -> LibraryError:
    errors: dict[SealFault, Callable[[], LibraryError]] = {
        "unsigned": lambda: LibraryError(
            "payload-unsigned", "The native library's manifest is not signed.", hint=_REINSTALL
        ),
        "wrong-signature": lambda: LibraryError(
            "payload-wrong-signature",
            "The native library's manifest was not signed by the maker of this build.",
            hint=_REINSTALL,
        ),
        "wrong-mode": lambda: LibraryError(
            "payload-not-a-release",
            "The native library is a development build inside a release.",
            hint=_REINSTALL,
        ),
    }
    return errors[fault]()


def _signature(folder: Path) -> bytes | None:
    """None where there is none; one that cannot be read counts as one that proves nothing."""
    try:
        return _start_of(folder / SIGNATURE, _SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def _read(path: Path, size: int) -> bytes:
    """At most a byte more than ``size``; nothing where it cannot be read."""
    try:
        return _start_of(path, size + 1)
    except OSError:
        return b""


def _start_of(path: Path, most: int) -> bytes:
    """At most ``most`` bytes. A pipe in a file's place is read as empty, and waited for by nobody.

    Raises OSError.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        return file.read(most) or b""


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decompress(packed: bytes, size: int) -> bytes:
    """At most a byte more than ``size``: what would unpack to gigabytes is not let."""
    try:
        return zstd.ZstdDecompressor().decompress(packed, max_length=size + 1)
    except zstd.ZstdError:
        return b""


def compress(data: bytes, level: int) -> bytes:
    """For the build; at level 19 a library takes a second or two."""
    return zstd.compress(data, level=level)
