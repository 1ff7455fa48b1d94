"""A projector's network as an OpenVINO model, for any number of patches.

Attention does not mind the order of patches, so a merger's are fed in an order in which those
that are merged lie together: its windows and both its merges become plain changes of shape.

Matrices are stored in the precision they are computed in: bf16 products have bf16 matrices, int8
ones a scale for each of their rows. What is added, normed and weighed stays in single precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.openvino_library import OpenVino
from shimmy_vision.adapters.engine.projector_tensors import ProjectorTensors
from shimmy_vision.domain.model.encoder_choice import Precision
from shimmy_vision.domain.model.projector_shape import ProjectorShape

GRAPH_VERSION = 1
"""Goes up whenever another graph is built from the same file: kept ones are then made again."""

_CHUNK = 1 << 18
_WINDOW = 4


@dataclass(frozen=True, slots=True)
class BuiltGraph:
    """``model``, and the memory that it points into: whoever uses the model keeps both."""

    model: Any
    held: list[Any]


def build_graph(
    openvino: OpenVino, tensors: ProjectorTensors, shape: ProjectorShape, precision: Precision
) -> BuiltGraph:
    """The model: ``pixels`` (n, values of a patch) and ``places`` (n) to rows (m, width).

    A resampler also takes ``waves``, ``across`` and ``down``, as ``GridInputs`` has them.
    """
    graph = _Graph(openvino, tensors, shape, precision)
    return BuiltGraph(graph.model(), graph.held)


class _Graph:
    def __init__(
        self,
        openvino: OpenVino,
        tensors: ProjectorTensors,
        shape: ProjectorShape,
        precision: Precision,
    ) -> None:
        self._openvino, self._op = openvino, openvino.operations
        self._tensors, self._shape, self._precision = tensors, shape, precision
        self.held: list[Any] = [tensors]

    def model(self) -> Any:
        op, shape = self._op, self._shape
        values = 3 * shape.patch_size**2
        pixels = op.parameter([-1, values], np.float32, name="pixels")
        places = op.parameter([-1], np.int32, name="places")
        inputs = [pixels, places]
        rows = op.add(self._linear(pixels, "v.patch_embd", columns=values), self._learned(places))
        rows = self._tower(rows)
        if shape.kind == "merger":
            rows = self._last_merge(rows)
        else:
            waves = op.parameter([-1, shape.embedding // 2], np.float32, name="waves")
            across, down = (op.parameter([-1], np.int32, name=name) for name in ("across", "down"))
            inputs += [waves, across, down]
            rows = self._resampler(rows, [self._taken(waves, at) for at in (across, down)])
        return self._openvino.package.Model([op.result(rows)], inputs, "projector")

    def _tower(self, rows: Any) -> Any:
        for layer in range(self._shape.layers):
            rows = self._layer(rows, f"v.blk.{layer}")
            if layer == self._shape.merger_after:
                rows = self._window_merge(rows)
        return self._norm(rows, "v.post_ln") if "v.post_ln.weight" in self._tensors else rows

    def _layer(self, rows: Any, block: str) -> Any:
        op, shape = self._op, self._shape
        normed = self._norm(rows, f"{block}.ln1")
        query, key, value = (self._heads(self._linear(normed, f"{block}.attn_{p}")) for p in "qkv")
        seen = op.scaled_dot_product_attention(query, key, value)
        rows = op.add(rows, self._linear(self._joined(seen, shape.width), f"{block}.attn_out"))
        up, down = ("ffn_down", "ffn_up") if shape.swapped else ("ffn_up", "ffn_down")
        inner = op.gelu(self._linear(self._norm(rows, f"{block}.ln2"), f"{block}.{up}"), "tanh")
        return op.add(rows, self._linear(inner, f"{block}.{down}"))

    def _window_merge(self, rows: Any) -> Any:
        """Windows of four attend within themselves, then become one."""
        op, stem, width = self._op, "v.vit_merger", self._shape.width
        normed = self._norm(rows, f"{stem}.ln1")
        query, key, value = (
            self._heads(self._linear(normed, f"{stem}.attn_{p}"), group=_WINDOW) for p in "qkv"
        )
        seen = self._joined(op.scaled_dot_product_attention(query, key, value), width)
        rows = op.add(rows, self._linear(seen, f"{stem}.attn_out"))
        windows = self._reshaped(rows, [-1, _WINDOW, width])
        mean = op.reduce_mean(windows, self._integers([1]), False)
        wide = self._norm(self._reshaped(rows, [-1, _WINDOW * width]), f"{stem}.ds_ln")
        inner = op.gelu(self._linear(wide, f"{stem}.ds_ffn_up"), "tanh")
        return op.add(self._linear(inner, f"{stem}.ds_ffn_down"), mean)

    def _last_merge(self, rows: Any) -> Any:
        wide = self._reshaped(rows, [-1, _WINDOW * self._shape.width])
        inner = self._op.gelu(self._linear(self._norm(wide, "mm.input_norm"), "mm.up"), "erf")
        return self._linear(inner, "mm.down")

    def _resampler(self, rows: Any, waves: list[Any]) -> Any:
        """Queries of the file's own attend to the patches."""
        op, stem, wide = self._op, "resampler", self._shape.embedding
        heads = self._shape.resampler_heads
        value = self._norm(self._linear(rows, f"{stem}.kv"), f"{stem}.ln_kv")
        key = op.add(value, op.concat(waves, 1))
        parts = [self._linear(key, f"{stem}.attn.k"), self._linear(value, f"{stem}.attn.v")]
        asked = [self._heads(rows, heads) for rows in (op.constant(self._queries()), *parts)]
        seen = self._joined(op.scaled_dot_product_attention(*asked), wide)
        seen = self._norm(self._linear(seen, f"{stem}.attn.out"), f"{stem}.ln_post")
        return self._linear(seen, f"{stem}.proj")

    def _queries(self) -> NDArray[np.float32]:
        """What the resampler asks is the same for every slice."""
        tensors, stem = self._tensors, "resampler"
        asked = tensors.floats(f"{stem}.query")
        asked = asked - asked.mean(axis=1, keepdims=True)
        spread = np.sqrt((asked * asked).mean(axis=1, keepdims=True) + self._shape.epsilon)
        for name, weighed in (("ln_q", asked / spread), ("attn.q", None)):
            weight, bias = tensors.floats(f"{stem}.{name}.weight"), f"{stem}.{name}.bias"
            asked = asked @ weight.T if weighed is None else weighed * weight
            asked = asked + tensors.floats(bias) if bias in tensors else asked
        return np.ascontiguousarray(asked, dtype=np.float32)

    def _learned(self, places: Any) -> Any:
        return self._taken(self._floats("v.position_embd.weight"), places)

    def _taken(self, table: Any, rows: Any) -> Any:
        return self._op.gather(table, rows, self._op.constant(np.int64(0)))

    def _heads(self, rows: Any, heads: int = 0, group: int = 0) -> Any:
        """(n, width) to (1, heads, n, head), or (n / group, heads, group, head)."""
        count = heads or self._shape.heads
        width = int(rows.get_output_partial_shape(0)[1].get_length())
        first = [-1, group] if group else [1, -1]
        apart = self._reshaped(rows, [*first, count, width // count])
        return self._op.transpose(apart, self._integers([0, 2, 1, 3]))

    def _joined(self, heads: Any, width: int) -> Any:
        together = self._op.transpose(heads, self._integers([0, 2, 1, 3]))
        return self._reshaped(together, [-1, width])

    def _reshaped(self, rows: Any, shape: list[int]) -> Any:
        return self._op.reshape(rows, self._integers(shape), False)

    def _norm(self, rows: Any, stem: str) -> Any:
        op = self._op
        normed = op.mvn(rows, self._integers([-1]), True, self._shape.epsilon, "inside_sqrt")
        weighed = op.multiply(normed, self._floats(f"{stem}.weight"))
        bias = f"{stem}.bias"
        return op.add(weighed, self._floats(bias)) if bias in self._tensors else weighed

    def _linear(self, rows: Any, stem: str, columns: int = 0) -> Any:
        product = self._product(rows, f"{stem}.weight", columns)
        bias = f"{stem}.bias"
        return self._op.add(product, self._floats(bias)) if bias in self._tensors else product

    def _product(self, rows: Any, name: str, columns: int) -> Any:
        op, types = self._op, self._openvino.package.Type
        stored = self._tensors.stored(name)
        matrix = stored.reshape(-1, columns) if columns else stored
        if self._precision == "bf16":
            weights = op.constant(self._shared(_bfloats(matrix), types.bf16), shared_memory=True)
            return op.convert(op.matmul(op.convert(rows, "bf16"), weights, False, True), "f32")
        if self._precision == "int8":
            whole, scales = _quantised(matrix)
            weights = op.multiply(op.convert(op.constant(whole), "f32"), op.constant(scales))
        else:
            shared = op.constant(self._shared(matrix), shared_memory=True)
            weights = op.convert(shared, "f32") if matrix.dtype == np.float16 else shared
        return op.matmul(rows, weights, False, True)

    def _shared(self, array: NDArray[Any], kind: Any = None) -> Any:
        """An OpenVINO tensor over the array's own memory."""
        package = self._openvino.package
        self.held.append(array)
        if kind is None:
            return package.Tensor(array, shared_memory=True)
        return package.Tensor(array, package.Shape(array.shape), kind)

    def _floats(self, name: str) -> Any:
        return self._op.constant(self._tensors.floats(name))

    def _integers(self, values: list[int]) -> Any:
        return self._op.constant(np.array(values, dtype=np.int64))


def _bfloats(matrix: NDArray[np.float32] | NDArray[np.float16]) -> NDArray[np.uint16]:
    """The nearest bf16 of each value, as bits; piece by piece, so that little memory is touched."""
    flat = matrix.reshape(-1)
    rounded = np.empty(flat.size, dtype=np.uint16)
    for start in range(0, flat.size, _CHUNK):
        bits = flat[start : start + _CHUNK].astype(np.float32).view(np.uint32)
        bits += np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        rounded[start : start + _CHUNK] = bits >> np.uint32(16)
    return rounded.reshape(matrix.shape)


def _quantised(
    matrix: NDArray[np.float32] | NDArray[np.float16],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers from -127 to 127, and what a row of them is to be multiplied by."""
    whole = np.empty(matrix.shape, dtype=np.int8)
    scales = np.empty((matrix.shape[0], 1), dtype=np.float32)
    step = max(1, _CHUNK // matrix.shape[1])
    for start in range(0, matrix.shape[0], step):
        rows = matrix[start : start + step].astype(np.float32)
        scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
        scale[scale == 0] = 1
        whole[start : start + step] = np.rint(rows / scale)
        scales[start : start + step] = scale
    return whole, scales
