"""The tensors of a full-shape pair, written one after another so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray

from model_vocabulary import CONTROL_TOKENS, make_vocabulary

Shape: TypeAlias = tuple[int, ...]
"""In numpy's order: rows, columns."""

VISION_LAYERS, VISION_WIDTH, VISION_HEADS, VISION_FEED = 27, 1152, 16, 4304
_SIDE, _PATCH, _QUERIES = 70, 14, 64
_MERGER_LAYER = 6  # the window merger comes after this layer

# Spread of x*q - m*y over random 6-bit x and y, 4-bit q (Q4_K); of x*(q-32) with 8-bit x (Q6_K).
_Q4_SPREAD, _Q6_SPREAD = 257.0, 1370.0
_Q4_BLOCK, _Q6_BLOCK, _BLOCK = 144, 210, 256


@dataclass(frozen=True, slots=True)
class PairShape:
    """A language model's shape; the vision tower is SigLIP-400M in all."""

    name: str
    architecture: str
    layers: int
    width: int
    feed: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int

    def with_layers(self, layers: int) -> PairShape:
        """The same with fewer layers."""
        return replace(self, layers=layers)


@dataclass(frozen=True, slots=True)
class _Planned:
    name: str
    shape: Shape
    kind: gguf.GGMLQuantizationType
    spread: float
    centre: float = 0.0


_F32, _F16 = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16
_Q4, _Q6 = gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q6_K


class _Plan:
    """Tensors to write: names, shapes and types first, bytes later."""

    def __init__(self) -> None:
        self.tensors: list[_Planned] = []

    def matrix(self, name: str, kind: gguf.GGMLQuantizationType, rows: int, columns: int) -> None:
        """Random, scaled so that its products keep the scale of what comes in."""
        self.tensors.append(_Planned(name, (rows, columns), kind, columns**-0.5))

    def random(
        self, name: str, shape: Shape, spread: float, kind: gguf.GGMLQuantizationType = _F32
    ) -> None:
        self.tensors.append(_Planned(name, shape, kind, spread))

    def constant(self, name: str, width: int, value: float) -> None:
        self.tensors.append(_Planned(name, (width,), _F32, 0.0, value))

    def linear(self, stem: str, rows: int, columns: int) -> None:
        """An f16 projector's matrix with its bias."""
        self.matrix(f"{stem}.weight", _F16, rows, columns)
        self.random(f"{stem}.bias", (rows,), 0.02)

    def norm(self, stem: str, width: int) -> None:
        self.tensors.append(_Planned(f"{stem}.weight", (width,), _F32, 0.1, 1.0))
        self.random(f"{stem}.bias", (width,), 0.02)


def write_main(path: Path, shape: PairShape, seed: int) -> None:
    """The language model's file."""
    with _file(path, shape.architecture, f"Synthetic full-shape {shape.name}") as writer:
        _describe_text(writer, shape)
        plan = _Plan()
        plan.tensors.append(
            _Planned("token_embd.weight", (shape.vocabulary, shape.width), _Q6, 0.02)
        )
        plan.constant("output_norm.weight", shape.width, 1.0)
        if shape.architecture in ("qwen2", "qwen3"):
            plan.matrix("output.weight", _Q6, shape.vocabulary, shape.width)
        for layer in range(shape.layers):
            _text_layer(plan, shape, layer)
        _write(writer, plan, seed)


def write_projector(path: Path, shape: PairShape, seed: int) -> None:
    """The projector's file: SigLIP-400M in f16 and what leads to the language model."""
    merger = shape.architecture == "qwen35"
    with _file(path, "clip", f"Synthetic full-shape {shape.name} projector") as writer:
        _describe_vision(writer, shape, merger=merger)
        plan = _Plan()
        _tower(plan)
        (_merger if merger else _resampler)(plan, shape.width)
        _write(writer, plan, seed + 1)


@contextmanager
def _file(path: Path, architecture: str, name: str) -> Iterator[gguf.GGUFWriter]:
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name(name)
    writer.add_description("Random weights for benchmarks. Not MiniCPM-V, not for production.")
    writer.add_bool("shimmy.synthetic", True)
    yield writer
    writer.close()


def _describe_text(writer: gguf.GGUFWriter, shape: PairShape) -> None:
    writer.add_block_count(shape.layers)
    writer.add_context_length(32_768)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1_000_000.0)
    if shape.architecture in ("qwen3", "qwen35"):
        writer.add_key_length(shape.head)
        writer.add_value_length(shape.head)
    if shape.architecture == "qwen35":
        writer.add_rope_dimension_count(64)
        writer.add_rope_dimension_sections([11, 11, 10, 0])
        writer.add_full_attention_interval(4)
        writer.add_ssm_conv_kernel(4)
        writer.add_ssm_state_size(128)
        writer.add_ssm_group_count(16)
        writer.add_ssm_time_step_rank(16)
        writer.add_ssm_inner_size(2048)
    tokens, merges = make_vocabulary(shape.vocabulary)
    first_control = len(tokens) - len(CONTROL_TOKENS)
    types = [gguf.TokenType.NORMAL] * first_control + [gguf.TokenType.CONTROL] * len(CONTROL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    # Qwen3 cuts text as Qwen2 does, and says so.
    is_third = shape.architecture == "qwen3"
    writer.add_tokenizer_pre("qwen2" if is_third else shape.architecture)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    end = first_control + CONTROL_TOKENS.index("<|endoftext|>")
    writer.add_eos_token_id(first_control + CONTROL_TOKENS.index("<|im_end|>"))
    writer.add_pad_token_id(end)
    writer.add_bos_token_id(end)
    writer.add_add_bos_token(False)


def _text_layer(plan: _Plan, shape: PairShape, layer: int) -> None:
    block, width = f"blk.{layer}", shape.width
    hybrid = shape.architecture == "qwen35"
    plan.constant(f"{block}.attn_norm.weight", width, 1.0)
    second = "post_attention_norm" if hybrid else "ffn_norm"
    plan.constant(f"{block}.{second}.weight", width, 1.0)
    if hybrid and layer % 4 != 3:
        _delta_net(plan, block, width)
    else:
        _attention(plan, block, shape)
    plan.matrix(f"{block}.ffn_gate.weight", _Q4, shape.feed, width)
    plan.matrix(f"{block}.ffn_up.weight", _Q4, shape.feed, width)
    plan.matrix(f"{block}.ffn_down.weight", _Q4, width, shape.feed)


def _attention(plan: _Plan, block: str, shape: PairShape) -> None:
    hybrid = shape.architecture == "qwen35"
    inner, kv = shape.head * shape.heads, shape.head * shape.kv_heads
    queries = inner * 2 if hybrid else inner  # Qwen3.5 gates what its heads give
    for part, rows in (("q", queries), ("k", kv), ("v", kv)):
        plan.matrix(f"{block}.attn_{part}.weight", _Q4, rows, shape.width)
        if shape.architecture == "qwen2":
            plan.random(f"{block}.attn_{part}.bias", (rows,), 0.02)
    plan.matrix(f"{block}.attn_output.weight", _Q4, shape.width, inner)
    if shape.architecture != "qwen2":
        plan.constant(f"{block}.attn_q_norm.weight", shape.head, 1.0)
        plan.constant(f"{block}.attn_k_norm.weight", shape.head, 1.0)


def _delta_net(plan: _Plan, block: str, width: int) -> None:
    inner, state, ranks, kernel = 2048, 128, 16, 4
    mixed = 3 * inner
    plan.matrix(f"{block}.attn_qkv.weight", _Q4, mixed, width)
    plan.matrix(f"{block}.attn_gate.weight", _Q4, inner, width)
    plan.random(f"{block}.ssm_conv1d.weight", (mixed, kernel), 0.5)
    plan.constant(f"{block}.ssm_dt.bias", ranks, 0.0)
    plan.constant(f"{block}.ssm_a", ranks, -0.5)
    plan.matrix(f"{block}.ssm_beta.weight", _F32, ranks, width)
    plan.matrix(f"{block}.ssm_alpha.weight", _F32, ranks, width)
    plan.constant(f"{block}.ssm_norm.weight", state, 1.0)
    plan.matrix(f"{block}.ssm_out.weight", _Q4, width, inner)


def _describe_vision(writer: gguf.GGUFWriter, shape: PairShape, *, merger: bool) -> None:
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "minicpmv4_6" if merger else "resampler")
    if merger:
        writer.add_uint32("clip.vision.projector.scale_factor", 4)
        writer.add_array("clip.vision.wa_layer_indexes", [_MERGER_LAYER])
    else:
        writer.add_bool("clip.has_minicpmv_projector", True)
        writer.add_int32("clip.minicpmv_version", 6 if shape.architecture == "qwen3" else 3)
        writer.add_uint32("clip.minicpmv_query_num", _QUERIES)
    for key, value in {
        "image_size": 448, "patch_size": _PATCH, "embedding_length": VISION_WIDTH,
        "feed_forward_length": VISION_FEED, "block_count": VISION_LAYERS,
        "projection_dim": shape.width if merger else 0, "attention.head_count": VISION_HEADS,
    }.items():  # fmt: skip
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    writer.add_bool("clip.use_gelu", True)


def _tower(plan: _Plan) -> None:
    width = VISION_WIDTH
    plan.random("v.patch_embd.weight", (width, 3, _PATCH, _PATCH), 0.05, _F16)
    plan.random("v.patch_embd.bias", (width,), 0.02)
    plan.random("v.position_embd.weight", (_SIDE * _SIDE, width), 0.1)
    for layer in range(VISION_LAYERS):
        block = f"v.blk.{layer}"
        plan.norm(f"{block}.ln1", width)
        plan.norm(f"{block}.ln2", width)
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            plan.linear(f"{block}.{part}", width, width)
        plan.linear(f"{block}.ffn_up", VISION_FEED, width)
        plan.linear(f"{block}.ffn_down", width, VISION_FEED)
    plan.norm("v.post_ln", width)


def _merger(plan: _Plan, projection: int) -> None:
    width, four = VISION_WIDTH, 4 * VISION_WIDTH
    plan.norm("v.vit_merger.ln1", width)
    for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
        plan.linear(f"v.vit_merger.{part}", width, width)
    plan.norm("v.vit_merger.ds_ln", four)
    plan.linear("v.vit_merger.ds_ffn_up", 4 * VISION_FEED, four)
    plan.linear("v.vit_merger.ds_ffn_down", width, 4 * VISION_FEED)
    plan.norm("mm.input_norm", four)
    plan.linear("mm.up", four, four)
    plan.linear("mm.down", projection, four)


def _resampler(plan: _Plan, projection: int) -> None:
    plan.random("resampler.pos_embed_k", (_SIDE * _SIDE, projection), 0.1, _F16)
    plan.random("resampler.query", (_QUERIES, projection), 1.0)
    plan.matrix("resampler.proj.weight", _F16, projection, projection)
    plan.matrix("resampler.kv.weight", _F16, projection, VISION_WIDTH)
    for part in ("q", "k", "v", "out"):
        plan.linear(f"resampler.attn.{part}", projection, projection)
    for part in ("q", "kv", "post"):
        plan.norm(f"resampler.ln_{part}", projection)


def _write(writer: gguf.GGUFWriter, plan: _Plan, seed: int) -> None:
    for one in plan.tensors:
        stored = _stored_shape(one)
        size = int(np.prod(stored)) * (4 if one.kind == _F32 else 2 if one.kind == _F16 else 1)
        dtype = np.dtype({_F32: np.float32, _F16: np.float16}.get(one.kind, np.uint8))
        raw = None if one.kind in (_F32, _F16) else one.kind
        writer.add_tensor_info(one.name, stored, dtype, size, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.Generator(np.random.SFC64(seed))
    for one in plan.tensors:
        writer.write_tensor_data(_values(one, rng))


def _stored_shape(one: _Planned) -> Shape:
    block = {_Q4: _Q4_BLOCK, _Q6: _Q6_BLOCK}.get(one.kind)
    if block is None:
        return one.shape
    return (*one.shape[:-1], one.shape[-1] // _BLOCK * block)


def _values(one: _Planned, rng: np.random.Generator) -> NDArray[np.generic]:
    if one.kind in (_F32, _F16):
        values = rng.standard_normal(one.shape, dtype=np.float32)
        values *= one.spread
        values += one.centre
        return values.astype(np.float16) if one.kind == _F16 else values
    return _q4_blocks(one, rng) if one.kind == _Q4 else _q6_blocks(one, rng)


def _q4_blocks(one: _Planned, rng: np.random.Generator) -> NDArray[np.generic]:
    """Random quants, scales and minima whose mean is nothing and whose spread is the wanted one."""
    stored = _stored_shape(one)
    data = np.frombuffer(bytearray(rng.bytes(int(np.prod(stored)))), dtype=np.uint8)
    blocks = data.reshape(-1, _Q4_BLOCK)
    scale = np.float16(one.spread / _Q4_SPREAD)
    blocks[:, 0:2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    blocks[:, 2:4] = np.frombuffer(np.float16(scale * 7.5).tobytes(), dtype=np.uint8)
    return data.reshape(stored)


def _q6_blocks(one: _Planned, rng: np.random.Generator) -> NDArray[np.generic]:
    stored = _stored_shape(one)
    data = np.frombuffer(bytearray(rng.bytes(int(np.prod(stored)))), dtype=np.uint8)
    blocks = data.reshape(-1, _Q6_BLOCK)
    scale = np.float16(one.spread / _Q6_SPREAD)
    blocks[:, 208:210] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    return data.reshape(stored)
