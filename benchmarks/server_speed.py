"""``shimmy serve`` beside a plain llama-cpp-python loop: same files, same library, same schema.

Both work on one machine with the same number of threads; repetitions are interleaved and medians
compared, so a machine that is slow for a while is slow for both. The loop does what a user would
write first: one process, llama-cpp-python's own multimodal chat handler, its own JSON grammar,
image after image. Synthetic weights: the times mean nothing, their ratios do, and less so than with
real ones, whose encoder takes a far larger share.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw

from licensed import licensed
from shimmy_sandbox.synthetic_model import SyntheticPair, write_synthetic_pair
from shimmy_vision.domain.answer.answer_schemas import FULL_ANSWER, LAYOUT_ANSWER
from shimmy_vision.domain.answer.prompts import FULL, LAYOUT

RESULTS = Path(__file__).resolve().parent / "results/server_speed.json"
_NUMBERS = count()
_ASKED = {"full": (FULL, FULL_ANSWER), "layout": (LAYOUT, LAYOUT_ANSWER)}


def picture() -> bytes:
    """A screenshot that nobody has seen before: 1280x720, a few lines of text."""
    image = Image.new("RGB", (1280, 720), "#f5f7fa")
    draw = ImageDraw.Draw(image)
    for line in range(12):
        draw.text((80, 50 + 50 * line), f"Line {line} of screenshot {next(_NUMBERS)}", fill="black")
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


class Ours:
    """Requests to a running server."""

    def __init__(self, url: str, tokens: int) -> None:
        self._url, self._tokens = url, tokens

    def ask(self, image: bytes, mode: str) -> None:
        """One analysis; raises where it fails."""
        order = {
            "image": base64.b64encode(image).decode(),
            "mode": mode,
            "max_tokens": self._tokens,
        }
        httpx.post(f"{self._url}/api/vision", json=order, timeout=600).raise_for_status()

    def ask_all(self, images: list[bytes]) -> None:
        """All at once."""
        with ThreadPoolExecutor(len(images)) as threads:
            list(threads.map(lambda image: self.ask(image, "full"), images))


class Loop:
    """llama-cpp-python as it is documented."""

    def __init__(self, pair: SyntheticPair, threads: int, tokens: int) -> None:
        # Imported here: it loads its libraries and must not meet ours in one process before.
        from llama_cpp import Llama
        from llama_cpp.llama_chat_format import MiniCPMv26ChatHandler

        handler = MiniCPMv26ChatHandler(clip_model_path=str(pair.projector), verbose=False)
        self._tokens = tokens
        self._model = Llama(
            model_path=str(pair.main),
            chat_handler=handler,
            n_ctx=4096,
            n_threads=threads,
            verbose=False,
        )

    def ask(self, image: bytes, mode: str) -> None:
        """One analysis."""
        prompt, schema = _ASKED[mode]
        url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        content = [
            {"type": "text", "text": prompt},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        with (
            Path(os.devnull).open("w") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            self._model.create_chat_completion(
                messages=[{"role": "user", "content": content}],
                response_format={"type": "json_object", "schema": schema},
                max_tokens=self._tokens,
                temperature=0,
            )

    def ask_all(self, images: list[bytes]) -> None:
        """One after another: it can do no other."""
        for image in images:
            self.ask(image, "full")


def cases() -> dict[str, Callable[[Any], Callable[[], None]]]:
    """By name: from whom is asked to what is timed, everything before it done."""

    def new(side: Any) -> Callable[[], None]:
        image = picture()
        return lambda: side.ask(image, "full")

    def again(side: Any) -> Callable[[], None]:
        image = picture()
        side.ask(image, "full")
        return lambda: side.ask(image, "full")

    def other_mode(side: Any) -> Callable[[], None]:
        image = picture()
        side.ask(image, "full")
        return lambda: side.ask(image, "layout")

    def several(number: int) -> Callable[[Any], Callable[[], None]]:
        def prepare(side: Any) -> Callable[[], None]:
            images = [picture() for _ in range(number)]
            return lambda: side.ask_all(images)

        return prepare

    return {
        "new image": new,
        "same image again": again,
        "same image, another mode": other_mode,
        "4 new images at once": several(4),
        "16 new images at once": several(16),
    }


@contextmanager
def server(variables: dict[str, str], threads: int, max_tokens: int | None = 2048) -> Iterator[str]:
    """The URL of a ``shimmy serve`` with its model loaded."""
    command = [sys.executable, "-m", "shimmy_vision", "serve", "--port", "0", "--preload"]
    bound = [] if max_tokens is None else ["--max-tokens", str(max_tokens)]
    process = subprocess.Popen(
        [*command, "--threads", str(threads), "--no-socket", *bound],
        env={**os.environ, **variables},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None  # noqa: S101 - it was asked for above
    try:
        url = next(line.split()[1] for line in process.stderr if line.startswith("shimmy: http"))
        while not httpx.get(f"{url}/ready", timeout=60).json()["model_loaded"]:
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def main() -> int:
    """Measure and print a table; with --write keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=("2.6", "4.6"), default="4.6")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, licensed(folder) as licence:
        pair = write_synthetic_pair(Path(folder, "pair"), args.layout)
        variables = {
            **licence,
            "SHIMMY_ALLOW_SYNTHETIC": "1",
            "SHIMMY_MODEL": f"{pair.main.parent}/",
        }
        loop = Loop(pair, args.threads, args.max_tokens)
        with server(variables, args.threads) as url:
            rows = measure(Ours(url, args.max_tokens), loop, args.repeat)
    print(f"{'case':<28}{'ours s':>9}{'loop s':>9}{'ratio':>8}")
    for row in rows:
        print(f"{row['case']:<28}{row['ours']:>9.3f}{row['loop']:>9.3f}{row['ratio']:>8.3f}")
    print(f"medians of {args.repeat}, {args.threads} threads, {args.max_tokens} tokens at most")
    if args.write:
        RESULTS.write_text(json.dumps({"cases": rows, **vars(args)}, indent=2) + "\n")
    return 0


def measure(ours: Ours, loop: Loop, repeat: int) -> list[dict[str, Any]]:
    """Medians of each case, both sides interleaved."""
    rows = []
    for name, prepare in cases().items():
        times: dict[str, list[float]] = {"ours": [], "loop": []}
        for _ in range(repeat):
            for side, asked in (("ours", ours), ("loop", loop)):
                work = prepare(asked)
                began = time.perf_counter()
                work()
                times[side].append(time.perf_counter() - began)
        medians = {side: round(statistics.median(taken), 4) for side, taken in times.items()}
        ratio = round(medians["ours"] / medians["loop"], 4)
        rows.append({"case": name, **medians, "ratio": ratio})
    return rows


if __name__ == "__main__":
    sys.exit(main())
