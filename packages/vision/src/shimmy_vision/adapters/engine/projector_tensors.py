"""A projector's tensors straight from its file: mapped, not read."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.model.gguf import GgufHeader, GgufTensor, parse_gguf
from shimmy_vision.domain.model.projector_shape import (
    ProjectorShape,
    UnknownProjector,
    read_projector_shape,
)

_F32, _F16, _BF16 = 0, 1, 30


class ProjectorTensors:
    """The file's header and its tensors as arrays over the map."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, or ModelError where the header is damaged."""
        with path.open("rb") as file:
            # A private copy in name only: OpenVINO takes no memory that it may not write to.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.header: GgufHeader = parse_gguf(memoryview(self._map), len(self._map))
        self._tensors = {tensor.name: tensor for tensor in self.header.tensors}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def stored(self, name: str) -> NDArray[np.float32] | NDArray[np.float16]:
        """As it lies in the file, f16 or f32; bf16 becomes f32. Dimensions in numpy's order."""
        tensor = self._tensors[name]
        array = self._bytes(tensor)
        shape = tensor.dimensions[::-1]
        if tensor.ggml_type == _F16:
            return array.view(np.float16).reshape(shape)
        if tensor.ggml_type == _BF16:
            wide = array.view(np.uint16).astype(np.uint32) << np.uint32(16)
            return wide.view(np.float32).reshape(shape)
        return array.view(np.float32).reshape(shape)

    def floats(self, name: str) -> NDArray[np.float32]:
        """In single precision."""
        return np.ascontiguousarray(self.stored(name), dtype=np.float32)

    def _bytes(self, tensor: GgufTensor) -> NDArray[np.uint8]:
        start = self.header.data_offset + tensor.offset
        return np.frombuffer(self._map, dtype=np.uint8, count=tensor.size, offset=start)

    def forget_pages(self) -> None:
        """Give back the memory that reading the map took; the file stays where it is."""
        forget_pages(self._map)


def forget_pages(mapped: mmap.mmap) -> None:
    """Pages of a mapped file leave this process; they come again when they are touched."""
    if hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def known_shape(tensors: ProjectorTensors) -> ProjectorShape:
    """Of one whose graph can be built here. Raises ValueError with the reason for others."""
    match read_projector_shape(tensors.header):
        case UnknownProjector(reason=reason):
            raise ValueError(f"of this projector {reason}")
        case shape:
            return shape
