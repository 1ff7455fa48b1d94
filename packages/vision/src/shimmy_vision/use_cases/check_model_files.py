"""Is this pair what it must be? Structure, then identity, then digest; nothing is mapped before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shimmy_vision.domain.model.gguf import GgufHeader
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_identity import ModelIdentity, check_model_identity
from shimmy_vision.domain.model.model_manifest import MANIFEST, ModelFile, ModelPin, find_pin
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EngineFiles
from shimmy_vision.ports.model_files import ByteProgress, ModelFiles


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Two files that claim to be a model; ``pin`` is what they must be, if that is known."""

    main: Path
    projector: Path
    pin: ModelPin | None


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """``rehash`` reads every byte even if the files have not changed since last time."""

    allow_synthetic: bool = False
    rehash: bool = False


@dataclass(frozen=True, slots=True)
class CheckedPair:
    """A pair that may be loaded."""

    main: Path
    projector: Path
    identity: ModelIdentity
    main_sha256: str
    projector_sha256: str

    @property
    def engine_files(self) -> EngineFiles:
        """What an engine is opened from."""
        identity = self.identity
        return EngineFiles(
            self.main,
            self.projector,
            identity.family,
            identity.synthetic,
            self.main_sha256,
            self.projector_sha256,
        )


def check_model_files(
    pair: ModelPair,
    files: ModelFiles,
    options: CheckOptions,
    progress: ByteProgress,
    cancellation: Cancellation,
) -> CheckedPair:
    """Raises ModelError naming the first thing that is wrong and what to do about it."""
    main, projector = files.header(pair.main), files.header(pair.projector)
    identity = _identity(main, projector, pair.pin)
    if identity.synthetic and not options.allow_synthetic:
        raise ModelError(
            "model-synthetic-not-allowed",
            f"{pair.main.name} is a synthetic model with random weights.",
            hint="For tests only: set SHIMMY_ALLOW_SYNTHETIC=1.",
        )
    digests = [
        files.sha256(path, rehash=options.rehash, progress=progress, cancellation=cancellation)
        for path in (pair.main, pair.projector)
    ]
    checked = CheckedPair(pair.main, pair.projector, identity, digests[0], digests[1])
    if not identity.synthetic:
        _check_digests(pair, checked)
    return checked


def _identity(main: GgufHeader, projector: GgufHeader, pin: ModelPin | None) -> ModelIdentity:
    identity = check_model_identity(main, projector)
    if pin is not None and identity.family != pin.family:
        raise ModelError(
            "model-wrong-version",
            f"The files are built like MiniCPM-V {identity.family}, not {pin.family}.",
            hint=f"Install it again: shimmy models pull {pin.family} --force",
        )
    return identity


def _check_digests(pair: ModelPair, checked: CheckedPair) -> None:
    pin = pair.pin
    if pin is None:
        if find_pin(checked.main_sha256, checked.projector_sha256) is None:
            raise _unknown(checked.identity.family, checked)
        return
    for path, file, found in (
        (pair.main, pin.main, checked.main_sha256),
        (pair.projector, pin.projector, checked.projector_sha256),
    ):
        if found != file.sha256:
            raise _different(path, file, found, pin.family)


def _unknown(family: ModelFamily, checked: CheckedPair) -> ModelError:
    pin = MANIFEST[family]
    if checked.main_sha256 != pin.main.sha256:
        return _different(checked.main, pin.main, checked.main_sha256, family)
    return _different(checked.projector, pin.projector, checked.projector_sha256, family)


def _different(path: Path, file: ModelFile, found: str, family: ModelFamily) -> ModelError:
    return ModelError(
        "model-digest-mismatch",
        f"{path.name} is not the published MiniCPM-V {family} file: its SHA-256 is "
        f"{found[:12]}…, it must be {file.sha256[:12]}….",
        hint=f"Install the published file: shimmy models pull {family} --force",
    )
