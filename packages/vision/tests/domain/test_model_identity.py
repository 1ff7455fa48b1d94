"""Which pairs are MiniCPM-V, and what is said of those that are not."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from shimmy_vision.domain.gguf import GgufHeader, GgufTensor, Value
from shimmy_vision.domain.model_identity import check_model_identity
from shimmy_vision.errors import ModelError

SHAPE: dict[str, Value] = {"clip.vision.image_size": 448, "clip.vision.patch_size": 14}


def _header(metadata: dict[str, Value], **tensors: tuple[int, ...]) -> GgufHeader:
    made = tuple(
        GgufTensor(name.replace("__", "."), dims, 1, 0, 1) for name, dims in tensors.items()
    )
    return GgufHeader(3, MappingProxyType(metadata), made, 0)


def _main(architecture: str, width: int = 128, **more: Value) -> GgufHeader:
    return _header(
        {
            "general.architecture": architecture,
            "general.name": "Model",
            f"{architecture}.embedding_length": width,
            **{key.replace("__", "."): value for key, value in more.items()},
        }
    )


def _resampler(version: int, width: int = 128, queries: int = 64, **more: Value) -> GgufHeader:
    return _header(
        {
            "general.architecture": "clip",
            "clip.projector_type": "resampler",
            "clip.minicpmv_version": version,
            **SHAPE,
            **{key.replace("__", "."): value for key, value in more.items()},
        },
        resampler__query=(width, queries),
        resampler__proj__weight=(width, width),
    )


def _merger(width: int = 128, key: str = "clip.projector_type", patch: int = 14) -> GgufHeader:
    return _header(
        {
            "general.architecture": "clip",
            key: "minicpmv4_6",
            **SHAPE,
            "clip.vision.patch_size": patch,
        },
        mm__down__weight=(512, width),
    )


@pytest.mark.parametrize(
    ("main", "projector", "family"),
    [
        (_main("qwen2"), _resampler(3), "2.6"),
        (_main("llama"), _resampler(5), "4.0"),
        (_main("qwen3"), _resampler(6), "4.5"),
        (_main("qwen35"), _merger(), "4.6"),
        (_main("qwen35"), _merger(key="clip.vision.projector_type"), "4.6"),
    ],
)
def test_genuine_pairs_are_recognised(main: GgufHeader, projector: GgufHeader, family: str) -> None:
    identity = check_model_identity(main, projector)
    assert (identity.family, identity.synthetic, identity.embedding_width) == (family, False, 128)


@pytest.mark.parametrize(
    ("main", "projector", "code", "named"),
    [
        (_main("gemma3"), _resampler(3), "model-not-minicpmv", "gemma3"),
        (_main("qwen2vl"), _resampler(3), "model-not-minicpmv", "qwen2vl"),
        (_header({}), _resampler(3), "model-not-minicpmv", "missing"),
        (_resampler(3), _main("qwen2"), "model-is-projector", "projector"),
        (_main("qwen2"), _main("qwen2"), "projector-is-model", "qwen2"),
        (
            _main("qwen2"),
            _header({"general.architecture": "clip", "clip.projector_type": "mlp"}),
            "projector-not-minicpmv",
            "mlp",
        ),
        (_main("qwen2"), _resampler(4), "projector-not-minicpmv", "o 2.6"),
        (_main("qwen2"), _resampler(41), "projector-not-minicpmv", "41"),
        (_main("qwen3"), _resampler(3), "model-projector-mismatch", "4.5"),
        (_main("qwen2"), _merger(), "model-projector-mismatch", "2.6"),
        (_main("qwen2", width=64), _resampler(3), "model-projector-mismatch", "64 wide"),
        (_main("qwen35"), _merger(width=64), "model-projector-mismatch", "64"),
        (_main("qwen2"), _resampler(3, queries=96), "projector-malformed", "96"),
        (
            _main("qwen35"),
            _header(
                {"general.architecture": "clip", "clip.projector_type": "minicpmv4_6", **SHAPE}
            ),
            "projector-malformed",
            "mm.down.weight",
        ),
        (_main("qwen35"), _merger(patch=13), "projector-malformed", "patch_size is 13"),
        (
            _main("qwen35"),
            _header({"general.architecture": "clip", "clip.projector_type": "minicpmv4_6"}),
            "projector-malformed",
            "image_size is None",
        ),
        (
            _main("qwen2", shimmy__synthetic=True),
            _resampler(3),
            "model-projector-mismatch",
            "synthetic",
        ),
    ],
)
def test_everything_else_is_refused_in_words(
    main: GgufHeader, projector: GgufHeader, code: str, named: str
) -> None:
    with pytest.raises(ModelError) as refused:
        check_model_identity(main, projector)
    assert refused.value.code == code
    assert named in refused.value.message
    assert refused.value.hint


def test_synthetic_pairs_are_known() -> None:
    main = _main("qwen2", shimmy__synthetic=True)
    projector = _resampler(3, shimmy__synthetic=True)
    assert check_model_identity(main, projector).synthetic
