"""MiniCPM-V pairs with random weights: real architectures and tensor names, a few megabytes.

They load and run through llama.cpp and libmtmd exactly as genuine files do, and
what they write is noise. Both files carry ``shimmy.synthetic`` so that nobody
takes them for the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray

Layout: TypeAlias = Literal["2.6", "4.6"]

CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "</image>",
    "<slice>", "</slice>", "<think>", "</think>",
)  # fmt: skip

_BUCKETS = 70 * 70  # learned positions of the vision tower, as in every MiniCPM-V
_VISION_WIDTH, _VISION_HEADS, _VISION_FEED = 64, 2, 128


@dataclass(frozen=True, slots=True)
class SyntheticPair:
    """The two files of one synthetic model."""

    main: Path
    projector: Path


@dataclass(frozen=True, slots=True)
class Encoder:
    """How much work one slice is. The default is quick; real ones have 448 pixels a side.

    40 layers on slices of 896 pixels take half a second and more, 120 in the 4.6 layout, whose
    merger makes three quarters of them cheap.
    """

    layers: int = 2
    slice_size: int = 448


def write_synthetic_pair(
    directory: Path, layout: Layout, *, seed: int = 0, encoder: Encoder = Encoder()
) -> SyntheticPair:
    """Write ``synthetic-V.gguf`` and ``mmproj-synthetic-V.gguf``; the same bytes for one seed."""
    directory.mkdir(parents=True, exist_ok=True)
    pair = SyntheticPair(
        directory / f"synthetic-{layout}.gguf", directory / f"mmproj-synthetic-{layout}.gguf"
    )
    if layout == "2.6":
        _write_qwen2(pair.main, layout, seed, width=128)
        _write_resampler(pair.projector, layout, seed + 1, width=128, encoder=encoder)
    else:
        _write_qwen35(pair.main, layout, seed, width=64)
        _write_merger(pair.projector, layout, seed + 1, width=64, encoder=encoder)
    return pair


class _Tensors:
    """Adds named tensors; random ones are scaled so that activations stay finite."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        self._writer = writer
        self._rng = np.random.default_rng(seed)

    def random(self, name: str, *shape: int, scale: float = 0.1) -> None:
        """Shape is in numpy order: the last dimension is GGUF's first."""
        self._add(name, self._rng.standard_normal(shape) * scale)

    def constant(self, name: str, width: int, value: float) -> None:
        self._add(name, np.full(width, value))

    def ones(self, name: str, width: int) -> None:
        self.constant(name, width, 1.0)

    def zeros(self, name: str, width: int) -> None:
        self.constant(name, width, 0.0)

    def norm(self, stem: str, width: int) -> None:
        self.ones(f"{stem}.weight", width)
        self.zeros(f"{stem}.bias", width)

    def linear(self, stem: str, rows: int, columns: int) -> None:
        self.random(f"{stem}.weight", rows, columns)
        self.zeros(f"{stem}.bias", rows)

    def _add(self, name: str, values: NDArray[np.float64]) -> None:
        self._writer.add_tensor(name, values.astype(np.float32))


@contextmanager
def _file(path: Path, architecture: str, name: str) -> Iterator[gguf.GGUFWriter]:
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name(name)
    writer.add_description("Random weights for tests. Not MiniCPM-V, not for production.")
    writer.add_bool("shimmy.synthetic", True)
    yield writer
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_qwen2(path: Path, layout: str, seed: int, *, width: int) -> None:
    layers, heads, kv_heads, feed = 2, 4, 2, 256
    with _file(path, "qwen2", f"Synthetic MiniCPM-V {layout}") as writer:
        _text_shape(writer, layers, width, feed, heads, kv_heads)
        vocabulary = _vocabulary(writer, "qwen2")
        tensors = _Tensors(writer, seed)
        _embeddings(tensors, vocabulary, width)
        kv_width = width // heads * kv_heads
        for layer in range(layers):
            block = f"blk.{layer}"
            tensors.ones(f"{block}.attn_norm.weight", width)
            tensors.ones(f"{block}.ffn_norm.weight", width)
            tensors.linear(f"{block}.attn_q", width, width)
            tensors.linear(f"{block}.attn_k", kv_width, width)
            tensors.linear(f"{block}.attn_v", kv_width, width)
            tensors.random(f"{block}.attn_output.weight", width, width)
            _feed_forward(tensors, block, width, feed)


def _write_qwen35(path: Path, layout: str, seed: int, *, width: int) -> None:
    """Qwen3.5: every second layer attends, the others are gated delta nets."""
    layers, heads, kv_heads, head, feed = 4, 2, 1, 32, 128
    with _file(path, "qwen35", f"Synthetic MiniCPM-V {layout}") as writer:
        _text_shape(writer, layers, width, feed, heads, kv_heads)
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_rope_dimension_count(16)
        writer.add_rope_dimension_sections([3, 3, 2, 0])
        writer.add_full_attention_interval(2)
        state, groups, ranks, kernel = 32, 2, 2, 4
        writer.add_ssm_conv_kernel(kernel)
        writer.add_ssm_state_size(state)
        writer.add_ssm_group_count(groups)
        writer.add_ssm_time_step_rank(ranks)
        writer.add_ssm_inner_size(state * ranks)
        vocabulary = _vocabulary(writer, "qwen35")
        tensors = _Tensors(writer, seed)
        _embeddings(tensors, vocabulary, width)
        for layer in range(layers):
            block = f"blk.{layer}"
            tensors.ones(f"{block}.attn_norm.weight", width)
            tensors.ones(f"{block}.post_attention_norm.weight", width)
            if layer % 2:
                tensors.random(f"{block}.attn_q.weight", head * heads * 2, width)
                tensors.random(f"{block}.attn_k.weight", head * kv_heads, width)
                tensors.random(f"{block}.attn_v.weight", head * kv_heads, width)
                tensors.random(f"{block}.attn_output.weight", width, head * heads)
                tensors.ones(f"{block}.attn_q_norm.weight", head)
                tensors.ones(f"{block}.attn_k_norm.weight", head)
            else:
                _delta_net(tensors, block, width, (state, groups, ranks, kernel))
            _feed_forward(tensors, block, width, feed)


def _delta_net(tensors: _Tensors, block: str, width: int, shape: tuple[int, int, int, int]) -> None:
    state, groups, ranks, kernel = shape
    values = state * ranks
    mixed = 2 * state * groups + values
    tensors.random(f"{block}.attn_qkv.weight", mixed, width)
    tensors.random(f"{block}.attn_gate.weight", values, width)
    tensors.random(f"{block}.ssm_conv1d.weight", mixed, kernel, scale=0.5)
    tensors.zeros(f"{block}.ssm_dt.bias", ranks)
    tensors.constant(f"{block}.ssm_a", ranks, -0.5)  # decay: positive values would grow
    tensors.random(f"{block}.ssm_beta.weight", ranks, width)
    tensors.random(f"{block}.ssm_alpha.weight", ranks, width)
    tensors.ones(f"{block}.ssm_norm.weight", state)
    tensors.random(f"{block}.ssm_out.weight", width, values)


def _text_shape(
    writer: gguf.GGUFWriter, layers: int, width: int, feed: int, heads: int, kv_heads: int
) -> None:
    writer.add_block_count(layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1_000_000.0)


def _embeddings(tensors: _Tensors, vocabulary: int, width: int) -> None:
    tensors.random("token_embd.weight", vocabulary, width, scale=0.5)
    tensors.ones("output_norm.weight", width)
    tensors.random("output.weight", vocabulary, width, scale=0.3)


def _feed_forward(tensors: _Tensors, block: str, width: int, feed: int) -> None:
    tensors.random(f"{block}.ffn_gate.weight", feed, width)
    tensors.random(f"{block}.ffn_up.weight", feed, width)
    tensors.random(f"{block}.ffn_down.weight", width, feed)


def _vocabulary(writer: gguf.GGUFWriter, splitter: str) -> int:
    """Byte-level BPE: all 256 bytes, one merge so that the tokenizer loads, control tokens."""
    letters = _byte_letters()
    tokens = [letters[byte] for byte in range(256)]
    left, right = letters[ord("{")], letters[ord('"')]
    tokens.append(left + right)
    types = [gguf.TokenType.NORMAL] * len(tokens)
    first_control = len(tokens)
    tokens.extend(CONTROL_TOKENS)
    types.extend([gguf.TokenType.CONTROL] * len(CONTROL_TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitter)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{left} {right}"])
    writer.add_eos_token_id(first_control + CONTROL_TOKENS.index("<|im_end|>"))
    writer.add_pad_token_id(first_control + CONTROL_TOKENS.index("<|endoftext|>"))
    writer.add_bos_token_id(first_control + CONTROL_TOKENS.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    return len(tokens)


def _byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters.update({byte: chr(256 + index) for index, byte in enumerate(others)})
    return letters


def _write_resampler(path: Path, layout: str, seed: int, *, width: int, encoder: Encoder) -> None:
    """MiniCPM-V 2.6: vision tower, then 64 queries attend to its patches."""
    with _file(path, "clip", f"Synthetic MiniCPM-V {layout} projector") as writer:
        writer.add_bool("clip.has_vision_encoder", True)
        writer.add_bool("clip.has_minicpmv_projector", True)
        writer.add_string("clip.projector_type", "resampler")
        writer.add_int32("clip.minicpmv_version", 3)
        writer.add_uint32("clip.minicpmv_query_num", 64)
        _vision_shape(writer, encoder, projection=0)
        tensors = _Tensors(writer, seed)
        _vision_tower(tensors, encoder.layers)
        tensors.random("resampler.pos_embed_k", _BUCKETS, width)
        tensors.random("resampler.query", 64, width, scale=1.0)
        tensors.random("resampler.proj.weight", width, width)
        tensors.random("resampler.kv.weight", width, _VISION_WIDTH)
        for part in ("q", "k", "v", "out"):
            tensors.linear(f"resampler.attn.{part}", width, width)
        for part in ("q", "kv", "post"):
            tensors.norm(f"resampler.ln_{part}", width)


def _write_merger(path: Path, layout: str, seed: int, *, width: int, encoder: Encoder) -> None:
    """MiniCPM-V 4.6: a window merger inside the tower, a second one after it."""
    four = 4 * _VISION_WIDTH
    with _file(path, "clip", f"Synthetic MiniCPM-V {layout} projector") as writer:
        writer.add_bool("clip.has_vision_encoder", True)
        writer.add_string("clip.projector_type", "minicpmv4_6")
        writer.add_uint32("clip.vision.projector.scale_factor", 4)
        writer.add_array("clip.vision.wa_layer_indexes", [encoder.layers // 4])
        _vision_shape(writer, encoder, projection=width)
        tensors = _Tensors(writer, seed)
        _vision_tower(tensors, encoder.layers)
        tensors.norm("v.vit_merger.ln1", _VISION_WIDTH)
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            tensors.linear(f"v.vit_merger.{part}", _VISION_WIDTH, _VISION_WIDTH)
        tensors.norm("v.vit_merger.ds_ln", four)
        tensors.linear("v.vit_merger.ds_ffn_up", 128, four)
        tensors.linear("v.vit_merger.ds_ffn_down", _VISION_WIDTH, 128)
        tensors.norm("mm.input_norm", four)
        tensors.linear("mm.up", 128, four)
        tensors.linear("mm.down", width, 128)


def _vision_shape(writer: gguf.GGUFWriter, encoder: Encoder, *, projection: int) -> None:
    sizes = {
        "image_size": encoder.slice_size,
        "patch_size": 14,
        "embedding_length": _VISION_WIDTH,
        "feed_forward_length": _VISION_FEED,
        "projection_dim": projection,
        "block_count": encoder.layers,
        "attention.head_count": _VISION_HEADS,
    }
    for key, value in sizes.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    writer.add_bool("clip.use_gelu", True)


def _vision_tower(tensors: _Tensors, layers: int) -> None:
    width, feed = _VISION_WIDTH, _VISION_FEED
    tensors.random("v.patch_embd.weight", width, 3, 14, 14, scale=0.05)
    tensors.zeros("v.patch_embd.bias", width)
    tensors.random("v.position_embd.weight", _BUCKETS, width, scale=0.02)
    for layer in range(layers):
        block = f"v.blk.{layer}"
        tensors.norm(f"{block}.ln1", width)
        tensors.norm(f"{block}.ln2", width)
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            tensors.linear(f"{block}.{part}", width, width)
        tensors.linear(f"{block}.ffn_up", feed, width)
        tensors.linear(f"{block}.ffn_down", width, feed)
    tensors.norm("v.post_ln", width)
