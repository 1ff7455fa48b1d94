"""int8 on trial with the customer's own projector, beside libmtmd; in a process of its own.

What genuine weights do to numbers of eight bits cannot be known beforehand, so the rows of a few
pictures are compared. The first that is too unlike ends the trial. Only a graph that held is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.compiled_projectors import CompiledProjector, CompiledProjectors
from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.encoder_trial import measure_machine, read_measured
from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.llama_library import NativeLibrary
from shimmy_vision.adapters.engine.llama_model import ComputeOptions, LlamaWeights, default_threads
from shimmy_vision.adapters.engine.mtmd_encoder import EncoderParts, MtmdEncoder
from shimmy_vision.adapters.engine.openvino_encoder import OpenVinoEncoder, read_markup
from shimmy_vision.adapters.engine.openvino_graph import GRAPH_VERSION, build_graph
from shimmy_vision.adapters.engine.openvino_library import OpenVino, first_line, open_openvino
from shimmy_vision.adapters.engine.projector_tensors import ProjectorTensors, known_shape
from shimmy_vision.adapters.engine.slice_encoder import SliceEncoder
from shimmy_vision.adapters.engine.slice_pixels import cut_tile
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid, plan_slices
from shimmy_vision.domain.model.encoder_choice import int8_is_quicker
from shimmy_vision.domain.model.int8_verdict import Int8Verdict, decide_verdict, verdict_record
from shimmy_vision.domain.model.projector_shape import ProjectorShape
from shimmy_vision.domain.model.trial_pictures import PICTURES_DIGEST, trial_pictures
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.ports.image_encoder import EmbeddingRows

_MOST_SECONDS = 90.0
"""For all pictures. Where the first shows that they will not do, the trial ends with it."""


@dataclass(frozen=True, slots=True)
class Int8Trial:
    """The verdict, the least cosine on each picture compared, and what it was measured with."""

    verdict: Int8Verdict
    cosines: Mapping[str, float]
    facts: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """What is remembered of it."""
        return {**verdict_record(self.verdict), "cosines": dict(self.cosines), **self.facts}


def try_int8(
    library: NativeLibrary,
    files: EngineFiles,
    options: EngineOptions,
    is_quicker: Callable[[OpenVino], bool] | None = None,
) -> Int8Trial:
    """Try and judge; a graph that held is kept in the order's folder.

    ``is_quicker`` tells whether int8 is worth anything here; by default the machine is measured.
    What goes wrong is a verdict too. Raises LibraryError where there is no OpenVINO.
    """
    openvino = open_openvino()
    threads = options.threads or default_threads()
    facts = {
        "openvino": openvino.version,
        "cpu": openvino.cpu,
        "library": library.build,
        "graph": GRAPH_VERSION,
        "pictures": PICTURES_DIGEST,
        "main_sha256": files.main_sha256,
        "projector_sha256": files.projector_sha256,
    }
    worth = is_quicker or partial(_is_quicker, options=options, threads=threads)
    if (options.gpu_layers != 0 and library.gpus()) or not worth(openvino):
        return Int8Trial(Int8Verdict("no-faster"), {}, facts)
    cosines: dict[str, float] = {}
    try:
        verdict = _judge(library, files, replace(options, threads=threads), cosines)
    except (OSError, RuntimeError, ValueError) as error:
        verdict = Int8Verdict("failed", reason=first_line(error))
    except ShimmyError as error:
        verdict = Int8Verdict("failed", reason=error.message)
    return Int8Trial(verdict, cosines, facts)


def _is_quicker(openvino: OpenVino, options: EngineOptions, threads: int) -> bool:
    folder = options.encoder.folder
    measured = read_measured(openvino, folder, threads)
    measured = measured or measure_machine(openvino, folder, threads)
    return int8_is_quicker(measured.seconds)


def _judge(
    library: NativeLibrary, files: EngineFiles, options: EngineOptions, cosines: dict[str, float]
) -> Int8Verdict:
    """Fills ``cosines``. Raises what loading the files and encoding raise; ValueError as well."""
    openvino = open_openvino()
    tensors = ProjectorTensors(files.projector)
    shape = known_shape(tensors)
    # Made here and not yet kept: what falls leaves nothing behind.
    compiled = CompiledProjectors(openvino, None, options.threads).open(
        files.projector_sha256, "int8", lambda: build_graph(openvino, tensors, shape, "int8")
    )
    tensors.forget_pages()
    with _both(library, files, options, compiled, shape) as (ours, theirs):
        verdict = _compare(ours, theirs, trial_pictures(shape.slice_size), cosines)
    if verdict.outcome == "held":
        kept = CompiledProjectors(openvino, options.encoder.folder, options.threads)
        kept.keep(files.projector_sha256, "int8", compiled)
    return verdict


@contextmanager
def _both(
    library: NativeLibrary,
    files: EngineFiles,
    options: EngineOptions,
    compiled: CompiledProjector,
    shape: ProjectorShape,
) -> Iterator[tuple[SliceEncoder, SliceEncoder]]:
    """OpenVINO with ``compiled``, and libmtmd, which wants the language model's vocabulary."""
    with ExitStack() as closing:
        weights = LlamaWeights(library, files.main, gpu_layers=0, packed=False)
        closing.callback(weights.close)
        turns = ComputeTurns()
        closing.callback(turns.close)
        parts = EncoderParts(library, weights, turns, EngineCounters())
        markup = read_markup(weights)
        ours = OpenVinoEncoder(lambda: compiled, shape, markup, turns, parts.counters)
        grid = EncoderGrid(shape.slice_size, shape.patch_size, shape.merge)
        compute = ComputeOptions(options.threads, 0, options.context_size)
        theirs = MtmdEncoder(parts, files.projector, grid, compute)
        closing.callback(theirs.close)
        yield ours, theirs


def _compare(
    ours: SliceEncoder,
    theirs: SliceEncoder,
    pictures: Mapping[str, Callable[[], RgbPixels]],
    cosines: dict[str, float],
) -> Int8Verdict:
    began = time.monotonic()
    verdict = Int8Verdict("failed", reason="there are no pictures")
    for name, draw in pictures.items():
        cosines[name] = _least_cosine(ours, theirs, draw())
        verdict = decide_verdict(cosines, len(pictures))
        taken = time.monotonic() - began
        if verdict.outcome != "failed":
            # It fell, or this was the last one.
            break
        if taken / len(cosines) * len(pictures) > _MOST_SECONDS:
            return replace(verdict, outcome="failed", reason=_too_long(cosines, taken))
    return verdict


def _too_long(cosines: Mapping[str, float], taken: float) -> str:
    return f"libmtmd takes too long: {taken:.0f} s for {len(cosines)} of the pictures"


def _least_cosine(ours: SliceEncoder, theirs: SliceEncoder, picture: RgbPixels) -> float:
    """Over all rows; what is no number among them stays none."""
    found, wanted = _rows(ours, picture), _rows(theirs, picture)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = (found * wanted).sum(axis=1) / lengths
    return float(cosines.min())


def _rows(encoder: SliceEncoder, picture: RgbPixels) -> NDArray[np.float64]:
    """Of the one slice that ``picture`` is."""
    tile = cut_tile(picture, plan_slices(picture.shape[1], picture.shape[0], encoder.grid))
    parts = encoder.encode_slices(tile, lambda _number, make: make(), Cancellation())
    rows: Iterator[EmbeddingRows] = (part for part in parts if isinstance(part, EmbeddingRows))
    return next(rows).rows.astype(np.float64)
