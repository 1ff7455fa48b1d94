"""What ``shimmy doctor`` says of what was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from shimmy_vision.domain.model.model_family import ModelFamily

Level: TypeAlias = Literal["ok", "note", "problem"]

_GIGABYTE = 1_000_000_000
# Weights are mapped, so they count as page cache; this is what a run needs besides.
_WORKING_MEMORY = 1 * _GIGABYTE


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``found`` states a fact, ``remedy`` a command or step."""

    subject: str
    level: Level
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Memory in bytes; ``cpu`` is the processor's name."""

    python: str
    platform: str
    cpu: str
    physical_cores: int
    total_memory: int
    available_memory: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One installed or chosen model; ``problem`` is empty when it can be used."""

    family: ModelFamily
    place: str
    bytes_on_disk: int
    problem: str
    remedy: str


def judge_library(build: str, system_info: str, error: str, remedy: str) -> tuple[Finding, ...]:
    """The native library's findings, from its report or from the error it gave."""
    if error:
        return (Finding("native library", "problem", error, remedy),)
    features = cpu_features(system_info)
    return (
        Finding("native library", "ok", build),
        Finding("CPU features", "ok", " ".join(features) or "baseline only"),
    )


def judge_encoder(found: str, *, usable: bool, addable: bool) -> Finding:
    """What encodes images on the CPU; libmtmd instead of OpenVINO works, and takes longer.

    ``addable`` where a package can be added to this installation: not to a single file.
    """
    remedy = "" if usable else "Install OpenVINO: pip install openvino"
    if not usable and not addable:
        remedy = "Nothing needs to be done: images are encoded, more slowly."
    return Finding("image encoder", "ok" if usable else "note", found, remedy)


def judge_machine(facts: MachineFacts) -> tuple[Finding, ...]:
    """Python, processor and memory."""
    free = facts.available_memory
    memory = f"{facts.total_memory / _GIGABYTE:.1f} GB, {free / _GIGABYTE:.1f} GB free"
    enough = free >= 2 * _WORKING_MEMORY
    return (
        Finding("Python", "ok", f"{facts.python} on {facts.platform}"),
        Finding("processor", "ok", f"{facts.cpu}, {facts.physical_cores} cores"),
        Finding(
            "memory",
            "ok" if enough else "note",
            memory,
            "" if enough else "Close other programs: at least 2 GB should be free.",
        ),
    )


def judge_licence(plan: str, refusal: str, remedy: str, *, given: bool, sandbox: bool) -> Finding:
    """The licence: ``plan`` when it gives access, else why it does not.

    A key that is ``given`` with every run and has not been used yet is no problem.
    """
    mark = " (SANDBOX build: simulated licences only)" if sandbox else ""
    if plan:
        return Finding("licence", "ok", f"{plan}{mark}")
    level: Level = "note" if given else "problem"
    return Finding("licence", level, f"{refusal}{mark}", remedy)


def judge_models(
    models: Sequence[ModelFacts], recommended: ModelFamily, directory: str
) -> tuple[Finding, ...]:
    """Which models are there and usable, and what to install if none is."""
    findings = [
        Finding(
            f"model {model.family}",
            "problem" if model.problem else "ok",
            model.problem or f"{model.bytes_on_disk / _GIGABYTE:.2f} GB in {model.place}",
            model.remedy,
        )
        for model in models
    ]
    if not findings:
        findings.append(
            Finding(
                "model",
                "problem",
                f"None is installed in {directory}.",
                f"shimmy models pull {recommended}",
            )
        )
    return tuple(findings)


def cpu_features(system_info: str) -> tuple[str, ...]:
    """Names switched on in llama.cpp's system info, e.g. ``AVX2``."""
    return tuple(re.findall(r"([A-Z][A-Z0-9_]+) = 1", system_info))
