"""What users ask of ``shimmy serve`` in a soak: every way to ask, some of it wrong or given up.

Each visit is measured and looked at: the right status, and where it says so the right content.
``api`` are answers for which no model has to work; ``vision`` are those that a model writes.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx
from PIL import Image, ImageDraw
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from open_loop import Hit, Shot

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "packages/vision/tests/support"))
from pdf_writer import text_page, write_pdf

Kind: TypeAlias = Literal["api", "vision"]

MODES = ("full", "ocr", "layout", "brief")
_SIZES = ((64, 64), (200, 150), (449, 300), (640, 480), (900, 300))
_RECENT = 20
_PATIENCE_SECONDS = 60.0
_KEPT_WRONG = 50
_SCHEMA = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}}
_JSON = {"Content-Type": "application/json"}

# Shares of the visits that want the model to work, or want what it wrote before.
MIX = {
    "image": 26,
    "image-as-file": 8,
    "image-in-form": 6,
    "repeated": 18,
    "another-mode": 7,
    "own-schema": 5,
    "pdf": 4,
    "chat": 6,
    "chat-stream": 3,
    "stream": 6,
    "given-up": 4,
    "job": 5,
    "job-cancelled": 3,
    "batch": 3,
    "socket": 3,
    "corrupt": 4,
}

# What the web process answers by itself, and what is refused before there is an image.
API_SHOTS = (
    Shot("health", "GET", "/health", (200,)),
    Shot("ready", "GET", "/ready", (200,)),
    Shot("metrics", "GET", "/metrics", (200,)),
    Shot("models", "GET", "/v1/models", (200,)),
    Shot("usage", "GET", "/api/license/usage", (200,)),
    Shot("validate", "POST", "/api/license/validate", (200,), _JSON, b"{}"),
    Shot("jobs", "GET", "/api/vision/jobs", (200,)),
    Shot("openapi", "GET", "/openapi.json", (200,)),
    Shot("job-unknown", "GET", "/api/vision/jobs/nobody", (404,)),
    Shot("path-unknown", "GET", "/nowhere", (404,)),
    Shot("method-unknown", "DELETE", "/api/vision", (405,)),
    Shot("no-json", "POST", "/api/vision", (400,), _JSON, b'{"image": '),
    Shot("no-image", "POST", "/api/vision", (400,), _JSON, b"{}"),
    Shot("no-mode", "POST", "/api/vision", (422,), _JSON, b'{"image": "AAAA", "mode": "x"}'),
    Shot("chat-tools", "POST", "/v1/chat/completions", (400, 422), _JSON, b'{"tools": [{}]}'),
    Shot("no-media", "POST", "/api/vision", (415,), {"Content-Type": "text/css"}, b"a{}"),
)


class Tally:
    """Milliseconds by kind and name, and what was wrong."""

    def __init__(self) -> None:
        self.times: dict[tuple[Kind, str], list[float]] = defaultdict(list)
        self.errors: dict[tuple[Kind, str], int] = defaultdict(int)
        self.wrong: list[str] = []

    def note(self, kind: Kind, name: str, took_ms: float, wrong: str | None) -> None:
        """One answer; ``wrong`` says what of it was."""
        self.times[kind, name].append(took_ms)
        if wrong is not None:
            self.errors[kind, name] += 1
            if len(self.wrong) < _KEPT_WRONG:
                self.wrong.append(f"{name}: {wrong}")

    def note_hit(self, hit: Hit) -> None:
        """An answer of the open loop."""
        wrong = None if hit.right else f"status {hit.status}: {hit.body[:200]!r}"
        self.note("api", hit.shot.name, hit.took_ms, wrong)


class WrongAnswerError(Exception):
    """The message says what came instead of the right one."""


class Visits:
    """Makes them, one at a time for each caller; any number of callers."""

    def __init__(self, url: str, tally: Tally, chance: random.Random, max_tokens: int) -> None:
        self._url, self._tally, self._chance, self._tokens = url, tally, chance, max_tokens
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=_PATIENCE_SECONDS)
        self._number = 0
        self._done: list[dict[str, Any]] = []
        self._ways: dict[str, Callable[[], Awaitable[None]]] = {
            "image": self._image,
            "image-as-file": self._file,
            "image-in-form": self._form,
            "repeated": self._repeated,
            "another-mode": self._another_mode,
            "own-schema": self._own_schema,
            "pdf": self._pdf,
            "chat": self._chat,
            "chat-stream": self._chat_stream,
            "stream": self._stream,
            "given-up": self._given_up,
            "job": self._job,
            "job-cancelled": self._job_cancelled,
            "batch": self._batch,
            "socket": self._socket,
            "corrupt": self._corrupt,
        }

    async def one(self) -> None:
        """The next visit, by chance; nothing is raised, everything is noted."""
        (name,) = self._chance.choices(list(MIX), list(MIX.values()))
        await self._ways[name]()

    async def each(self) -> None:
        """Every way once."""
        for way in self._ways.values():
            await way()

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def _image(self) -> None:
        order = await self._order()
        async with self._noted("vision", "image"):
            _result(await self._post("/api/vision", order))
            self._done = [*self._done[-_RECENT:], order]

    async def _file(self) -> None:
        image, mode = await self._picture(), self._chance.choice(MODES)
        asked = {"mode": mode, "max_tokens": str(self._tokens)}
        headers = {"Content-Type": "image/png"}
        async with self._noted("vision", "image-as-file"):
            _result(
                await self._client.post("/api/vision", params=asked, content=image, headers=headers)
            )

    async def _form(self) -> None:
        image, fields = await self._picture(), {"max_tokens": str(self._tokens)}
        async with self._noted("vision", "image-in-form"):
            files = {"file": ("shot.png", image, "image/png")}
            _result(await self._client.post("/api/vision", data=fields, files=files))

    async def _repeated(self) -> None:
        if not self._done:
            return
        order = self._chance.choice(self._done)
        async with self._noted("api", "repeated"):
            result = _result(await self._post("/api/vision", order))
            if not result["meta"]["cache"]["result"]:
                raise WrongAnswerError("what was asked before is not kept")

    async def _another_mode(self) -> None:
        if not self._done:
            return
        order = {**self._chance.choice(self._done), "mode": self._chance.choice(MODES)}
        async with self._noted("vision", "another-mode"):
            _result(await self._post("/api/vision", order))

    async def _own_schema(self) -> None:
        order = await self._order(prompt="Which colour?", schema=_SCHEMA)
        del order["mode"]
        async with self._noted("vision", "own-schema"):
            _result(await self._post("/api/vision", order))

    async def _pdf(self) -> None:
        self._number += 1
        pages = (text_page(f"Page {page} of document {self._number}") for page in (1, 2))
        asked = {"mode": "ocr", "max_tokens": str(self._tokens)}
        headers = {"Content-Type": "application/pdf"}
        content = write_pdf(*pages)
        async with self._noted("vision", "pdf"):
            reply = await self._client.post(
                "/api/vision", params=asked, content=content, headers=headers
            )
            told = _json(reply, 200)
            if [page for page in told["pages"] if "result" not in page] or len(told["pages"]) != 2:
                raise WrongAnswerError(f"pages {told['pages']}")

    async def _chat(self) -> None:
        order = await self._chat_order()
        async with self._noted("vision", "chat"):
            if not _json(await self._post("/v1/chat/completions", order), 200)["choices"]:
                raise WrongAnswerError("no choice")

    async def _chat_stream(self) -> None:
        order = {**await self._chat_order(), "stream": True}
        async with self._noted("vision", "chat-stream"):
            lines = [line async for line in self._lines("/v1/chat/completions", order)]
            if "data: [DONE]" not in lines:
                raise WrongAnswerError(f"no end: {lines[-3:]}")

    async def _stream(self) -> None:
        order = await self._order(stream=True)
        async with self._noted("vision", "stream"):
            lines = [line async for line in self._lines("/api/vision", order)]
            if "event: result" not in lines:
                raise WrongAnswerError(f"no result: {lines[-3:]}")

    async def _given_up(self) -> None:
        order = await self._order(stream=True, cache=False, max_tokens=4 * self._tokens)
        patience = self._chance.uniform(0, 0.1)
        async with self._noted("vision", "given-up"):
            try:
                async with asyncio.timeout(patience):
                    async for _ in self._lines("/api/vision", order):
                        pass
            except TimeoutError:
                pass

    async def _job(self) -> None:
        job = await self._submit(self._tokens)
        if job is None:
            return
        path, end = f"/api/vision/jobs/{job}", time.monotonic() + _PATIENCE_SECONDS
        async with self._noted("vision", "job"):
            while (state := await self._look(path))["finished"] is None:
                if time.monotonic() > end:
                    raise WrongAnswerError("a job does not end")
                await asyncio.sleep(0.1)
            if state["status"] != "done":
                raise WrongAnswerError(f"job {state['status']}")
        async with self._noted("api", "job-removed"):
            _json(await self._client.delete(path), 200)

    async def _job_cancelled(self) -> None:
        job = await self._submit(4 * self._tokens)
        if job is None:
            return
        path = f"/api/vision/jobs/{job}"
        await asyncio.sleep(self._chance.uniform(0, 0.1))
        async with self._noted("api", "job-cancelled"):
            told = _json(await self._client.delete(path), 200)
        # Whoever cancels what still runs removes it once it has ended.
        for _ in range(100):
            if told.get("removed") or (await self._client.delete(path)).status_code == 404:
                return
            await asyncio.sleep(0.1)
        self._tally.note("api", "job-cancelled", 0.0, "it does not go away")

    async def _submit(self, tokens: int) -> str | None:
        order, ids = await self._order(max_tokens=tokens), list[str]()
        async with self._noted("api", "job-ordered"):
            ids.append(_json(await self._post("/api/vision/jobs", order), 202)["id"])
        return ids[0] if ids else None

    async def _look(self, path: str) -> Mapping[str, Any]:
        state: dict[str, Any] = {"finished": True, "status": "not told"}
        async with self._noted("api", "job-state"):
            state.update(_json(await self._client.get(path), 200))
        return state

    async def _batch(self) -> None:
        items = [{"image": (await self._order())["image"]} for _ in range(3)]
        order = {"items": [*items, {"image": "AAAA"}], "mode": "brief", "max_tokens": self._tokens}
        async with self._noted("vision", "batch"):
            told = _json(await self._post("/api/vision/batch", order), 200)["items"]
            if [one["status"] for one in told] != [200, 200, 200, 415]:
                raise WrongAnswerError(f"statuses {[one['status'] for one in told]}")

    async def _socket(self) -> None:
        file = await self._picture()
        orders = [{**await self._order(), "id": name} for name in ("one", "given up")]
        framed = {"id": "two", "image": "binary", "mode": "ocr", "max_tokens": self._tokens}
        place = f"{self._url.replace('http', 'ws', 1)}/ws/vision"
        async with self._noted("vision", "socket"):
            async with (
                asyncio.timeout(_PATIENCE_SECONDS),
                connect(place, proxy=None, max_size=None) as line,
            ):
                for order in (*orders, framed):
                    await line.send(json.dumps(order))
                await line.send(file)
                await line.send(json.dumps({"cancel": "given up"}))
                ends: dict[str, str] = {}
                while len(ends) < 3:
                    told = json.loads(await line.recv())
                    if told["event"] in ("result", "error"):
                        ends[told["id"]] = told["event"]
            if (ends["one"], ends["two"]) != ("result", "result"):
                raise WrongAnswerError(f"{ends}")

    async def _corrupt(self) -> None:
        image = await self._picture()
        broken = image[: len(image) // 2] if self._chance.random() < 0.5 else image[:40]
        async with self._noted("vision", "corrupt"):
            _json(
                await self._client.post(
                    "/api/vision", content=broken, headers={"Content-Type": "image/png"}
                ),
                400,
            )

    async def _order(self, **more: Any) -> dict[str, Any]:
        image = base64.b64encode(await self._picture()).decode()
        mode, seed = self._chance.choice(MODES), self._chance.choice((None, 7))
        order = {"image": image, "mode": mode, "max_tokens": self._tokens, **more}
        return order if seed is None else {**order, "seed": seed}

    async def _chat_order(self) -> dict[str, Any]:
        image = base64.b64encode(await self._picture()).decode()
        content = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
        ]
        messages = [{"role": "user", "content": content}]
        return {"model": "default", "messages": messages, "max_tokens": self._tokens}

    async def _picture(self) -> bytes:
        self._number += 1
        size = self._chance.choice(_SIZES)
        return await asyncio.to_thread(draw, *size, self._number)

    async def _post(self, path: str, order: Mapping[str, Any]) -> httpx.Response:
        return await self._client.post(path, json=order)

    async def _lines(self, path: str, order: Mapping[str, Any]) -> AsyncIterator[str]:
        async with self._client.stream("POST", path, json=order) as reply:
            if reply.status_code != 200:
                raise WrongAnswerError(
                    f"status {reply.status_code}: {(await reply.aread())[:200]!r}"
                )
            async for line in reply.aiter_lines():
                yield line

    @asynccontextmanager
    async def _noted(self, kind: Kind, name: str) -> AsyncIterator[None]:
        """The block's time, and whether what came was right."""
        began, wrong = time.perf_counter(), None
        try:
            yield
        except (
            WrongAnswerError,
            httpx.HTTPError,
            OSError,
            WebSocketException,
            LookupError,
        ) as error:
            wrong = f"{type(error).__name__} {error}"
        self._tally.note(kind, name, (time.perf_counter() - began) * 1000, wrong)


def draw(width: int, height: int, number: int) -> bytes:
    """A picture that nobody has seen before."""
    image = Image.new("RGB", (width, height), "#f5f7fa")
    pen = ImageDraw.Draw(image)
    pen.text((5, 5), f"{width} by {height}", fill="#1f2933")
    pen.text((5, 25), f"picture {number}", fill="#1f2933")
    data = io.BytesIO()
    image.save(data, "PNG", compress_level=1)
    return data.getvalue()


def _result(reply: httpx.Response) -> dict[str, Any]:
    told = _json(reply, 200)
    if "meta" not in told:
        raise WrongAnswerError(f"no result: {reply.text[:200]}")
    return told


def _json(reply: httpx.Response, status: int) -> dict[str, Any]:
    if reply.status_code != status:
        raise WrongAnswerError(f"status {reply.status_code}, not {status}: {reply.text[:200]}")
    told: dict[str, Any] = reply.json()
    return told
