"""Reads a GGUF header without trusting it.

llama.cpp's own reader allocates by counts it finds in the file and aborts the
process on some malformed ones, so a file is understood here first. Nothing is
allocated by a number from the file before the bytes it stands for are known to
be there, and tensor data is never touched: a mapped file of 5 GB is read in
milliseconds. Format: the GGUF specification, versions 2 and 3.
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
_LONGEST_NAME = 1024
_LONGEST_STRING = 64 * 1024 * 1024  # chat templates reach 100 kB; a key's value never a gigabyte
_KEPT_ITEMS = 64
_MOST_DIMENSIONS = 4

# GGUF value types: number → (struct code, size).
_SCALARS: dict[int, tuple[str, int]] = {
    0: ("B", 1), 1: ("b", 1), 2: ("H", 2), 3: ("h", 2), 4: ("I", 4), 5: ("i", 4),
    6: ("f", 4), 7: ("?", 1), 10: ("Q", 8), 11: ("q", 8), 12: ("d", 8),
}  # fmt: skip
_STRING, _ARRAY = 8, 9

# ggml tensor types: number → (elements in a block, bytes of a block), from ggml's
# type table at the pinned revision.
_BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17),
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
    return _parse(_Reader(view), len(view) if file_size is None else file_size)


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
        key = reader.string(_LONGEST_NAME, "key")
        if key in metadata:
            raise malformed(f"the key {key!r} appears twice", at)
        metadata[key] = _value(reader, reader.number("I", 4))
    alignment = _alignment(metadata)
    tensors = tuple(_tensor(reader, alignment) for _ in range(tensor_count))
    data_offset = -(-reader.at // alignment) * alignment
    _check_extents(tensors, data_offset, size)
    return GgufHeader(version, metadata, tensors, data_offset)


class _Reader:
    """A position in the header that refuses to leave it."""

    def __init__(self, view: memoryview) -> None:
        self._view = view.cast("B") if view.format != "B" else view
        self.at = 0

    def skip(self, count: int) -> None:
        if count > len(self._view) - self.at:
            raise ModelError(
                "model-truncated",
                f"The file ends inside its header: {count - (len(self._view) - self.at)} bytes "
                f"are missing at byte {self.at}.",
                hint="Download it again: shimmy models pull --force",
            )
        self.at += count

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
            if end - at < 8:
                break
            at += 8 + unpack(view, at)[0]
            if at > end:
                break
        else:
            self.at = at
            return
        self.skip(len(self._view) - self.at + 1)  # raises: the strings leave the file

    def expect(self, count: int, least: int, most: int, what: str) -> None:
        """Refuse a count that the rest of the file cannot hold, before anything is allocated."""
        if count > most:
            raise malformed(f"{count} {what}, more than {most}", self.at)
        if count * least > len(self._view) - self.at:
            raise malformed(f"{count} {what}, more than the file can hold", self.at)


def malformed(what: str, at: int) -> ModelError:
    """The error for a header that contradicts the format."""
    return ModelError(
        "model-malformed",
        f"The file's header is damaged or hostile: {what} at byte {at}.",
        hint="Download it again: shimmy models pull --force",
    )


def _version(reader: _Reader) -> int:
    magic = reader.take(4)
    if magic != MAGIC:
        raise ModelError(
            "model-not-gguf",
            f"The file is not a GGUF model: it starts with {magic!r} instead of {MAGIC!r}.",
            hint="Name a .gguf file, or install one: shimmy models pull",
        )
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
        reader.expect(length, 8, _LONGEST_STRING, "array items")
        if length <= _KEPT_ITEMS:
            items = tuple(reader.string(_LONGEST_STRING, "string") for _ in range(length))
            return GgufArray(kind, length, items)
        reader.skip_strings(length)
        return GgufArray(kind, length, ())
    raise malformed(f"an array of items of type {kind}", at)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if (
        not isinstance(alignment, int)
        or not 8 <= alignment <= 65_536
        or alignment & (alignment - 1)
    ):
        raise malformed(f"an alignment of {alignment!r}", 0)
    return alignment


def _tensor(reader: _Reader, alignment: int) -> GgufTensor:
    at = reader.at
    name = reader.string(_LONGEST_NAME, "tensor name")
    count = reader.number("I", 4)
    if not 1 <= count <= _MOST_DIMENSIONS:
        raise malformed(f"the tensor {name!r} with {count} dimensions", at)
    dimensions = struct.unpack(f"<{count}Q", reader.take(8 * count))
    kind, offset = reader.number("I", 4), reader.number("Q", 8)
    if kind not in _BLOCKS:
        raise malformed(f"the tensor {name!r} of unknown type {kind}", at)
    if offset % alignment:
        raise malformed(f"the tensor {name!r} at the unaligned offset {offset}", at)
    elements = 1
    for dimension in dimensions:
        elements *= dimension
        if dimension < 1 or elements > 1 << 48:
            raise malformed(f"the tensor {name!r} of shape {list(dimensions)}", at)
    per_block, block_size = _BLOCKS[kind]
    if dimensions[0] % per_block:
        raise malformed(f"the tensor {name!r} whose rows of {dimensions[0]} split a block", at)
    return GgufTensor(name, dimensions, kind, offset, elements // per_block * block_size)


def _check_extents(tensors: tuple[GgufTensor, ...], data_offset: int, size: int) -> None:
    """Every tensor inside the file, none over another, no name twice."""
    names = {tensor.name for tensor in tensors}
    if len(names) != len(tensors):
        raise malformed("a tensor name that appears twice", data_offset)
    end, previous = 0, ""
    for tensor in sorted(tensors, key=lambda t: t.offset):
        if tensor.offset < end:
            raise malformed(f"the tensors {previous!r} and {tensor.name!r} overlap", data_offset)
        end, previous = tensor.offset + tensor.size, tensor.name
    missing = data_offset + end - size
    if tensors and missing > 0:
        raise ModelError(
            "model-truncated",
            f"The file is incomplete: {missing} of {data_offset + end} bytes are missing "
            f"(tensor {previous!r} reaches past the end).",
            hint="Resume the download: shimmy models pull",
        )
