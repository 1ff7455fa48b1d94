"""Is an unpacked file the one that the manifest names?"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

from shimmy_vision.domain.payload.manifest import PayloadFile

FileFault: TypeAlias = Literal[
    "missing", "no-file", "foreign-owner", "linked", "open-to-others", "wrong-size", "wrong-digest"
]


def judge_bytes(file: PayloadFile, data: bytes | bytearray | memoryview) -> FileFault | None:
    """None where they are, to the byte, what was packed."""
    if len(data) != file.size:
        return "wrong-size"
    return None if hashlib.sha256(data).hexdigest() == file.sha256 else "wrong-digest"


def judge_packed(file: PayloadFile, data: bytes) -> FileFault | None:
    """The same for the packed file, before anything unpacks it."""
    if len(data) != file.packed_size:
        return "wrong-size"
    return None if hashlib.sha256(data).hexdigest() == file.packed_sha256 else "wrong-digest"
