"""Two settings of llama.cpp that were open: the KV cache's type, and pages of 2 MB for weights.

    python benchmarks/kv_and_pages.py --write       three repetitions that take turns, some minutes

Every variant is a process of its own with the same pair, threads and tokens. It reads 512
positions and writes 32 tokens after them, then reads up to 4,096 and writes 32 more. ``scores``
compares the scores of those 64 tokens with the first variant's: the same tokens are fed to all.
Pages of 2 MB are asked for by glibc (``GLIBC_TUNABLES``), which says so to Linux for each large
block; how much Linux gave stands beside it. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from make_model import default_folder, make_pair, pair_files

RESULT = Path(__file__).parent / "results/kv_and_pages.json"
_SHORT, _LONG, _WRITTEN, _BATCH = 512, 4096, 32, 512
_CONTEXT = 6144  # what `shimmy serve` gives a sequence

_Scores: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """One set of settings; ``kv`` is a type of ggml's."""

    name: str
    kv: int = 1  # GGML_TYPE_F16
    mapped: bool = True
    large_pages: bool = False


VARIANTS = (
    Variant("f16, weights mapped: as it is"),
    Variant("q8_0", kv=8),  # GGML_TYPE_Q8_0
    Variant("f16, packed matrices in large pages", large_pages=True),
    Variant("f16, all weights read into large pages", mapped=False, large_pages=True),
)


def main() -> int:
    """All variants in turns, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", type=Path, help="a folder with a main file and its projector")
    parser.add_argument("--shape", choices=("4.6", "2.6"), default="4.6")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"into results/{RESULT.name}")
    parser.add_argument("--variant", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--scores", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    pair = args.pair or make_pair(args.shape, default_folder())
    model, _ = pair_files(pair)
    if args.variant is not None:
        print(json.dumps(run(VARIANTS[args.variant], model, args.threads, args.scores)))
        return 0
    result = {
        "pair": pair.name,
        "threads": args.threads,
        "load": os.getloadavg()[0],
        "variants": compare(pair, args.threads, args.repeat),
    }
    print(json.dumps(result, indent=2))
    if args.write:
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def compare(pair: Path, threads: int, repeat: int) -> dict[str, dict[str, Any]]:
    """Medians over ``repeat`` processes of each variant, which take turns."""
    runs: dict[str, list[dict[str, float]]] = {one.name: [] for one in VARIANTS}
    scores: dict[str, _Scores] = {}
    for turn in range(repeat):
        order = list(enumerate(VARIANTS))
        for number, variant in order if turn % 2 == 0 else reversed(order):
            print(f"{turn + 1} of {repeat}: {variant.name}", file=sys.stderr)
            told, scores[variant.name] = _in_child(variant, number, pair, threads)
            runs[variant.name].append(told)
    first = scores[VARIANTS[0].name]
    return {
        name: {
            **{key: round(statistics.median(one[key] for one in all_), 3) for key in all_[0]},
            "scores": _apart(first, scores[name]),
        }
        for name, all_ in runs.items()
    }


def _in_child(
    variant: Variant, number: int, pair: Path, threads: int
) -> tuple[dict[str, float], _Scores]:
    environment = dict(os.environ)
    if variant.large_pages:
        environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder, "scores.npy")
        command = [sys.executable, __file__, "--variant", str(number), "--pair", str(pair)]
        command += ["--threads", str(threads), "--scores", str(scores)]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        return json.loads(done.stdout), np.load(scores)


def _apart(first: _Scores, other: _Scores) -> dict[str, float]:
    """How far apart scores are, in standard deviations, and how often the best one differs."""
    return {
        "largest_difference": round(float(np.abs(first - other).max() / first.std()), 4),
        "best_differs": int((first.argmax(axis=1) != other.argmax(axis=1)).sum()),
        "of": len(first),
    }


def run(variant: Variant, model: Path, threads: int, scores: Path) -> dict[str, float]:
    """Milliseconds of reading and writing in this process; the scores go into a file."""
    began = time.monotonic()
    reader = _Reader(variant, model, threads)
    told = {"open_s": time.monotonic() - began}
    chance = random.Random(7)
    tokens = [chance.randrange(1000, reader.vocabulary // 2) for _ in range(_LONG)]
    reader.feed(tokens[:_SHORT])  # the first pass reads the weights from the disk's cache
    reader.forget()
    told["read_512_ms"] = reader.feed(tokens[:_SHORT])
    at, last = _SHORT + _WRITTEN, _LONG - _WRITTEN
    told["token_at_512_ms"] = reader.write(tokens[_SHORT:at])
    parts = (tokens[one : min(one + _BATCH, last)] for one in range(at, last, _BATCH))
    told["read_up_to_4096_ms"] = sum(reader.feed(part) for part in parts)
    told["token_at_4096_ms"] = reader.write(tokens[last:])
    np.save(scores, np.stack(reader.scores))
    return told | _memory()


class _Reader:
    """A model and a context of its own; ``scores`` has a row for each token written."""

    def __init__(self, variant: Variant, model: Path, threads: int) -> None:
        c.llama_backend_init()
        of_model = c.llama_model_default_params()
        of_model.use_mmap = variant.mapped
        loaded = c.llama_model_load_from_file(str(model).encode(), of_model)
        params = c.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = _CONTEXT, _BATCH, _BATCH
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = variant.kv
        self._context = c.llama_init_from_model(loaded, params)
        if not (loaded and self._context):
            raise SystemExit("llama.cpp cannot load this model")
        self.vocabulary: int = c.llama_vocab_n_tokens(c.llama_model_get_vocab(loaded))
        self.scores: list[_Scores] = []

    def forget(self) -> None:
        """All that was read."""
        c.llama_memory_clear(c.llama_get_memory(self._context), True)

    def feed(self, tokens: list[int]) -> float:
        """One pass; its milliseconds."""
        given = (c.llama_token * len(tokens))(*tokens)  # the batch only points to it
        start = time.perf_counter()
        batch = c.llama_batch_get_one(given, len(tokens))
        if c.llama_decode(self._context, batch):
            raise SystemExit("llama.cpp does not decode")
        c.llama_synchronize(self._context)
        return 1000 * (time.perf_counter() - start)

    def write(self, tokens: list[int]) -> float:
        """A pass for each of them, as if they had been chosen; the median of milliseconds."""
        times = []
        for token in tokens:
            times.append(self.feed([token]))
            found = c.llama_get_logits_ith(self._context, -1)
            self.scores.append(np.array(np.ctypeslib.as_array(found, shape=(self.vocabulary,))))
        return statistics.median(times)


def _memory() -> dict[str, float]:
    """Megabytes that are resident, and of these in pages of 2 MB without a file."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    kib = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return {"rss_mb": kib["Rss"] / 1000, "large_pages_mb": kib["AnonHugePages"] / 1000}


if __name__ == "__main__":
    sys.exit(main())
