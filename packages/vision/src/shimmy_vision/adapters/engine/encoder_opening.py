"""Opens the encoder that this machine is best served by; libmtmd where the faster one cannot."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Protocol

from shimmy_vision.adapters.engine.compiled_projectors import CompiledProjector, CompiledProjectors
from shimmy_vision.adapters.engine.encoder_trial import measure_machine, read_measured
from shimmy_vision.adapters.engine.int8_verdicts import tell_verdict
from shimmy_vision.adapters.engine.llama_model import ComputeOptions, default_threads
from shimmy_vision.adapters.engine.mtmd_encoder import EncoderParts, MtmdEncoder
from shimmy_vision.adapters.engine.openvino_encoder import OpenVinoEncoder, read_markup
from shimmy_vision.adapters.engine.openvino_graph import build_graph
from shimmy_vision.adapters.engine.openvino_library import OpenVino, first_line, open_openvino
from shimmy_vision.adapters.engine.projector_tensors import ProjectorTensors, known_shape
from shimmy_vision.adapters.engine.slice_encoder import SliceEncoder
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.model.encoder_choice import (
    EncoderChoice,
    EncoderMachine,
    Precision,
    decide_encoder,
    worth_keeping,
)
from shimmy_vision.domain.model.projector_shape import ProjectorShape
from shimmy_vision.errors import LibraryError, ModelError
from shimmy_vision.ports.engine_probe import EncoderOrder, EngineFiles


class ClosableEncoder(SliceEncoder, Protocol):
    """An encoder that holds memory."""

    def close(self) -> object: ...

    def rest(self) -> None:
        """Give back what is only needed while something is encoded; on the computing thread."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedEncoder:
    """``name`` is what ``meta`` says; ``fallback`` why it is libmtmd although OpenVINO was due."""

    encoder: ClosableEncoder
    name: str
    fallback: str = ""


def open_encoder(
    parts: EncoderParts,
    files: EngineFiles,
    compute: ComputeOptions,
    order: EncoderOrder,
    grid: EncoderGrid,
) -> OpenedEncoder:
    """Raises ModelError projector-load-failed where libmtmd refuses the file.

    Raises LibraryError openvino-unusable where OpenVINO was asked for by name and cannot.
    """
    uses_gpu = compute.gpu_layers != 0 and bool(parts.library.gpus())
    size = files.projector.stat().st_size
    openvino, choice = choose_encoder(order, compute.threads, size, uses_gpu=uses_gpu)
    fallback = choice.fallback
    if openvino is not None and choice.precision is not None:
        try:
            return _open_openvino(openvino, parts, files, compute, order, choice.precision)
        except ValueError as refused:
            fallback = str(refused)
    if fallback and order.wish == "openvino":
        raise LibraryError(
            "openvino-unusable",
            f"OpenVINO cannot encode images here: {fallback}",
            hint="Leave the choice to Shimmy Vision: SHIMMY_ENCODER=auto",
        )
    mtmd = MtmdEncoder(parts, files.projector, grid, compute)
    return OpenedEncoder(mtmd, "libmtmd", fallback or order.reason)


def choose_encoder(
    order: EncoderOrder, threads: int, projector_bytes: int, *, uses_gpu: bool
) -> tuple[OpenVino | None, EncoderChoice]:
    """OpenVINO, where it can be loaded, and what is to encode."""
    if order.wish == "mtmd" or (order.wish == "auto" and uses_gpu):
        return None, EncoderChoice(None)
    name = platform.machine()
    try:
        openvino = open_openvino()
    except LibraryError as error:
        machine = EncoderMachine(name, uses_gpu, "", error.message, frozenset())
        return None, decide_encoder(order.wish, order.precision, machine, {})
    measured = read_measured(openvino, order.folder, threads)
    if measured is None and order.precision is None and worth_keeping(projector_bytes):
        measured = measure_machine(openvino, order.folder, threads)
    machine = EncoderMachine(name, uses_gpu, openvino.version, "", openvino.capabilities)
    seconds = {} if measured is None else measured.seconds
    return openvino, decide_encoder(order.wish, order.precision, machine, seconds)


def _open_openvino(
    openvino: OpenVino,
    parts: EncoderParts,
    files: EngineFiles,
    compute: ComputeOptions,
    order: EncoderOrder,
    precision: Precision,
) -> OpenedEncoder:
    """Raises ValueError with the reason why OpenVINO does not encode with this projector."""
    try:
        tensors = ProjectorTensors(files.projector)
        shape = _fitting_shape(tensors, parts.weights.embedding_width)
        large = worth_keeping(files.projector.stat().st_size)
        folder = order.folder if large else None
        projectors = CompiledProjectors(openvino, folder, compute.threads)

        def compiled() -> CompiledProjector:
            opened = projectors.open(
                files.projector_sha256,
                precision,
                lambda: build_graph(openvino, tensors, shape, precision),
            )
            tensors.forget_pages()
            return opened

        markup = read_markup(parts.weights)
        encoder = OpenVinoEncoder(compiled, shape, markup, parts.turns, parts.counters)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"it refused the projector: {first_line(error)}") from error
    except ModelError as error:
        raise ValueError(error.message) from error
    release = openvino.version.split("-", 1)[0]
    return OpenedEncoder(encoder, f"OpenVINO {release}, {precision}")


def _fitting_shape(tensors: ProjectorTensors, width: int) -> ProjectorShape:
    shape = known_shape(tensors)
    if shape.embedding != width:
        raise ValueError(f"its rows are {shape.embedding} wide, the language model {width}")
    return shape


def describe_encoder(order: EncoderOrder) -> tuple[str, bool]:
    """For ``shimmy doctor``: what encodes images on this CPU, and whether that is well."""
    threads = default_threads()
    openvino, choice = choose_encoder(order, threads, projector_bytes=0, uses_gpu=False)
    if openvino is None or choice.precision is None:
        return (
            f"libmtmd: {choice.fallback}" if choice.fallback else "libmtmd"
        ), not choice.fallback
    release = openvino.version.split("-", 1)[0]
    measured = read_measured(openvino, order.folder, threads)
    told = (
        "not measured yet"
        if measured is None
        else ", ".join(
            f"{precision} {seconds * 1000:.0f} ms"
            for precision, seconds in measured.seconds.items()
        )
    )
    found = f"OpenVINO {release}, {choice.precision}, {threads} threads (a layer: {told})"
    verdict = "" if order.folder is None else tell_verdict(order.folder)
    return f"{found}; {verdict}" if verdict and order.precision is None else found, True
