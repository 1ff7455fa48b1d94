"""Is this pair of files a MiniCPM-V, and which one?

Metadata cannot prove a model (a genuine 4.5 file is named "Model"); the digest
does that. What metadata can do is say in words what a wrong file is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shimmy_vision.domain.model.gguf import GgufHeader, GgufTensor, Value
from shimmy_vision.domain.model.model_family import ModelFamily
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
_PATCH_POSITIONS = 70 * 70  # the loader looks positions up in a table of 70 by 70
_QUERIES = 64
_HEAD_WIDTH = 128  # the resampler splits its width into heads of this size
# What a key may say; None: it may be absent, and the loader's own default is the same.
_VISION_VALUES: dict[str, tuple[int | None, ...]] = {
    "clip.vision.image_size": (448,),
    "clip.vision.patch_size": (14,),
}
_RESAMPLER_VALUES = {**_VISION_VALUES, "clip.minicpmv_query_num": (_QUERIES, 0, None)}
_MERGER_VALUES = {**_VISION_VALUES, "clip.vision.projector.scale_factor": (4, None)}
# The tensors without which the loader gives up or the first image crashes.
_RESAMPLER_TENSORS = (
    "resampler.pos_embed_k",
    "resampler.kv.weight",
    *(f"resampler.attn.{p}.{q}" for p in ("q", "k", "v", "out") for q in ("weight", "bias")),
    *(f"resampler.ln_{p}.{q}" for p in ("q", "kv", "post") for q in ("weight", "bias")),
)
_MERGER_TENSORS = (
    *(f"v.vit_merger.{p}.{q}" for p in ("ln1", "ds_ln") for q in ("weight", "bias")),
    *(f"v.vit_merger.attn_{p}.weight" for p in ("q", "k", "v", "out")),
    *(f"v.vit_merger.ds_ffn_{p}.weight" for p in ("up", "down")),
    "mm.input_norm.weight",
    "mm.up.weight",
)
_SYNTHETIC_KEY = "shimmy.synthetic"


@dataclass(frozen=True, slots=True)
class BuiltAs:
    """How GGUF files of one family say what they are; ``projector`` with its version, if any."""

    architecture: str
    projector: str


_PROJECTORS: dict[ModelFamily, str] = {
    **{family: f"resampler-{version}" for version, family in _RESAMPLER_VERSIONS.items()},
    "4.6": "minicpmv4_6",
}
BUILT_AS: Mapping[ModelFamily, BuiltAs] = {
    family: BuiltAs(architecture, _PROJECTORS[family])
    for architecture, (family, _name) in _BASES.items()
}


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What the pair claims to be; ``embedding_width`` is that of the language model."""

    family: ModelFamily
    synthetic: bool
    embedding_width: int


def check_model_identity(main: GgufHeader, projector: GgufHeader) -> ModelIdentity:
    """Raises ModelError: model-is-projector, projector-is-model, model-not-minicpmv,
    projector-not-minicpmv, model-malformed, projector-malformed or model-projector-mismatch.
    """
    _check_roles(main, projector)
    language = _language_family(main)
    vision = _projector_family(projector)
    if language != vision:
        raise _mismatch(
            f"the main file is built like MiniCPM-V {language}'s, the projector belongs to {vision}"
        )
    width, rows = _language_width(main), _projector_width(projector, vision)
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


def _language_width(main: GgufHeader) -> int:
    key = f"{_text(main, 'general.architecture')}.embedding_length"
    width, embeddings = _integer(main, key), main.tensor("token_embd.weight")
    if width is None or width < 1:
        raise ModelError("model-malformed", f"The main file does not say its {key}.", hint=_LIST)
    if embeddings is None:
        raise ModelError(
            "model-malformed",
            "The main file holds no weights: it lacks the tensor token_embd.weight.",
            hint=_LIST,
        )
    return width


def _projector_width(projector: GgufHeader, family: ModelFamily) -> int:
    """Width of the rows the projector makes, from the tensor that makes them."""
    merger = family == "4.6"
    for key, allowed in (_MERGER_VALUES if merger else _RESAMPLER_VALUES).items():
        if _integer(projector, key) not in allowed:
            found = projector.metadata.get(key, "missing")
            raise _malformed(f"{key} is {found}; every MiniCPM-V has {allowed[0]}")
    names = {tensor.name for tensor in projector.tensors}
    for name in _MERGER_TENSORS if merger else _RESAMPLER_TENSORS:
        if name not in names:
            raise _malformed(f"it lacks the tensor {name}")
    positions = _matrix(projector, "v.position_embd.weight")[1]
    if positions < _PATCH_POSITIONS:
        raise _malformed(f"it has {positions} patch positions; MiniCPM-V has {_PATCH_POSITIONS}")
    return _matrix(projector, "mm.down.weight")[1] if merger else _resampler_width(projector)


def _resampler_width(projector: GgufHeader) -> int:
    width, queries = _matrix(projector, "resampler.query")
    if queries != _QUERIES:
        raise _malformed(f"it asks {queries} queries a slice; MiniCPM-V asks {_QUERIES}")
    projection = _matrix(projector, "resampler.proj.weight")
    if projection != (width, width) or width % _HEAD_WIDTH:
        raise _malformed(
            f"queries {width} wide meet a projection of {list(projection)}; both must be one "
            f"multiple of {_HEAD_WIDTH}"
        )
    return width


def _matrix(projector: GgufHeader, name: str) -> tuple[int, int]:
    """Columns and rows of a two-dimensional tensor."""
    match projector.tensor(name):
        case GgufTensor(dimensions=(columns, rows)):
            return columns, rows
        case None:
            raise _malformed(f"it lacks the tensor {name}")
        case GgufTensor(dimensions=dimensions):
            raise _malformed(f"the tensor {name} has the shape {list(dimensions)}")


def _malformed(reason: str) -> ModelError:
    return ModelError(
        "projector-malformed", f"The projector is not what it says it is: {reason}.", hint=_LIST
    )


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


def _integer(header: GgufHeader, key: str) -> int | None:
    value = header.metadata.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return -1
