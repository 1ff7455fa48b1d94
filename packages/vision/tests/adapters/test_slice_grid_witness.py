"""Our cutting rule against libmtmd's own, for thousands of sizes."""

from __future__ import annotations

import ctypes
import random

from shimmy_vision.adapters.engine.llama_bindings import mtmd_input_text
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.mtmd_encoder import MtmdEncoder
from shimmy_vision.domain.image.slice_grid import SlicePlan, plan_slices


def _libmtmd(engine: LlamaEngine, width: int, height: int) -> tuple[list[int], int]:
    """Rows of each slice, and how many line breaks stand between them."""
    encoder = engine._encoder
    assert isinstance(encoder, MtmdEncoder)
    c, context = encoder._library.c, encoder.pointer
    bitmap, chunks = c.mtmd_bitmap_init(width, height, None), c.mtmd_input_chunks_init()
    marker = c.mtmd_default_marker()
    text = mtmd_input_text(marker, len(marker), False, True)
    bitmaps = (ctypes.c_void_p * 1)(bitmap)
    assert c.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1) == 0
    rows, breaks = [], 0
    for index in range(c.mtmd_input_chunks_size(chunks)):
        chunk = c.mtmd_input_chunks_get(chunks, index)
        if encoder._is_text(chunk):
            breaks += encoder._markup(chunk).tokens.count(ord("\n"))
        else:
            rows.append(c.mtmd_input_chunk_get_n_tokens(chunk))
    c.mtmd_bitmap_free(bitmap)
    c.mtmd_input_chunks_free(chunks)
    return rows, breaks


def _expected_rows(plan: SlicePlan, engine: LlamaEngine) -> list[int]:
    step = engine.encoder.grid.step
    if engine.encoder.grid.merge == 1:
        return [64] * plan.encodes

    def rows(width: int, height: int) -> int:
        return (width // step) * (height // step)

    sizes = [plan.overview_size]
    if plan.refined_size is not None:
        width, height = plan.refined_size
        sizes += [(width // plan.columns, height // plan.lines)] * plan.slices
    return [rows(*size) for size in sizes]


def test_plans_are_what_libmtmd_does(engine: LlamaEngine) -> None:
    rng = random.Random(7)
    lengths = [
        lambda: rng.randint(1, 700),
        lambda: rng.randint(1, 3000),
        lambda: rng.randint(430, 470),
    ]
    for _ in range(3000):
        width, height = rng.choice(lengths)(), rng.choice(lengths)()
        plan = plan_slices(width, height, engine.encoder.grid)
        rows, breaks = _libmtmd(engine, width, height)
        assert rows == _expected_rows(plan, engine), (width, height)
        assert breaks == max(0, plan.lines - 1), (width, height)
