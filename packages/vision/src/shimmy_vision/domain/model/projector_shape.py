"""What a projector's header says of the network inside: enough to build it again.

Names, optional parts and defaults are libmtmd's. Whatever it would compute and this module does
not know makes the projector ``UnknownProjector``: it is then left to libmtmd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_vision.domain.model.gguf import GgufArray, GgufHeader, GgufTensor

POSITION_SIDE = 70
"""Learned positions form a square of this side; a grid of patches is spread over it."""

_PLAIN_TYPES = frozenset({0, 1, 30})  # f32, f16, bf16
_RESAMPLER_HEAD = 128
_TOWER_PARTS = ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down")

Dimensions: TypeAlias = tuple[int, ...]
Colour: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ProjectorShape:
    """A vision tower and what leads from it to the language model.

    ``merger_after`` is the layer that the window merger follows, -1 for a resampler; ``swapped``
    tells that the file calls its feed-forward's two matrices by each other's names; ``embedding``
    is the width of the rows; ``tensors`` are the names that are used.
    """

    kind: Literal["resampler", "merger"]
    layers: int
    width: int
    heads: int
    epsilon: float
    slice_size: int
    patch_size: int
    mean: Colour
    deviation: Colour
    embedding: int
    merger_after: int
    swapped: bool
    tensors: frozenset[str]

    @property
    def merge(self) -> int:
        """Patches in each direction that become one row of the grid's step."""
        return 4 if self.kind == "merger" else 1

    @property
    def resampler_heads(self) -> int:
        """Heads of the resampler's attention."""
        return self.embedding // _RESAMPLER_HEAD


@dataclass(frozen=True, slots=True)
class UnknownProjector:
    """Why this projector is not built here."""

    reason: str


def read_projector_shape(header: GgufHeader) -> ProjectorShape | UnknownProjector:
    """The shape, checked against every tensor it needs."""
    try:
        return _read(header)
    except ValueError as unknown:
        return UnknownProjector(str(unknown))


def _read(header: GgufHeader) -> ProjectorShape:
    """Raises ValueError with the reason why the projector is unknown."""
    merger = header.metadata.get("clip.projector_type") == "minicpmv4_6"
    _check_variant(header, merger=merger)
    tensors = {tensor.name: tensor for tensor in header.tensors}
    width, layers = _count(header, "embedding_length"), _count(header, "block_count")
    feed = _count(header, "feed_forward_length")
    queries = tensors.get("mm.down.weight" if merger else "resampler.query")
    embedding = 0 if queries is None else queries.dimensions[1 if merger else 0]
    first = tensors.get("v.blk.0.ffn_down.weight")
    shape = ProjectorShape(
        kind="merger" if merger else "resampler",
        layers=layers,
        width=width,
        heads=_count(header, "attention.head_count"),
        epsilon=_epsilon(header),
        slice_size=_count(header, "image_size"),
        patch_size=_count(header, "patch_size"),
        mean=_colour(header, "image_mean"),
        deviation=_colour(header, "image_std"),
        embedding=embedding,
        merger_after=_merger_layer(header, layers) if merger else -1,
        swapped=first is not None and first.dimensions == (width, feed) and width != feed,
        tensors=frozenset(tensors),
    )
    _check_tensors(shape, tensors, feed)
    return shape


def _check_variant(header: GgufHeader, *, merger: bool) -> None:
    values = header.metadata
    if not merger and values.get("clip.projector_type") != "resampler":
        raise ValueError("its kind is neither resampler nor minicpmv4_6")
    if merger and values.get("clip.vision.projector.scale_factor", 4) != 4:
        raise ValueError("its merger does not join four patches in each direction")
    if values.get("clip.use_gelu") is not True or values.get("clip.use_silu") is True:
        raise ValueError("its feed-forward is not GELU")
    if "clip.vision.attention.head_dim" in values:
        raise ValueError("its heads have a width of their own")


def _count(header: GgufHeader, key: str) -> int:
    value = header.metadata.get(f"clip.vision.{key}")
    if not isinstance(value, int) or not 1 <= value <= 65_536:
        raise ValueError(f"clip.vision.{key} is {value!r}")
    return value


def _epsilon(header: GgufHeader) -> float:
    value = header.metadata.get("clip.vision.attention.layer_norm_epsilon")
    if not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"its layer norm's epsilon is {value!r}")
    return value


def _colour(header: GgufHeader, key: str) -> Colour:
    match header.metadata.get(f"clip.vision.{key}"):
        case GgufArray(items=(float(red), float(green), float(blue))):
            return red, green, blue
        case _:
            raise ValueError(f"clip.vision.{key} is not three numbers")


def _merger_layer(header: GgufHeader, layers: int) -> int:
    match header.metadata.get("clip.vision.wa_layer_indexes"):
        case None:
            return 0
        case GgufArray(items=(int(layer), *_)) if 0 <= layer < layers:
            return layer
        case _:
            raise ValueError("the place of its window merger is not a layer of it")


def _check_tensors(shape: ProjectorShape, tensors: dict[str, GgufTensor], feed: int) -> None:
    if shape.width % shape.heads:
        raise ValueError("its width is no multiple of its heads")
    if shape.kind == "resampler" and shape.embedding % _RESAMPLER_HEAD:
        raise ValueError("its resampler's width is no multiple of a head's")
    needed = _tower(shape, feed) | (_merger(shape) if shape.kind == "merger" else _resampler(shape))
    for name, dimensions in needed.items():
        found = tensors.get(name)
        if found is None and name.endswith(".bias"):
            continue
        wanted = dimensions or (None if found is None else found.dimensions)
        if found is None or found.dimensions != wanted or found.ggml_type not in _PLAIN_TYPES:
            raise ValueError(f"its tensor {name} is missing, of another shape, or quantised")
    more = sorted(name for name in tensors if name.startswith("v.") and name not in needed)
    if more:
        raise ValueError(f"it has the tensor {more[0]}, which is not known here")


def _tower(shape: ProjectorShape, feed: int) -> dict[str, Dimensions]:
    width, patch = shape.width, shape.patch_size
    needed: dict[str, Dimensions] = {
        "v.patch_embd.weight": (patch, patch, 3, width),
        "v.patch_embd.bias": (width,),
        "v.position_embd.weight": (width, POSITION_SIDE**2),
        **_norm("v.post_ln", width),
    }
    up, down = ("ffn_down", "ffn_up") if shape.swapped else ("ffn_up", "ffn_down")
    sizes = dict.fromkeys(_TOWER_PARTS, (width, width))
    sizes |= {up: (width, feed), down: (feed, width)}
    for layer in range(shape.layers):
        block = f"v.blk.{layer}"
        needed |= _norm(f"{block}.ln1", width) | _norm(f"{block}.ln2", width)
        for part, (columns, rows) in sizes.items():
            needed |= _linear(f"{block}.{part}", columns, rows)
    return needed


def _merger(shape: ProjectorShape) -> dict[str, Dimensions]:
    width, four = shape.width, 4 * shape.width
    needed = _norm("v.vit_merger.ln1", width) | _norm("v.vit_merger.ds_ln", four)
    for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
        needed |= _linear(f"v.vit_merger.{part}", width, width)
    # The feed-forwards' inner widths are whatever the file says; the graph fits them together.
    for stem in ("v.vit_merger.ds_ffn_up", "v.vit_merger.ds_ffn_down", "mm.up", "mm.down"):
        needed |= {f"{stem}.weight": (), f"{stem}.bias": ()}
    return needed | _norm("mm.input_norm", four)


def _resampler(shape: ProjectorShape) -> dict[str, Dimensions]:
    wide = shape.embedding
    needed: dict[str, Dimensions] = {
        "resampler.query": (),
        "resampler.proj.weight": (wide, wide),
        "resampler.kv.weight": (shape.width, wide),
    }
    for part in ("q", "k", "v", "out"):
        needed |= _linear(f"resampler.attn.{part}", wide, wide)
    for part in ("q", "kv", "post"):
        needed |= _norm(f"resampler.ln_{part}", wide)
    return needed


def _linear(stem: str, columns: int, rows: int) -> dict[str, Dimensions]:
    return {f"{stem}.weight": (columns, rows), f"{stem}.bias": (rows,)}


def _norm(stem: str, width: int) -> dict[str, Dimensions]:
    return {f"{stem}.weight": (width,), f"{stem}.bias": (width,)}
