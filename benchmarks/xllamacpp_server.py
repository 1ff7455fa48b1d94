"""The server of xllamacpp's wheel, in an environment of its own: prints its address, ends with us.

Its defaults, but for threads, slots, room and the chat template, which the synthetic files do not
carry.
"""

from __future__ import annotations

import argparse
import sys

import xllamacpp  # type: ignore[import-not-found]  # not in the product's environment


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--main", "--projector", "--template"):
        parser.add_argument(name, required=True)
    for name in ("--threads", "--context", "--slots"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = args.main, args.projector
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.n_parallel, params.n_ctx = args.slots, args.slots * args.context
    params.chat_template, params.port = args.template, 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
