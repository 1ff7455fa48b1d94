"""Is this pair of files a MiniCPM-V, and which one?

Metadata cannot prove a model (a genuine 4.5 file is named "Model"); the digest
does that. What metadata can do is say in words what a wrong file is.
"""

from __future__ import annotations

from dataclasses import dataclass

from shimmy_vision.domain.gguf import GgufHeader, GgufTensor, Value
from shimmy_vision.domain.model_family import ModelFamily
from shimmy_vision.errors import ModelError

_BASES: dict[str, tuple[ModelFamily, str]] = {
    "qwen2": ("2.6", "Qwen2"),
    "llama": ("4.0", "Llama"),
    "qwen3": ("4.5", "Qwen3"),
    "qwen35": ("4.6", "Qwen3.5"),
}
_RESAMPLER_VERSIONS: dict[int, ModelFamily] = {3: "2.6", 5: "4.0", 6: "4.5"}
_OTHER_RESAMPLERS = {1: "2.0", 2: "2.5", 4: "o 2.6", 100045: "o 4.5"}
_LIST = "Install a supported model: shimmy models list"
_VISION_SHAPE = {"clip.vision.image_size": 448, "clip.vision.patch_size": 14}
_SYNTHETIC_KEY = "shimmy.synthetic"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What the pair claims to be; ``embedding_width`` is that of the language model."""

    family: ModelFamily
    synthetic: bool
    embedding_width: int


def check_model_identity(main: GgufHeader, projector: GgufHeader) -> ModelIdentity:
    """Raises ModelError: model-is-projector, projector-is-model, model-not-minicpmv,
    projector-not-minicpmv, projector-malformed or model-projector-mismatch.
    """
    _check_roles(main, projector)
    language = _language_family(main)
    vision = _projector_family(projector)
    if language != vision:
        raise _mismatch(
            f"the main file is built like MiniCPM-V {language}'s, the projector belongs to {vision}"
        )
    width = _integer(main, f"{_text(main, 'general.architecture')}.embedding_length")
    rows = _projector_width(projector, vision)
    if width != rows:
        raise _mismatch(f"the main file is {width} wide, the projector's rows are {rows}")
    marks = {_is_synthetic(main), _is_synthetic(projector)}
    if len(marks) == 2:
        raise _mismatch("one of them is synthetic and the other is not")
    return ModelIdentity(language, marks.pop(), width)


def _check_roles(main: GgufHeader, projector: GgufHeader) -> None:
    if _text(main, "general.architecture") == "clip":
        raise ModelError(
            "model-is-projector",
            "The main model file is an image projector.",
            hint="Swap the two files, or name a folder that holds both.",
        )
    if _text(projector, "general.architecture") != "clip":
        found = _text(projector, "general.architecture") or "no architecture"
        raise ModelError(
            "projector-is-model",
            f"The projector file is no image projector: it says {found}.",
            hint="The projector is the file with mmproj in its name.",
        )


def _language_family(main: GgufHeader) -> ModelFamily:
    architecture = _text(main, "general.architecture")
    if architecture not in _BASES:
        raise ModelError(
            "model-not-minicpmv",
            f"This is not MiniCPM-V: the main file's architecture is {architecture or 'missing'}; "
            f"MiniCPM-V is built on {', '.join(sorted(_BASES))}.",
            hint=_LIST,
        )
    return _BASES[architecture][0]


def _projector_family(projector: GgufHeader) -> ModelFamily:
    kind = _text(projector, "clip.projector_type") or _text(projector, "clip.vision.projector_type")
    version = projector.metadata.get("clip.minicpmv_version")
    if kind == "minicpmv4_6":
        return "4.6"
    if kind != "resampler":
        raise ModelError(
            "projector-not-minicpmv",
            f"This is not MiniCPM-V's projector: its type is {kind or 'missing'}; "
            "MiniCPM-V's are resampler and minicpmv4_6.",
            hint=_LIST,
        )
    if not isinstance(version, int) or version not in _RESAMPLER_VERSIONS:
        known = _OTHER_RESAMPLERS.get(version) if isinstance(version, int) else None
        named = f"MiniCPM-{known}" if known else f"version {version!r}"
        raise ModelError(
            "projector-not-minicpmv",
            f"The projector belongs to an unsupported MiniCPM model: {named}.",
            hint=_LIST,
        )
    return _RESAMPLER_VERSIONS[version]


def _projector_width(projector: GgufHeader, family: ModelFamily) -> int:
    """Width of the rows the projector makes, from the tensor that makes them."""
    for key, expected in _VISION_SHAPE.items():
        if _integer(projector, key) != expected:
            raise ModelError(
                "projector-malformed",
                f"The projector's {key} is {projector.metadata.get(key)!r}; every MiniCPM-V has "
                f"{expected}.",
                hint=_LIST,
            )
    if family == "4.6":
        return _tensor(projector, "mm.down.weight").dimensions[-1]
    query = _tensor(projector, "resampler.query")
    if len(query.dimensions) != 2 or query.dimensions[1] != 64:
        raise ModelError(
            "projector-malformed",
            f"The projector's queries have the shape {list(query.dimensions)}; "
            "MiniCPM-V asks 64 a slice.",
            hint=_LIST,
        )
    return _tensor(projector, "resampler.proj.weight").dimensions[0]


def _tensor(header: GgufHeader, name: str) -> GgufTensor:
    tensor = header.tensor(name)
    if tensor is None:
        raise ModelError(
            "projector-malformed", f"The projector lacks the tensor {name}.", hint=_LIST
        )
    return tensor


def _mismatch(reason: str) -> ModelError:
    return ModelError(
        "model-projector-mismatch",
        f"The two files do not belong together: {reason}.",
        hint="Keep one model's pair in a folder of its own, as shimmy models pull does.",
    )


def _is_synthetic(header: GgufHeader) -> bool:
    return header.metadata.get(_SYNTHETIC_KEY) is True


def _text(header: GgufHeader, key: str) -> str:
    value: Value | None = header.metadata.get(key)
    return value if isinstance(value, str) else ""


def _integer(header: GgufHeader, key: str) -> int:
    value = header.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
