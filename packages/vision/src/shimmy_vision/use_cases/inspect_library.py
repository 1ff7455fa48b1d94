"""What the native library says of itself and its GPUs, for ``shimmy doctor``."""

from __future__ import annotations

from shimmy_vision.domain.diagnosis import Finding, judge_encoder, judge_library
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EngineProbe


def inspect_library(
    probe: EngineProbe, *, addable: bool = True
) -> tuple[tuple[Finding, ...], int | None]:
    """The findings, and the memory in bytes of the largest GPU. What is wrong is no error here.

    ``addable`` as in ``judge_encoder``.
    """
    try:
        report = probe.describe_library(Cancellation())
    except LibraryError as error:
        return judge_library("", "", str(error), error.hint), None
    gpus = tuple(
        Finding("GPU", "ok", f"{gpu.description}, {gpu.total_memory / 1e9:.0f} GB")
        for gpu in report.gpus
    )
    library = judge_library(report.build, report.system_info, "", "")
    if report.encoder:
        library = (
            *library,
            judge_encoder(report.encoder, usable=report.encoder_usable, addable=addable),
        )
    return (*library, *gpus), max((gpu.total_memory for gpu in report.gpus), default=None)
