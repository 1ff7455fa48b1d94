"""libmtmd as the ``SliceEncoder``: slices a tile, encodes each slice, returns plain rows."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.llama_bindings import (
    LLAMA_FLASH_ATTN_TYPE_AUTO,
    MTMD_INPUT_CHUNK_TYPE_TEXT,
    ggml_backend_sched_eval_callback,
    mtmd_input_text,
)
from shimmy_vision.adapters.engine.llama_library import NativeLibrary
from shimmy_vision.adapters.engine.llama_model import ComputeOptions, LlamaWeights
from shimmy_vision.adapters.engine.slice_encoder import RowsOf
from shimmy_vision.adapters.engine.slice_pixels import CutTile
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.errors import LibraryError, ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows, MarkupTokens

# libmtmd has no abort callback; its graph callback may stop the run at a node it
# asked for. Asking at every 16th of about 900 nodes stops a real encoder (3 s a
# slice on two cores) within some 60 ms and costs nothing measurable.
_NODES_BETWEEN_CHECKS = 16


class _StopSwitch:
    """Tells libmtmd's graph to stop; polled from C through ``callback``.

    ``watched`` is the switch of whoever's slice is encoded just now.
    """

    def __init__(self) -> None:
        self.watched = Cancellation()
        self._asked = 0
        self.callback = ggml_backend_sched_eval_callback(self._poll)

    def _poll(self, _tensor: int | None, asking: bool, _data: int | None) -> bool:
        thrown = self.watched.reason is not None
        if not asking:
            return not thrown
        self._asked += 1
        return thrown or self._asked % _NODES_BETWEEN_CHECKS == 0


@dataclass(frozen=True, slots=True)
class EncoderParts:
    """What one projector is bound to: its language model's weights, and where it computes."""

    library: NativeLibrary
    weights: LlamaWeights
    turns: ComputeTurns
    counters: EngineCounters


class MtmdEncoder:
    """One projector; several tiles at once take turns slice by slice."""

    def __init__(
        self, parts: EncoderParts, path: Path, grid: EncoderGrid, options: ComputeOptions
    ) -> None:
        """Raises ModelError projector-load-failed with libmtmd's own reason."""
        library, weights = parts.library, parts.weights
        self._library = library
        self._weights = weights
        self._turns = parts.turns
        self._counters = parts.counters
        self._grid = grid
        self._switch = _StopSwitch()
        c = library.c
        params = c.mtmd_context_params_default()
        params.use_gpu = options.gpu_layers != 0
        params.n_threads = options.threads
        params.print_timings = False
        params.warmup = False
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO
        params.cb_eval = self._switch.callback
        library.log.clear()
        self.pointer = c.mtmd_init_from_file(str(path).encode(), weights.pointer, params)
        if not self.pointer:
            raise ModelError(
                "projector-load-failed",
                f"libmtmd refused {path.name}: {library.log.cause() or 'no reason given'}",
                hint="Check the files with: shimmy models verify",
            )
        self.close = weakref.finalize(self, _free_encoder, weights, self._switch, self.pointer)
        self._marker: bytes = c.mtmd_default_marker()

    @property
    def grid(self) -> EncoderGrid:
        return self._grid

    def rest(self) -> None:
        """libmtmd keeps what it needs."""

    def encode_slices(
        self, tile: CutTile, rows_of: RowsOf, cancellation: Cancellation
    ) -> tuple[MarkupTokens | EmbeddingRows, ...]:
        c = self._library.c
        chunks = self._cut(tile.pixels)
        try:
            parts: list[MarkupTokens | EmbeddingRows] = []
            number = 0
            for index in range(c.mtmd_input_chunks_size(chunks)):
                chunk = c.mtmd_input_chunks_get(chunks, index)
                if self._is_text(chunk):
                    parts.append(self._markup(chunk))
                elif number == tile.plan.encodes:
                    return _closed(parts)
                else:
                    parts.append(rows_of(number, partial(self._encode_slice, chunk, cancellation)))
                    number += 1
            return tuple(parts)
        finally:
            c.mtmd_input_chunks_free(chunks)

    def _cut(self, tile: RgbPixels) -> int:
        c = self._library.c
        height, width, _ = tile.shape
        pixels = np.ascontiguousarray(tile)
        bitmap = c.mtmd_bitmap_init(
            width, height, pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte))
        )
        chunks: int = c.mtmd_input_chunks_init()
        try:
            text = mtmd_input_text(self._marker, len(self._marker), False, True)
            bitmaps = (ctypes.c_void_p * 1)(bitmap)
            self._library.log.clear()
            status = c.mtmd_tokenize(self.pointer, chunks, ctypes.byref(text), bitmaps, 1)
        finally:
            c.mtmd_bitmap_free(bitmap)
        if status != 0:
            c.mtmd_input_chunks_free(chunks)
            raise LibraryError(
                "image-slicing-failed",
                f"libmtmd could not slice a {width}x{height} tile: {self._library.log.cause()}",
            )
        return chunks

    def _is_text(self, chunk: int) -> bool:
        return bool(self._library.c.mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT)

    def _markup(self, chunk: int) -> MarkupTokens:
        count = ctypes.c_size_t()
        tokens = self._library.c.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return MarkupTokens(tuple(tokens[: count.value]))

    def _encode_slice(self, chunk: int, cancellation: Cancellation) -> EmbeddingRows:
        status, rows = self._turns.encode(
            lambda: self._encode_now(chunk, cancellation), cancellation
        )
        # A stopped graph reports success with unfinished rows: they must not leave.
        cancellation.check()
        if status != 0:
            raise LibraryError(
                "image-encode-failed",
                f"libmtmd's encoder failed with status {status}. {self._library.log.cause()}",
            )
        return EmbeddingRows(rows)

    def _encode_now(
        self, chunk: int, cancellation: Cancellation
    ) -> tuple[int, NDArray[np.float32]]:
        """Status and rows; on the computing thread, whose next slice overwrites libmtmd's rows."""
        c = self._library.c
        self._switch.watched = cancellation
        self._library.log.clear()
        status: int = c.mtmd_encode_chunk(self.pointer, chunk)
        self._switch.watched = Cancellation()
        self._counters.encoded_slices += 1
        count: int = c.mtmd_input_chunk_get_n_tokens(chunk) if status == 0 else 0
        shape = (count, self._weights.embedding_width)
        if count == 0:
            return status, np.empty(shape, dtype=np.float32)
        output = c.mtmd_get_output_embd(self.pointer)
        return status, np.ctypeslib.as_array(output, shape=shape).copy()


def _closed(parts: list[MarkupTokens | EmbeddingRows]) -> tuple[MarkupTokens | EmbeddingRows, ...]:
    """``parts`` up to where the first slice would have begun: only the overview's end is left."""
    match parts[-1]:
        case MarkupTokens(tokens=tokens):
            return (*parts[:-1], MarkupTokens(tokens[:1]))
        case EmbeddingRows():
            return tuple(parts)


def _free_encoder(weights: LlamaWeights, _switch: _StopSwitch, pointer: int) -> None:
    # Holds the weights and the graph callback until the encoder is gone.
    weights.library.c.mtmd_free(pointer)
