"""Full-shape MiniCPM-V pairs with random weights, for measuring how fast real files would run.

    python benchmarks/make_model.py --shape 4.6          both files of the 1.3B-like pair
    python benchmarks/make_model.py --shape 2.6          the 8B-like pair (about 5.7 GB)
    python benchmarks/make_model.py --shape 4.5          the 8.7B-like pair (about 6.1 GB)
    python benchmarks/make_model.py --shape 2.6 --layers 4   fewer layers, said in the name

Layer shapes, tensor types (Q4_K main with a Q6_K vocabulary, f16 projector) and the size of the
vocabulary are those of the published files; the weights are noise, so answers mean nothing. The
same seed gives the same bytes. Files that are there already are kept.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import platformdirs

from model_tensors import PairShape, write_main, write_projector

SHAPES: dict[str, PairShape] = {
    # MiniCPM-V 4.6: Qwen3.5-0.8B, SigLIP-400M with a window merger after its seventh layer.
    "4.6": PairShape(
        name="4.6-like-1.3B", architecture="qwen35", layers=24, width=1024, feed=3584, heads=8,
        kv_heads=2, head=256, vocabulary=248_320,
    ),
    # MiniCPM-V 4.5: Qwen3-8B, SigLIP-400M and a resampler of 64 queries.
    "4.5": PairShape(
        name="4.5-like-8.7B", architecture="qwen3", layers=36, width=4096, feed=12_288, heads=32,
        kv_heads=8, head=128, vocabulary=151_748,
    ),
    # MiniCPM-V 2.6: Qwen2-7B, SigLIP-400M and a resampler of 64 queries.
    "2.6": PairShape(
        name="2.6-like-8B", architecture="qwen2", layers=28, width=3584, feed=18_944, heads=28,
        kv_heads=4, head=128, vocabulary=151_666,
    ),
}  # fmt: skip


def default_folder() -> Path:
    """Where the pairs are kept between runs; never inside the checkout."""
    return Path(platformdirs.user_cache_dir("shimmy-vision", appauthor=False), "benchmark-models")


def make_pair(shape: str, folder: Path, *, layers: int | None = None, seed: int = 0) -> Path:
    """The folder that holds the pair, written now or before."""
    pair = SHAPES[shape]
    name = pair.name if layers in (None, pair.layers) else f"{pair.name}-{layers}-layers"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    wanted = pair if layers is None else pair.with_layers(layers)
    for path, write in (
        (place / f"{name}-Q4_K.gguf", write_main),
        (place / f"mmproj-{name}-f16.gguf", write_projector),
    ):
        if path.exists():
            continue
        half = path.with_suffix(".part")
        write(half, wanted, seed)
        half.replace(path)
    return place


def pair_files(place: Path) -> tuple[Path, Path]:
    """The main file and the projector of a folder that holds one pair."""
    projector = next(place.glob("mmproj*.gguf"))
    return next(path for path in place.glob("*.gguf") if path != projector), projector


def main() -> None:
    """Write what was asked for; say how long it took and how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="4.6")
    parser.add_argument("--layers", type=int, help="of the language model (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=default_folder())
    args = parser.parse_args()
    started = time.perf_counter()
    place = make_pair(args.shape, args.folder, layers=args.layers, seed=args.seed)
    seconds = time.perf_counter() - started
    for path in sorted(place.glob("*.gguf")):
        print(f"{path.stat().st_size / 1e9:6.2f} GB  {path.name}")
    print(f"{seconds:.1f} s; SHIMMY_ALLOW_SYNTHETIC=1 SHIMMY_MODEL={place}")


if __name__ == "__main__":
    main()
