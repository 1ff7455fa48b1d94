"""llama-cpp-python as it is documented, in a process of its own: an order a line, a reply a line.

Its high-level multimodal chat handler and its own JSON grammar. Times are taken here, around its
one call, so that nothing of ours is in them. It counts what it decodes: ``text_tokens`` and the
whole prompt, from which the image's share follows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any, TextIO

from llama_cpp import Llama
from llama_cpp.llama_chat_format import MTMDChatHandler


class Handler(MTMDChatHandler):  # type: ignore[misc]
    """With a chat template, which the synthetic files do not carry."""

    template = ""

    def _get_chat_template(self, llama_model: Llama) -> str:  # noqa: ARG002
        return self.template


class Loop:
    """The loaded pair, and where the time goes."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._handler = Handler(clip_model_path=args.projector, verbose=False)
        self._handler.template = args.template
        self._model = Llama(
            model_path=args.main,
            chat_handler=self._handler,
            n_ctx=args.context,
            n_threads=args.threads,
            n_threads_batch=args.threads,
            verbose=False,
        )
        # What it would do at the first image.
        self._handler._init_mtmd_context(self._model)
        self._text_tokens = self._prompt_tokens = 0
        self._prefilled = 0.0
        self._evaluate, self._complete = self._model.eval, self._model.create_completion
        self._model.eval = self._counting
        self._model.create_completion = self._marking

    def _counting(self, tokens: list[int]) -> None:
        self._text_tokens += len(tokens)
        self._evaluate(tokens)

    def _marking(self, *args: Any, **kwargs: Any) -> Any:
        """Called when the prompt is decoded and its answer begins."""
        self._prefilled, self._prompt_tokens = time.perf_counter(), self._model.n_tokens
        self._model.eval = self._evaluate
        return self._complete(*args, **kwargs)

    def reply(self, order: dict[str, Any]) -> dict[str, Any]:
        """One answer and its figures."""
        self._text_tokens, self._model.eval = 0, self._counting
        url = f"data:image/png;base64,{order['image']}"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": order["prompt"]},
        ]
        began = time.perf_counter()
        told = self._model.create_chat_completion(
            messages=[{"role": "user", "content": content}],
            response_format={"type": "json_object", "schema": order["schema"]},
            max_tokens=order["max_tokens"],
            temperature=0,
        )
        ended = time.perf_counter()
        return {
            "seconds": ended - began,
            "prefill_s": self._prefilled - began,
            "generate_s": ended - self._prefilled,
            "prompt_tokens": self._prompt_tokens,
            "image_tokens": self._prompt_tokens - self._text_tokens,
            "generated": told["usage"]["completion_tokens"],
        }


def main() -> None:
    """Serve orders until there are no more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--main", "--projector", "--template"):
        parser.add_argument(name, required=True)
    for name in ("--threads", "--context"):
        parser.add_argument(name, type=int, required=True)
    wire = _own_wire()
    loop = Loop(parser.parse_args())
    print(json.dumps({"ready": True}), file=wire, flush=True)
    for line in sys.stdin:
        print(json.dumps(loop.reply(json.loads(line))), file=wire, flush=True)
    # Its own tidying up fails at the interpreter's end.
    os._exit(0)


def _own_wire() -> TextIO:
    """Standard output for us alone: the library writes there, too."""
    wire = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return wire


if __name__ == "__main__":
    main()
