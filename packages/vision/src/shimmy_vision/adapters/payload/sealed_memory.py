"""Libraries in memory that nothing can change any more: Linux's sealed ``memfd``.

The bytes are hashed after the seal is on, so what was hashed is what the dynamic linker maps. The
descriptors stay open for the life of the process: the linker knows a library by the name it was
opened under, and a number used again would make it think of another file.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from shimmy_vision.domain.payload.file_trust import judge_bytes
from shimmy_vision.domain.payload.manifest import PayloadFile
from shimmy_vision.errors import LibraryError

_DESCRIPTORS = Path("/proc/self/fd")
# Linux 6.3 and later: this memory is for code, where the system's default may be that none is.
_EXECUTABLE = 0x0010


def can_seal() -> bool:
    """Whether this system has sealed memory that code may be loaded from: a page of it is tried."""
    if not hasattr(os, "memfd_create"):
        return False
    try:
        descriptor = _create("shimmy")
    except OSError:
        return False
    try:
        _fill(descriptor, bytes(mmap.PAGESIZE))
        _seal(descriptor)
        # Kernels and policies that give the memory may still refuse to run what is in it.
        _mapped(descriptor, mmap.PROT_READ | mmap.PROT_EXEC).close()
        return (_DESCRIPTORS / str(descriptor)).exists()
    except OSError:
        return False
    finally:
        os.close(descriptor)


class SealedImages:
    """The ``LibraryImages`` of Linux; ``bytes_of`` gives each library's bytes, judged already."""

    def __init__(self, bytes_of: Callable[[PayloadFile], bytes]) -> None:
        self._bytes_of = bytes_of

    def place(self, file: PayloadFile) -> str:
        """A path under which the sealed library can be loaded."""
        descriptor = _create(f"shimmy:{file.name}")
        try:
            _fill(descriptor, self._bytes_of(file))
            _seal(descriptor)
            with _mapped(descriptor, mmap.PROT_READ) as sealed:
                fault = judge_bytes(file, memoryview(sealed))
        except BaseException:
            os.close(descriptor)
            raise
        if fault is not None:
            os.close(descriptor)
            raise LibraryError(
                "library-changed-in-memory",
                f"The native library changed while it was read: {file.name} ({fault}).",
                hint="Try again; if it happens again, have this machine's memory and disk tested.",
            )
        return str(_DESCRIPTORS / str(descriptor))

    def confirm(self, file: PayloadFile) -> None:
        """Nothing to do: sealed is sealed."""


def _mapped(descriptor: int, rights: int) -> mmap.mmap:
    # Private: before Linux 6.7 no shared mapping of write-sealed memory is given, not even to read.
    return mmap.mmap(descriptor, 0, mmap.MAP_PRIVATE, rights)


def _create(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _EXECUTABLE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, flags)  # An older kernel does not know the flag.


def _seal(descriptor: int) -> None:
    shut = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, shut)


def _fill(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
