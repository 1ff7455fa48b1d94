"""Which pairs are MiniCPM-V, and what is said of those that are not."""

from __future__ import annotations

import re
from types import MappingProxyType

import pytest

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.domain.model.gguf import GgufHeader, GgufTensor, Value, parse_gguf
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.model_identity import ModelIdentity, check_model_identity
from shimmy_vision.errors import ModelError

SHAPE: dict[str, Value] = {"clip.vision.image_size": 448, "clip.vision.patch_size": 14}
POSITIONS = {"v.position_embd.weight": (1152, 4900)}
RESAMPLER = {
    "resampler.pos_embed_k": (128, 4900),
    "resampler.kv.weight": (1152, 128),
    **{f"resampler.attn.{part}.weight": (128, 128) for part in ("q", "k", "v", "out")},
    **{f"resampler.attn.{part}.bias": (128,) for part in ("q", "k", "v", "out")},
    **{f"resampler.ln_{part}.weight": (128,) for part in ("q", "kv", "post")},
    **{f"resampler.ln_{part}.bias": (128,) for part in ("q", "kv", "post")},
}
MERGER = {
    **{f"v.vit_merger.{part}.weight": (1152,) for part in ("ln1", "ds_ln")},
    **{f"v.vit_merger.{part}.bias": (1152,) for part in ("ln1", "ds_ln")},
    **{f"v.vit_merger.attn_{part}.weight": (1152, 1152) for part in ("q", "k", "v", "out")},
    **{f"v.vit_merger.ds_ffn_{part}.weight": (1152, 1152) for part in ("up", "down")},
    "mm.input_norm.weight": (4608,),
    "mm.up.weight": (4608, 512),
}


def _header(
    metadata: dict[str, Value], tensors: dict[str, tuple[int, ...]] | None = None
) -> GgufHeader:
    made = tuple(GgufTensor(name, dims, 1, 0, 1) for name, dims in (tensors or {}).items())
    return GgufHeader(3, MappingProxyType(metadata), made, 0)


def _without(header: GgufHeader, name: str) -> GgufHeader:
    kept = tuple(tensor for tensor in header.tensors if tensor.name != name)
    assert len(kept) == len(header.tensors) - 1
    return GgufHeader(3, header.metadata, kept, 0)


def _saying(header: GgufHeader, key: str, value: Value) -> GgufHeader:
    metadata = MappingProxyType({**header.metadata, key: value})
    return GgufHeader(3, metadata, header.tensors, 0)


def _main(architecture: str, width: int = 128, **more: Value) -> GgufHeader:
    return _header(
        {
            "general.architecture": architecture,
            "general.name": "Model",
            f"{architecture}.embedding_length": width,
            **{key.replace("__", "."): value for key, value in more.items()},
        },
        {"token_embd.weight": (width, 266)},
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
        {
            **POSITIONS,
            **RESAMPLER,
            "resampler.query": (width, queries),
            "resampler.proj.weight": (width, width),
        },
    )


def _merger(width: int = 128, key: str = "clip.projector_type", patch: int = 14) -> GgufHeader:
    return _header(
        {
            "general.architecture": "clip",
            key: "minicpmv4_6",
            **SHAPE,
            "clip.vision.patch_size": patch,
        },
        {**POSITIONS, **MERGER, "mm.down.weight": (512, width)},
    )


@pytest.mark.parametrize(
    ("main", "projector", "family"),
    [
        (_main("qwen2"), _resampler(3), "2.6"),
        (_main("llama"), _resampler(5), "4.0"),
        (_main("qwen3"), _resampler(6), "4.5"),
        (_main("qwen35"), _merger(), "4.6"),
        (_main("qwen35"), _merger(key="clip.vision.projector_type"), "4.6"),
        # Converters write the number of queries as 0, as 64 or not at all.
        (_main("qwen2"), _resampler(3, clip__minicpmv_query_num=0), "2.6"),
        (_main("qwen3"), _resampler(6, clip__minicpmv_query_num=64), "4.5"),
        (_main("qwen35"), _saying(_merger(), "clip.vision.projector.scale_factor", 4), "4.6"),
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
        (_main("qwen2", width=64), _resampler(3, width=64), "projector-malformed", "128"),
        (
            _main("qwen2"),
            _resampler(3, clip__minicpmv_query_num=96),
            "projector-malformed",
            "clip.minicpmv_query_num is 96",
        ),
        (
            _main("qwen35"),
            _saying(_merger(), "clip.vision.projector.scale_factor", 2),
            "projector-malformed",
            "scale_factor is 2",
        ),
        (_without(_main("qwen2"), "token_embd.weight"), _resampler(3), "model-malformed", "token"),
        (_main("qwen2", width=-1), _resampler(3), "model-malformed", "qwen2.embedding_length"),
        (_main("qwen35"), _merger(patch=13), "projector-malformed", "patch_size is 13"),
        (
            _main("qwen35"),
            _header({"general.architecture": "clip", "clip.projector_type": "minicpmv4_6"}),
            "projector-malformed",
            "image_size is missing",
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


@pytest.mark.parametrize("name", [*POSITIONS, *RESAMPLER, "resampler.proj.weight"])
def test_every_tensor_of_the_resampler_is_asked_for(name: str) -> None:
    with pytest.raises(ModelError, match=re.escape(name)) as refused:
        check_model_identity(_main("qwen2"), _without(_resampler(3), name))
    assert refused.value.code == "projector-malformed"


@pytest.mark.parametrize("name", [*POSITIONS, *MERGER, "mm.down.weight"])
def test_every_tensor_of_the_merger_is_asked_for(name: str) -> None:
    with pytest.raises(ModelError, match=re.escape(name)) as refused:
        check_model_identity(_main("qwen35"), _without(_merger(), name))
    assert refused.value.code == "projector-malformed"


@pytest.mark.parametrize(
    ("name", "dimensions"),
    [
        ("v.position_embd.weight", (1152, 1024)),
        ("resampler.query", (128,)),
        ("resampler.proj.weight", (128, 256)),
    ],
)
def test_tensors_of_another_shape_are_refused(name: str, dimensions: tuple[int, ...]) -> None:
    whole = _resampler(3)
    shapes = {tensor.name: tensor.dimensions for tensor in whole.tensors} | {name: dimensions}
    with pytest.raises(ModelError, match=str(dimensions[-1])) as refused:
        check_model_identity(_main("qwen2"), _header(dict(whole.metadata), shapes))
    assert refused.value.code == "projector-malformed"


def test_written_pairs_are_recognised(
    synthetic_26: SyntheticPair, synthetic_46: SyntheticPair
) -> None:
    pairs: list[tuple[SyntheticPair, ModelFamily, int]] = [
        (synthetic_26, "2.6", 128),
        (synthetic_46, "4.6", 64),
    ]
    for pair, family, width in pairs:
        main, projector = (parse_gguf(p.read_bytes()) for p in (pair.main, pair.projector))
        assert check_model_identity(main, projector) == ModelIdentity(family, True, width)
        with pytest.raises(ModelError) as swapped:
            check_model_identity(projector, main)
        assert swapped.value.code == "model-is-projector"


def test_synthetic_pairs_are_known() -> None:
    main = _main("qwen2", shimmy__synthetic=True)
    projector = _resampler(3, shimmy__synthetic=True)
    assert check_model_identity(main, projector).synthetic
