"""Reads a GGUF header without trusting it.

llama.cpp's own reader allocates by counts it finds in the file, and its loaders
abort the process on some malformed ones, so a file is understood here first. Nothing is
allocated by a number from the file before the bytes it stands for are known to
be there, no more than ``_LONGEST_HEADER`` bytes are ever read, and tensor data
is never touched: a mapped file of 5 GB is read in milliseconds. What is accepted
here, the pinned library's reader accepts too. Format: the GGUF specification,
versions 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from shimmy_vision.errors import ModelError

MAGIC: Final = b"GGUF"
_MOST_KEYS = 4096
_MOST_TENSORS = 65_536
_LONGEST_HEADER = 32 * 1024 * 1024  # a vocabulary of 250,000 tokens and its merges take 10 MB
_LONGEST_KEY = 1024
_LONGEST_TENSOR_NAME = 63  # ggml's limit
_LONGEST_STRING = 1024 * 1024  # chat templates reach 100 kB
_KEPT_ITEMS = 64
_MOST_DIMENSIONS = 4
_ALIGNMENT = "general.alignment"

# GGUF value types: number → (struct code, size).
_SCALARS: dict[int, tuple[str, int]] = {
    0: ("B", 1), 1: ("b", 1), 2: ("H", 2), 3: ("h", 2), 4: ("I", 4), 5: ("i", 4),
    6: ("f", 4), 7: ("?", 1), 10: ("Q", 8), 11: ("q", 8), 12: ("d", 8),
}  # fmt: skip
_UINT32, _STRING, _ARRAY = 4, 8, 9

# ggml tensor types: number → (elements in a block, bytes of a block), from ggml's
# type table at the pinned revision.
_BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip

Buffer: TypeAlias = "bytes | bytearray | memoryview"


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array value; ``items`` is kept only for short arrays, else it is empty."""

    item_type: int
    length: int
    items: tuple[object, ...]


Value: TypeAlias = bool | int | float | str | GgufArray


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: ``dimensions`` as written (fastest first), ``offset`` from the data's start."""

    name: str
    dimensions: tuple[int, ...]
    ggml_type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything before the tensor data."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[GgufTensor, ...]
    data_offset: int

    def tensor(self, name: str) -> GgufTensor | None:
        """The tensor of this name, if the file has it."""
        return next((tensor for tensor in self.tensors if tensor.name == name), None)


def parse_gguf(data: Buffer, file_size: int | None = None) -> GgufHeader:
    """Parse and check the header in ``data``; ``file_size`` is that of the whole file.

    Raises ModelError model-not-gguf, model-truncated or model-malformed, naming
    what is wrong and at which byte.
    """
    view = memoryview(data)
    size = len(view) if file_size is None else file_size
    return _parse(_Reader(view[:_LONGEST_HEADER], size), size)


def _parse(reader: _Reader, size: int) -> GgufHeader:
    version = _version(reader)
    tensor_count, key_count = reader.number("Q", 8), reader.number("Q", 8)
    # The least a key takes: length 8, name 1, type 4, value 1.
    # The least a tensor takes: length 8, name 1, count 4, dimension 8, type 4, offset 8.
    reader.expect(key_count, 14, _MOST_KEYS, "metadata keys")
    reader.expect(tensor_count, 33, _MOST_TENSORS, "tensors")
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        at = reader.at
        key = reader.string(_LONGEST_KEY, "key")
        if not key:
            raise malformed("a key without a name", at)
        if key in metadata:
            raise malformed(f"the key {key!r} appears twice", at)
        kind = reader.number("I", 4)
        if key == _ALIGNMENT and kind != _UINT32:
            raise malformed(f"the key {key!r} of type {kind}", at)
        metadata[key] = _value(reader, kind)
    alignment = _alignment(metadata)
    tensors = tuple(_tensor(reader) for _ in range(tensor_count))
    data_offset = _padded(reader.at, alignment)
    _check_extents(tensors, data_offset, alignment, size)
    return GgufHeader(version, metadata, tensors, data_offset)


class _Reader:
    """A position in the header that refuses to leave it."""

    def __init__(self, view: memoryview, file_size: int) -> None:
        self._view = view.cast("B") if view.format != "B" else view
        self._file_size = file_size
        self.at = 0

    def starts_with(self, magic: bytes) -> bool:
        """Whether what there is of the file's first bytes agrees with ``magic``."""
        return magic.startswith(bytes(self._view[: len(magic)]))

    def skip(self, count: int) -> None:
        self._check(count)
        self.at += count

    def _check(self, count: int) -> None:
        """Refuse to go ``count`` bytes on if the header does not have them."""
        end = len(self._view)
        if count <= end - self.at:
            return
        if end < self._file_size:
            raise malformed(f"a header of more than {end} bytes", self.at)
        raise ModelError(
            "model-truncated",
            f"The file ends inside its header: {count - (end - self.at)} bytes "
            f"are missing at byte {self.at}.",
            hint="Download it again: shimmy models pull --force",
        )

    def take(self, count: int) -> bytes:
        self.skip(count)
        return bytes(self._view[self.at - count : self.at])

    def number(self, code: str, size: int) -> int:
        value: int = struct.unpack("<" + code, self.take(size))[0]
        return value

    def scalar(self, kind: int) -> bool | int | float:
        code, size = _SCALARS[kind]
        if code == "?":
            return bool(self.take(1)[0])
        value: int | float = struct.unpack("<" + code, self.take(size))[0]
        return value

    def string(self, longest: int, what: str) -> str:
        at = self.at
        length = self.number("Q", 8)
        if length > longest:
            raise malformed(f"a {what} of {length} bytes", at)
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise malformed(f"a {what} that is not UTF-8", at) from error

    def skip_strings(self, count: int) -> None:
        """Step over ``count`` strings without making them."""
        view, at, end = self._view, self.at, len(self._view)
        unpack = struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + unpack(view, at)[0] if end - at >= 8 else 8
            if at > end:
                break
        self.skip(at - self.at)

    def expect(self, count: int, least: int, most: int, what: str) -> None:
        """Refuse a count that the rest of the header cannot hold, before anything is allocated."""
        if count > most:
            raise malformed(f"{count} {what}, more than {most}", self.at)
        self._check(count * least)


def malformed(what: str, at: int) -> ModelError:
    """The error for a header that contradicts the format."""
    return ModelError(
        "model-malformed",
        f"The file's header is damaged or hostile: {what} at byte {at}.",
        hint="Download it again: shimmy models pull --force",
    )


def _version(reader: _Reader) -> int:
    if not reader.starts_with(MAGIC):
        raise ModelError(
            "model-not-gguf",
            f"The file is not a GGUF model: it does not start with {MAGIC.decode()}.",
            hint="Name a .gguf file, or install one: shimmy models pull",
        )
    reader.skip(len(MAGIC))
    version = reader.number("I", 4)
    if version in (2, 3):
        return version
    if version and not version & 0xFFFF:
        raise malformed("a big-endian GGUF, which is not supported,", 4)
    raise malformed(f"GGUF version {version} (versions 2 and 3 are supported)", 4)


def _value(reader: _Reader, kind: int) -> Value:
    if kind in _SCALARS:
        return reader.scalar(kind)
    if kind == _STRING:
        return reader.string(_LONGEST_STRING, "string")
    if kind == _ARRAY:
        return _array(reader)
    raise malformed(f"a value of unknown type {kind}", reader.at - 4)


def _array(reader: _Reader) -> GgufArray:
    at = reader.at
    kind, length = reader.number("I", 4), reader.number("Q", 8)
    if kind in _SCALARS:
        size = _SCALARS[kind][1]
        if length <= _KEPT_ITEMS:
            return GgufArray(kind, length, tuple(reader.scalar(kind) for _ in range(length)))
        reader.skip(length * size)
        return GgufArray(kind, length, ())
    if kind == _STRING:
        reader.expect(length, 8, _LONGEST_HEADER, "array items")
        if length <= _KEPT_ITEMS:
            items = tuple(reader.string(_LONGEST_STRING, "string") for _ in range(length))
            return GgufArray(kind, length, items)
        reader.skip_strings(length)
        return GgufArray(kind, length, ())
    raise malformed(f"an array of items of type {kind}", at)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get(_ALIGNMENT, 32)
    if (
        not isinstance(alignment, int)
        or not 8 <= alignment <= 65_536
        or alignment & (alignment - 1)
    ):
        raise malformed(f"an alignment of {alignment!r}", 0)
    return alignment


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _tensor(reader: _Reader) -> GgufTensor:
    at = reader.at
    name = reader.string(_LONGEST_TENSOR_NAME, "tensor name")
    count = reader.number("I", 4)
    if not 1 <= count <= _MOST_DIMENSIONS:
        raise malformed(f"the tensor {name!r} with {count} dimensions", at)
    dimensions = struct.unpack(f"<{count}Q", reader.take(8 * count))
    kind, offset = reader.number("I", 4), reader.number("Q", 8)
    if kind not in _BLOCKS:
        raise malformed(f"the tensor {name!r} of unknown type {kind}", at)
    elements = 1
    for dimension in dimensions:
        elements *= dimension
        if dimension < 1 or elements > 1 << 48:
            raise malformed(f"the tensor {name!r} of shape {list(dimensions)}", at)
    per_block, block_size = _BLOCKS[kind]
    if dimensions[0] % per_block:
        raise malformed(f"the tensor {name!r} whose rows of {dimensions[0]} split a block", at)
    return GgufTensor(name, dimensions, kind, offset, elements // per_block * block_size)


def _check_extents(
    tensors: tuple[GgufTensor, ...], data_offset: int, alignment: int, size: int
) -> None:
    """Each tensor follows the one before it, no name comes twice, the file holds them all."""
    names: set[str] = set()
    end = 0
    for tensor in tensors:
        if tensor.name in names:
            raise malformed(f"the tensor name {tensor.name!r} that appears twice", data_offset)
        names.add(tensor.name)
        follows = _padded(end, alignment)
        if tensor.offset != follows:
            raise malformed(
                f"the tensor {tensor.name!r} at offset {tensor.offset} instead of {follows} "
                "(tensors may not overlap or leave gaps)",
                data_offset,
            )
        end = tensor.offset + tensor.size
    missing = data_offset + end - size
    if tensors and missing > 0:
        raise ModelError(
            "model-truncated",
            f"The file is incomplete: {missing} of {data_offset + end} bytes are missing "
            f"(tensor {tensors[-1].name!r} reaches past the end).",
            hint="Resume the download: shimmy models pull",
        )
