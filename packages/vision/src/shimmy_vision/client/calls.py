"""Requests as values: what both clients send, built in one place and sent by neither."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, TypedDict
from urllib.parse import quote

from shimmy_vision.client.results import Mode

ImageSource: TypeAlias = bytes | bytearray | memoryview | str | Path | IO[bytes]
"""Bytes of a file, its path, or an open one. Never a URL: those are ``analyze_url``'s."""

_EVENTS = "text/event-stream"
# As many bytes as the server looks at to tell a PDF.
_HEAD = 64


class Options(TypedDict, total=False):
    """What to find, and how; every one may be left out.

    ``schema`` is the JSON Schema that an own answer must follow; ``pages`` (like ``1-3,7,10-``)
    and ``dpi`` are for PDFs, ``viewport`` (like ``1280x800``), ``scale`` and ``full_page`` for web
    pages; ``cache`` False asks the model anew; ``slices`` ``all`` has blank ones looked at, too;
    ``timeout_ms`` bounds waiting and work together.
    """

    mode: Mode
    prompt: str
    schema: Mapping[str, Any]
    pages: str
    dpi: int
    viewport: str
    scale: float
    full_page: bool
    max_tokens: int
    seed: int
    raw: bool
    cache: bool
    slices: Literal["auto", "all"]
    timeout_ms: int


class BatchItem(Options, total=False):
    """One of a batch: exactly one of ``image`` and ``url``; ``id`` comes back with the result."""

    image: ImageSource
    url: str
    id: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request; ``streamed`` ones are answered with events.

    ``also`` are statuses besides success whose bodies are answers and no errors. ``key`` is the
    same for each try of this call: its pages count once, however many hosts it is sent to.
    """

    method: str
    path: str
    json: Any = None
    form: Mapping[str, str] = field(default_factory=dict)
    file: bytes | None = field(default=None, repr=False)
    params: Mapping[str, str] = field(default_factory=dict)
    streamed: bool = False
    also: frozenset[int] = frozenset()
    key: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False, compare=False)

    def is_answered(self, status: int) -> bool:
        """Whether a response of ``status`` is an answer rather than an error."""
        return 200 <= status < 300 or status in self.also

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of httpx's ``build_request``."""
        given: dict[str, Any] = {"method": self.method, "url": self.path}
        headers = {"Idempotency-Key": self.key} if self.method == "POST" else {}
        if self.streamed:
            headers["Accept"] = _EVENTS
        if headers:
            given["headers"] = headers
        if self.params:
            given["params"] = self.params
        if self.file is not None:
            given["files"] = {"file": ("file", self.file, "application/octet-stream")}
            given["data"] = self.form
        elif self.json is not None:
            given["json"] = self.json
        return given


READY = Call("GET", "/ready", also=frozenset({503}))
MODELS = Call("GET", "/v1/models")
JOBS = Call("GET", "/api/vision/jobs")
USAGE = Call("GET", "/api/license/usage")
_FIRST_LOOK, _RAREST_LOOK = 0.1, 2.0


def image_analysis(image: ImageSource, options: Options) -> Call:
    """The analysis of one image. Raises ValueError for a PDF, before anything is counted."""
    call = _file_analysis(image, options)
    if b"%PDF-" in (call.file or b"")[:_HEAD]:
        raise ValueError("A PDF has pages: use analyze_document.")
    return call


def url_analysis(url: str, options: Options, *, streamed: bool = False) -> Call:
    """The analysis of what is found at a URL."""
    return Call("POST", "/api/vision", json={"url": url, **options}, streamed=streamed)


def stream_of(image: ImageSource | None, url: str | None, options: Options) -> Call:
    """Either, with events. Raises ValueError unless exactly one is named."""
    if url is not None and image is None:
        return url_analysis(url, options, streamed=True)
    if image is not None and url is None:
        return _file_analysis(image, options, streamed=True)
    raise ValueError("Name either an image or a url.")


def job_order(
    image: ImageSource | None, url: str | None, callback_url: str | None, options: Options
) -> Call:
    """The same, as a job that is fetched later. Raises ValueError as ``stream_of``."""
    call = stream_of(image, url, options)
    told = {} if callback_url is None else {"callback_url": callback_url}
    sent = None if call.json is None else {**call.json, **told}
    return Call("POST", JOBS.path, json=sent, form={**call.form, **told}, file=call.file)


def validation(refresh: bool) -> Call:
    """Whether the licence holds, as the licence server says now, or as it is kept."""
    return Call("POST", "/api/license/validate", json={"refresh": refresh})


def job_state(job_id: str) -> Call:
    """How a job is."""
    return Call("GET", _job_path(job_id))


def job_stop(job_id: str) -> Call:
    """Its end."""
    return Call("DELETE", _job_path(job_id))


def pause_before_look(number: int) -> float:
    """Seconds before a job is looked at for the ``number``th time, from 0; ever rarer."""
    return min(_RAREST_LOOK, _FIRST_LOOK * 1.5 ** min(number, 20))


def _job_path(job_id: str) -> str:
    return f"{JOBS.path}/{quote(job_id, safe='')}"


def batch(items: Iterable[BatchItem], options: Options) -> Call:
    """Several at once; ``options`` hold for whatever an item does not say itself."""
    sent = [
        {**item, "image": base64.b64encode(read_image(item["image"])).decode()}
        if "image" in item
        else {**item}
        for item in items
    ]
    return Call("POST", "/api/vision/batch", json={"items": sent, **options})


def read_image(image: ImageSource) -> bytes:
    """Its bytes. Raises OSError where a file cannot be read."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, Path)):
        if str(image).lower().startswith(("http:", "https:")):
            raise ValueError("That is a URL, not a file: use analyze_url or stream(url=...).")
        return Path(image).read_bytes()
    return image.read()


def _file_analysis(image: ImageSource, options: Options, *, streamed: bool = False) -> Call:
    form = {name: _as_text(value) for name, value in options.items() if value is not None}
    return Call("POST", "/api/vision", form=form, file=read_image(image), streamed=streamed)


def _as_text(value: Any) -> str:
    """For a form's field."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, Mapping) else str(value)
