"""The engine on llama.cpp: weights, context, encoder and grammars with one lifetime."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

import psutil

from shimmy_vision.adapters.llama_library import BUILD, open_native_library
from shimmy_vision.adapters.llama_model import ComputeOptions, LlamaContext, LlamaWeights
from shimmy_vision.adapters.llguidance_grammar import LlguidanceCompiler
from shimmy_vision.adapters.mtmd_encoder import MtmdEncoder
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions


class LlamaEngine:
    """The ``Engine`` port."""

    def __init__(self, library_directory: Path, files: EngineFiles, options: EngineOptions) -> None:
        library = open_native_library(library_directory)
        threads = options.threads or default_threads()
        compute = ComputeOptions(threads, options.gpu_layers, options.context_size)
        gpus = library.gpus() if options.gpu_layers != 0 else ()
        self._weights = LlamaWeights(library, files.main, gpu_layers=options.gpu_layers)
        self._context = LlamaContext(self._weights, compute)
        self._turn = threading.Lock()
        grid = encoder_grid(files.family)
        self._encoder = MtmdEncoder(library, self._weights, files.projector, grid, compute)
        self._grammars = LlguidanceCompiler(self._weights)
        self._description = EngineDescription(
            family=files.family,
            synthetic=files.synthetic,
            main_sha256=files.main_sha256,
            projector_sha256=files.projector_sha256,
            build=BUILD,
            device=gpus[0].description if gpus else "cpu",
            threads=threads,
        )

    @property
    def description(self) -> EngineDescription:
        return self._description

    @property
    def encoder(self) -> MtmdEncoder:
        return self._encoder

    @contextmanager
    def sequence(self, cancellation: Cancellation) -> Iterator[LlamaContext]:
        cancellation.check()
        with self._turn:
            yield self._context

    @property
    def grammars(self) -> LlguidanceCompiler:
        return self._grammars

    def close(self) -> None:
        # Children before the weights they point into.
        self._encoder.close()
        self._context.close()
        self._weights.close()


class LlamaEngineOpener:
    """The ``EngineOpener`` port over one library folder."""

    def __init__(self, library_directory: Path) -> None:
        self._library_directory = library_directory

    def open(self, files: EngineFiles, options: EngineOptions) -> LlamaEngine:
        return LlamaEngine(self._library_directory, files, options)


def default_threads() -> int:
    """One per physical core: matrix kernels gain nothing from a core's second thread."""
    return max(1, psutil.cpu_count(logical=False) or psutil.cpu_count() or 1)


def encoder_grid(family: ModelFamily) -> EncoderGrid:
    """How each version's projector cuts a tile."""
    match family:
        case "2.6" | "4.0" | "4.5":
            return EncoderGrid(merge=1)
        case "4.6":
            return EncoderGrid(merge=4)
        case _:
            assert_never(family)
