"""OpenVINO as the ``SliceEncoder`` on CPUs: libmtmd's slices, in a third of its time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.compiled_projectors import CompiledProjector
from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.llama_model import LlamaWeights
from shimmy_vision.adapters.engine.openvino_library import first_line
from shimmy_vision.adapters.engine.slice_encoder import RowsOf
from shimmy_vision.adapters.engine.slice_pixels import CutTile, grid_inputs, patch_rows
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid, SlicePlan
from shimmy_vision.domain.model.projector_shape import ProjectorShape
from shimmy_vision.errors import LibraryError, ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows, MarkupTokens

# OpenVINO notices a cancelled request between two of its nodes, some 25 ms in a real projector.
_LOOK_MILLISECONDS = 20


@dataclass(frozen=True, slots=True)
class SliceMarkup:
    """Tokens around the overview and the slices, and at the end of each line of slices but one."""

    image: tuple[int, int]
    piece: tuple[int, int]
    line_end: int


def read_markup(weights: LlamaWeights) -> SliceMarkup:
    """Raises ModelError model-malformed if the vocabulary has no token for one of them."""
    names = ("<image>", "</image>", "<slice>", "</slice>", "\n")
    found = [weights.tokenize(name, special=name != "\n") for name in names]
    if any(len(tokens) != 1 for tokens in found):
        raise ModelError("model-malformed", "The vocabulary lacks MiniCPM-V's image markup.")
    opening, closing, first, last, line_end = (tokens[0] for tokens in found)
    return SliceMarkup((opening, closing), (first, last), line_end)


class OpenVinoEncoder:
    """One compiled projector; several tiles at once take turns slice by slice."""

    def __init__(
        self,
        open_compiled: Callable[[], CompiledProjector],
        shape: ProjectorShape,
        markup: SliceMarkup,
        turns: ComputeTurns,
        counters: EngineCounters,
    ) -> None:
        """Raises what ``open_compiled`` raises, which is called again after a slice was stopped."""
        self._open_compiled = open_compiled
        self._running: _Running | None = _Running(open_compiled())
        self._shape, self._markup = shape, markup
        self._turns, self._counters = turns, counters
        self._grid = EncoderGrid(shape.slice_size, shape.patch_size, shape.merge)

    @property
    def grid(self) -> EncoderGrid:
        return self._grid

    def close(self) -> None:
        """Free the projector's memory. Nothing may be under way. Safe to call twice."""
        self._running = None

    def rest(self) -> None:
        """Give back what intermediate results took. On the computing thread."""
        if self._running is not None:
            with suppress(RuntimeError):
                self._running.rest()

    def encode_slices(
        self, tile: CutTile, rows_of: RowsOf, cancellation: Cancellation
    ) -> tuple[MarkupTokens | EmbeddingRows, ...]:
        def rows(number: int, piece: RgbPixels) -> EmbeddingRows:
            return rows_of(number, lambda: self._encode_slice(piece, cancellation))

        encoded = [rows(number, piece) for number, piece in enumerate(tile.pieces)]
        return tuple(marked_parts(encoded, tile.plan, self._markup))

    def _encode_slice(self, piece: RgbPixels, cancellation: Cancellation) -> EmbeddingRows:
        patch = self._shape.patch_size
        grid = grid_inputs(piece.shape[0] // patch, piece.shape[1] // patch, self._shape)
        inputs: dict[str, NDArray[Any]] = {
            "pixels": patch_rows(piece, self._shape, grid.order),
            "places": grid.places,
        }
        if self._shape.kind == "resampler":
            inputs |= {"waves": grid.waves, "across": grid.across, "down": grid.down}
        rows = self._turns.encode(lambda: self._encode_now(inputs, cancellation), cancellation)
        cancellation.check()
        return EmbeddingRows(rows)

    def _encode_now(
        self, inputs: dict[str, NDArray[Any]], cancellation: Cancellation
    ) -> NDArray[np.float32]:
        """Rows of one slice; on the computing thread, the only one that knows the request."""
        try:
            running = self._running = self._running or _Running(self._open_compiled())
            rows = running.infer(inputs, cancellation)
        except RuntimeError as error:
            # A graph that was left in its middle keeps shapes of what it did not finish, and fails
            # at the next slice of another size. Opened anew, from the kept file, it is as it was.
            self._running = None
            cancellation.check()
            raise LibraryError(
                "image-encode-failed",
                f"OpenVINO's encoder failed: {first_line(error)}",
                hint="Encode with libmtmd: SHIMMY_ENCODER=mtmd",
            ) from error
        self._counters.encoded_slices += 1
        return rows


class _Running:
    """A compiled projector and the one request that runs on it."""

    def __init__(self, compiled: CompiledProjector) -> None:
        self._compiled = compiled
        self._request = compiled.model.create_infer_request()

    def rest(self) -> None:
        """Free intermediate results' memory."""
        self._compiled.model.release_memory()

    def infer(
        self, inputs: dict[str, NDArray[Any]], cancellation: Cancellation
    ) -> NDArray[np.float32]:
        """Raises RuntimeError when cancelled, and as OpenVINO does."""
        request = self._request
        request.start_async(inputs)
        while not request.wait_for(_LOOK_MILLISECONDS):
            if cancellation.reason is not None:
                request.cancel()
        request.wait()
        rows: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
        # The first slice packs the matrices, and what they were packed from is not needed in memory
        # any more. Later ones read a few small vectors there, each of which brings two megabytes
        # where the system keeps files in large pages. Takes a millisecond.
        self._compiled.forget()
        return rows


def marked_parts(
    rows: list[EmbeddingRows], plan: SlicePlan, markup: SliceMarkup
) -> list[MarkupTokens | EmbeddingRows]:
    """Overview and slices with libmtmd's tokens around them; neighbouring tokens as one part."""
    parts: list[MarkupTokens | EmbeddingRows] = []
    pending: list[int] = [markup.image[0]]

    def add(one: EmbeddingRows, closing: int) -> None:
        parts.extend((MarkupTokens(tuple(pending)), one))
        pending[:] = [closing]

    add(rows[0], markup.image[1])
    for number, one in enumerate(rows[1:]):
        if number and number % plan.columns == 0:
            pending.append(markup.line_end)
        pending.append(markup.piece[0])
        add(one, markup.piece[1])
    return [*parts, MarkupTokens(tuple(pending))]
