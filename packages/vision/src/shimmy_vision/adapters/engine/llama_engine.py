"""The engine on llama.cpp: weights, context, encoder and grammars with one lifetime."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import assert_never

from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.encoder_opening import open_encoder
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.fair_pool import FairPool
from shimmy_vision.adapters.engine.kept_encodings import KeptEncodings
from shimmy_vision.adapters.engine.llama_context import LlamaContext
from shimmy_vision.adapters.engine.llama_library import open_native_library
from shimmy_vision.adapters.engine.llama_model import ComputeOptions, LlamaWeights, default_threads
from shimmy_vision.adapters.engine.llama_sequence import LlamaSequence, SequenceParts
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceCompiler
from shimmy_vision.adapters.engine.mtmd_encoder import EncoderParts
from shimmy_vision.adapters.engine.openvino_library import open_openvino
from shimmy_vision.adapters.engine.shared_decoding import SharedDecoding
from shimmy_vision.adapters.engine.unused_memory import forget_file_pages, trim_heap
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.ports.image_encoder import ImageEncoder
from shimmy_vision.ports.library_places import PayloadPlaces


class LlamaEngine:
    """The ``Engine`` port."""

    def __init__(
        self,
        library_directory: Path,
        files: EngineFiles,
        options: EngineOptions,
        caches: EngineCaches | None = None,
        places: PayloadPlaces | None = None,
    ) -> None:
        """``caches`` may be those of an engine before; without them nothing is kept."""
        library = open_native_library(library_directory, places)
        library.refuse_unlisted(files.family)
        threads = options.threads or default_threads()
        compute = ComputeOptions(
            threads, options.gpu_layers, options.context_size, options.sequences
        )
        gpus = library.gpus() if options.gpu_layers != 0 else ()
        caches = caches or EngineCaches()
        with _openvino_imported(needed=options.encoder.wish != "mtmd" and not gpus):
            self._weights = LlamaWeights(library, files.main, gpu_layers=options.gpu_layers)
        # Its thread reads the vocabulary while context and encoder open and encode.
        self._grammars = LlguidanceCompiler(self._weights)
        self._context = LlamaContext(self._weights, compute)
        self._turns = ComputeTurns()
        decoding = SharedDecoding(self._context, self._turns, caches.counters)
        self._sequences = SequenceParts(self._context, decoding, self._turns, caches.states)
        self._free = FairPool(self._context.sequences)
        parts = EncoderParts(library, self._weights, self._turns, caches.counters)
        opened = open_encoder(parts, files, compute, options.encoder, encoder_grid(files.family))
        self._encoder = opened.encoder
        # Another encoder's rows of the same slice are not quite the same.
        models = files.main_sha256, f"{files.projector_sha256} {opened.name}"
        self._keeping = KeptEncodings(self._encoder, models, caches)
        self._description = EngineDescription(
            family=files.family,
            synthetic=files.synthetic,
            main_sha256=files.main_sha256,
            projector_sha256=files.projector_sha256,
            build=library.build,
            device=gpus[0].description if gpus else "cpu",
            threads=threads,
            encoder=opened.name,
            encoder_fallback=opened.fallback,
        )
        self._main = files.main.absolute()
        self._give_back()
        this = weakref.ref(self)
        self._turns.when_idle(lambda: _rest(this()))

    @property
    def description(self) -> EngineDescription:
        return self._description

    @property
    def encoder(self) -> ImageEncoder:
        return self._keeping

    @contextmanager
    def sequence(self, cancellation: Cancellation) -> Iterator[LlamaSequence]:
        with self._free.lend(cancellation) as number:
            try:
                yield LlamaSequence(self._sequences, number)
            finally:
                self._sequences.decoding.leave(number)

    @property
    def grammars(self) -> LlguidanceCompiler:
        return self._grammars

    def rest(self) -> bool:
        """Hold no memory that comes again by itself; on the computing thread, when it is idle.

        False under an answer: a caller may take its time over one.
        """
        if self._free.lent:
            return False
        self._context.rest()
        self._encoder.rest()
        self._give_back()
        return True

    def _give_back(self) -> None:
        # Matrices that were packed anew have no more use for the file's pages; others are read
        # from the system's cache again.
        forget_file_pages(self._main)
        trim_heap()

    def close(self) -> None:
        # The thread that computes first, then children before the weights they point into.
        self._turns.close()
        self._grammars.close()
        self._encoder.close()
        self._context.close()
        self._weights.close()


@contextmanager
def _openvino_imported(*, needed: bool) -> Iterator[None]:
    """By the block's end: llama.cpp's loading and Python's importing keep a core each busy."""
    if not needed:
        yield
        return

    def load() -> None:
        # Who opens the encoder meets the error again, and tells of it.
        with suppress(LibraryError):
            open_openvino()

    thread = threading.Thread(target=load, name="import-openvino")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _rest(engine: LlamaEngine | None) -> bool:
    return engine is None or engine.rest()


class LlamaEngineOpener:
    """The ``EngineOpener`` port over one library folder and the caches of all its engines."""

    def __init__(
        self,
        library_directory: Path,
        caches: EngineCaches | None = None,
        places: PayloadPlaces | None = None,
    ) -> None:
        self._library_directory = library_directory
        self._caches = caches
        self._places = places

    def open(self, files: EngineFiles, options: EngineOptions) -> LlamaEngine:
        return LlamaEngine(self._library_directory, files, options, self._caches, self._places)


def encoder_grid(family: ModelFamily) -> EncoderGrid:
    """How each version's projector cuts a tile."""
    match family:
        case "2.6" | "4.0" | "4.5":
            return EncoderGrid(merge=1)
        case "4.6":
            return EncoderGrid(merge=4)
        case _:
            assert_never(family)
