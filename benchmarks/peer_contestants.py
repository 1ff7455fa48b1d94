"""The contestants: ``shimmy serve``, llama-cpp-python's loop, xllamacpp's server.

Each in a process of its own, started when first asked, with the same pair, threads and bound of
tokens. Peers get the image before the question, as MiniCPM's authors write it: where a server keeps
prefixes, another question about the same image then finds the image's.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import httpx

from bench_environment import bench_python
from peer_material import Asked

HERE = Path(__file__).resolve().parent
CONTEXT = 4096
SLOTS = 4
_PATIENCE = 3600.0

_TURNS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for c in m.content %}{{ c.text }}{% if not loop.last %}\n{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
)
TEMPLATES = {
    "4.6": f"{_TURNS}<think>\n\n</think>\n\n{{% endif %}}",
    "2.6": f"{_TURNS}{{% endif %}}",
}
"""The turns of MiniCPM-V, thinking switched off, as the product writes them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both files and their family."""

    family: str
    main: Path
    projector: Path


@dataclass(frozen=True, slots=True)
class Reply:
    """What one answer took. ``prefill_s`` is everything before the first word of the answer.

    ``prompt_tokens`` are positions before the answer, the image's among them; ``image_tokens`` is
    None where a contestant does not tell; ``note`` is what it said besides.
    """

    seconds: float
    prefill_s: float
    generate_s: float
    prompt_tokens: int
    image_tokens: int | None
    generated: int
    note: dict[str, Any]


class Contestant(Protocol):
    """Answers questions, one or several at once."""

    name: str

    @property
    def pid(self) -> int:
        """Its process."""
        ...

    def ask(self, asked: Asked) -> Reply:
        """One answer; raises where it fails."""
        ...

    def ask_all(self, asked: Sequence[Asked]) -> list[Reply]:
        """All as soon as it can."""
        ...


class Shimmy:
    """Requests to a running ``shimmy serve``."""

    name = "shimmy"

    def __init__(self, url: str, pid: int) -> None:
        self.url, self._pid = url, pid
        self._line = httpx.Client(timeout=_PATIENCE, trust_env=False)

    @property
    def pid(self) -> int:
        return self._pid

    def ask(self, asked: Asked) -> Reply:
        began = time.perf_counter()
        told = self.post(asked.image, mode=asked.mode, max_tokens=asked.max_tokens)
        return reply_of_result(told, time.perf_counter() - began)

    def ask_all(self, asked: Sequence[Asked]) -> list[Reply]:
        with ThreadPoolExecutor(len(asked)) as threads:
            return list(threads.map(self.ask, asked))

    def post(self, file: bytes, **options: Any) -> dict[str, Any]:
        """The bare request: what came back, or raises."""
        body = {"image": base64.b64encode(file).decode(), **options}
        answer = self._line.post(f"{self.url}/api/vision", json=body)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told


def reply_of_result(result: dict[str, Any], seconds: float) -> Reply:
    """Our own figures out of a result's ``meta``."""
    meta = result["meta"]
    tokens, generate = meta["tokens"], meta["timings"]["generate_ms"] / 1000
    note = {
        "timings": meta["timings"],
        "cache": meta["cache"],
        "encoder": meta["backend"]["encoder"],
        "forced": tokens["forced"],
        "forward_passes": tokens["forward_passes"],
        "slices": [tile["slices"] for tile in meta["image"]["tiles"]],
        # What a newer encoder tells of slices that it did not compute.
        **{name: meta["image"][name] for name in ("slices", "encodes") if name in meta["image"]},
        **({"dpi": meta["document"]["dpi"]} if "document" in meta else {}),
    }
    return Reply(
        seconds,
        seconds - generate,
        generate,
        tokens["prompt"] + tokens["image"],
        tokens["image"],
        tokens["generated"],
        note,
    )


class LlamaCppPython:
    """Orders to ``llama_cpp_python_loop.py``, which keeps its own time."""

    name = "llama-cpp-python"

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, asked: Asked) -> Reply:
        order = {
            "image": base64.b64encode(asked.image).decode(),
            "prompt": asked.prompt,
            "schema": asked.schema,
            "max_tokens": asked.max_tokens,
        }
        told = json.loads(_exchange(self._process, json.dumps(order)))
        return Reply(**told, note={})

    def ask_all(self, asked: Sequence[Asked]) -> list[Reply]:
        """One after another: it can do no other."""
        return [self.ask(one) for one in asked]


class Xllamacpp:
    """Requests to its server."""

    name = "xllamacpp"

    def __init__(self, url: str, pid: int) -> None:
        self._url, self._pid = url, pid
        self._line = httpx.Client(timeout=_PATIENCE, trust_env=False)

    @property
    def pid(self) -> int:
        return self._pid

    def ask(self, asked: Asked) -> Reply:
        url = f"data:image/png;base64,{base64.b64encode(asked.image).decode()}"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": asked.prompt},
        ]
        schema = {"name": "answer", "strict": True, "schema": asked.schema}
        body = {
            "messages": [{"role": "user", "content": content}],
            "response_format": {"type": "json_schema", "json_schema": schema},
            "max_tokens": asked.max_tokens,
            "temperature": 0,
        }
        began = time.perf_counter()
        answer = self._line.post(f"{self._url}/v1/chat/completions", json=body)
        seconds = time.perf_counter() - began
        answer.raise_for_status()
        told = answer.json()
        times, usage = told["timings"], told["usage"]
        generate = times["predicted_ms"] / 1000
        note = {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]}
        return Reply(
            seconds,
            seconds - generate,
            generate,
            usage["prompt_tokens"],
            None,
            usage["completion_tokens"],
            note,
        )

    def ask_all(self, asked: Sequence[Asked]) -> list[Reply]:
        with ThreadPoolExecutor(len(asked)) as threads:
            return list(threads.map(self.ask, asked))


@contextmanager
def shimmy(variables: dict[str, str], threads: int) -> Iterator[Shimmy]:
    """A ``shimmy serve`` with its model loaded, ended afterwards."""
    command = [sys.executable, "-m", "shimmy_vision", "serve", "--port", "0", "--preload"]
    options = ["--threads", str(threads), "--max-tokens", "2048", "--max-seconds", "3600"]
    environment = {**os.environ, **variables}
    with _running([*command, *options], environment, stderr=subprocess.PIPE) as process:
        line = ""
        while "shimmy: http" not in line:
            line = _line(process.stderr)
        url = line.split()[1]
        while not httpx.get(f"{url}/ready", timeout=60, trust_env=False).json()["model_loaded"]:
            time.sleep(0.3)
        yield Shimmy(url, process.pid)


@contextmanager
def llama_cpp_python(pair: Pair, threads: int) -> Iterator[LlamaCppPython]:
    """The loop with its pair loaded."""
    script = [sys.executable, str(HERE / "llama_cpp_python_loop.py")]
    command = [*script, *_arguments(pair, threads)]
    with _running(command, None, stderr=subprocess.DEVNULL) as process:
        _line(process.stdout)
        yield LlamaCppPython(process)


@contextmanager
def xllamacpp(pair: Pair, threads: int) -> Iterator[Xllamacpp]:
    """The server with its pair loaded."""
    script = [str(bench_python()), str(HERE / "xllamacpp_server.py")]
    command = [*script, *_arguments(pair, threads), "--slots", str(SLOTS)]
    with _running(command, None, stderr=subprocess.DEVNULL) as process:
        yield Xllamacpp(_line(process.stdout).strip(), process.pid)


def _arguments(pair: Pair, threads: int) -> list[str]:
    files = ["--main", str(pair.main), "--projector", str(pair.projector)]
    template = ["--template", TEMPLATES[pair.family]]
    return [*files, *template, "--threads", str(threads), "--context", str(CONTEXT)]


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str] | None, *, stderr: int
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _line(stream: IO[str] | None) -> str:
    line = stream.readline() if stream is not None else ""
    if not line:
        raise SystemExit("a contestant ended: it cannot load this pair, or failed at an image")
    return line


def _exchange(process: subprocess.Popen[str], order: str) -> str:
    if process.stdin is None:
        raise AssertionError("it was asked for")
    process.stdin.write(f"{order}\n")
    process.stdin.flush()
    return _line(process.stdout)
