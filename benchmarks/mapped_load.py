"""A pair loaded by plain llama.cpp with mmap, in a process of its own: prints when it is loaded.

With ``--touch`` no model is made: both files are mapped and a byte of every page is read.
"""

from __future__ import annotations

import argparse
import mmap
from pathlib import Path

_PAGE = 4096


def main() -> None:
    """Load, tell, end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("main")
    parser.add_argument("projector")
    parser.add_argument("--touch", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.touch:
        touch(args.main, args.projector)
    else:
        load(args.main, args.projector, args.threads)
    print("loaded", flush=True)


def touch(*files: str) -> int:
    """Read a byte of every page of ``files``; their sum."""
    total = 0
    for name in files:
        with (
            Path(name).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            total += sum(data[::_PAGE])
    return total


def load(main: str, projector: str, threads: int) -> None:
    """Weights mapped, a context made, the projector read; nothing is computed."""
    import llama_cpp
    from llama_cpp import mtmd_cpp

    llama_cpp.llama_backend_init()
    of_model = llama_cpp.llama_model_default_params()
    of_model.use_mmap = True
    model = llama_cpp.llama_model_load_from_file(main.encode(), of_model)
    of_context = llama_cpp.llama_context_default_params()
    of_context.n_ctx, of_context.n_threads = 4096, threads
    context = llama_cpp.llama_init_from_model(model, of_context)
    of_projector = mtmd_cpp.mtmd_context_params_default()
    of_projector.n_threads, of_projector.warmup, of_projector.use_gpu = threads, False, False
    eyes = mtmd_cpp.mtmd_init_from_file(projector.encode(), model, of_projector)
    if not (model and context and eyes):
        raise SystemExit("llama.cpp cannot load this pair")


if __name__ == "__main__":
    main()
