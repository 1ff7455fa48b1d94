"""Memory that is held without being used, given back to the system. Linux; elsewhere it stays.

llama.cpp clears the memory of all sequences when a context is made, which makes every page of it
resident though no answer may ever come that far; and it packs most matrices of a model anew, while
the pages of the file that they were read from stay. Both come again when they are touched: memory
of sequences as zeros, a file's pages from the file.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shimmy_vision.adapters.engine.llama_bindings import LlamaLibrary
from shimmy_vision.adapters.engine.llama_library import NativeLibrary

_LINUX = sys.platform == "linux"
_MADV_DONTNEED = 4
_MIB = 1024 * 1024
# What llama.cpp says right after it reserved a sequence memory, before it clears it.
_RESERVED = re.compile(r"\bCPU (?:KV|RS) buffer size = +([0-9.]+) MiB")
_ALLOCATE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_ALLOCATE_SLOT = 1  # of ggml_backend_buffer_type_i, after get_name
_MAPPED = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r--s \S+ \S+ \d+ +(.*)$")


class SequenceMemory:
    """What a context that is made in ``watched`` reserved for its sequences; empty elsewhere."""

    def __init__(self) -> None:
        self._regions: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        """Bytes that were reserved."""
        return sum(size for _, size in self._regions)

    @contextmanager
    def watched(self, library: NativeLibrary) -> Iterator[None]:
        """A context is made in this block, which an error must leave where there is none.

        What was reserved for a context that failed is gone, and must not be looked at.
        """
        if not _LINUX:
            yield
            return
        watch = _Reservations(library)
        with watch.watching():
            yield
        # All of it was cleared, or nothing of this is as expected.
        self._regions = [region for region in watch.found if _is_clear(*region)]

    def give_back(self) -> None:
        """While the context lives and no sequence holds anything."""
        for address, size in self._regions:
            start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
            _advise(start, (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE)


def forget_file_pages(path: Path) -> None:
    """Pages of ``path``, mapped for reading, leave this process until they are touched again."""
    if not _LINUX:
        return
    try:
        wanted = str(path.resolve())
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, RuntimeError):  # A loop of links is the latter before Python 3.13.
        return  # Not everywhere can a process look at itself; the pages are the system's anyway.
    for line in lines:
        mapped = _MAPPED.match(line)
        if mapped and mapped[3] == wanted:
            start, end = int(mapped[1], 16), int(mapped[2], 16)
            _advise(start, end - start)


def trim_heap() -> None:
    """What was freed goes back to the system where the C library keeps it."""
    if _LINUX and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


class _Reservations:
    """Which memory llama.cpp reserves for sequences on this thread.

    ggml asks its CPU buffer type for memory through a table of functions; for as long as a context
    is made, a function stands there that notes what it was given. llama.cpp's own log says which
    of it is for sequences. Where either is not as expected nothing is found.
    """

    def __init__(self, library: NativeLibrary) -> None:
        self._library = library
        self._thread = threading.get_ident()
        self._last: tuple[int, int] = (0, 0)
        self.found: list[tuple[int, int]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        c = self._library.c
        slot = _allocate_slot(c)
        with _ONE_AT_A_TIME, self._library.log.told_to(self._hear):
            # Read in here: what another's block put there is no more when it has ended.
            original = slot[0]
            allocator = _ALLOCATORS.setdefault(original, _Allocator(original))
            allocator.watch = self
            slot[0] = allocator.address
            try:
                yield
            finally:
                slot[0] = original
                allocator.watch = None

    def note(self, buffer: int, size: int) -> None:
        """ggml made ``buffer`` of ``size`` bytes, on whichever thread."""
        if threading.get_ident() == self._thread:
            self._last = int(self._library.c.ggml_backend_buffer_get_base(buffer) or 0), size

    def _hear(self, line: str) -> None:
        if threading.get_ident() != self._thread:
            return
        reserved = _RESERVED.search(line)
        address, size = self._last
        if reserved and address and abs(float(reserved[1]) - size / _MIB) < 0.01:
            self.found.append((address, size))
            self._last = (0, 0)


class _Allocator:
    """What stands in the table in the place of ggml's function at ``original``, which it calls."""

    def __init__(self, original: int) -> None:
        self.watch: _Reservations | None = None
        self._original = _ALLOCATE(original)
        self._noting = _ALLOCATE(self._allocate)
        self.address = ctypes.cast(self._noting, ctypes.c_void_p).value or original

    def _allocate(self, kind: int, size: int) -> int:
        buffer: int | None = self._original(kind, size)
        watch = self.watch
        if buffer and watch is not None:
            watch.note(buffer, size)
        return buffer or 0


_ONE_AT_A_TIME = threading.Lock()
# One a library, never freed: a thread that computes for another engine may have read its address
# just before the table was as it had been again, and calls it after.
_ALLOCATORS: dict[int, _Allocator] = {}


def _allocate_slot(c: LlamaLibrary) -> ctypes.Array[ctypes.c_size_t]:
    table: int = c.ggml_backend_cpu_buffer_type()
    place = table + _ALLOCATE_SLOT * ctypes.sizeof(ctypes.c_size_t)
    return (ctypes.c_size_t * 1).from_address(place)


def _is_clear(address: int, size: int) -> bool:
    """Whether a word of each page is zero."""
    words = (ctypes.c_uint64 * (size // 8)).from_address(address)
    return not np.ctypeslib.as_array(words)[:: mmap.PAGESIZE // 8].any()


def _advise(start: int, length: int) -> None:
    if length <= 0:
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # Advice that is not taken changes nothing.
    advise(start, length, _MADV_DONTNEED)
