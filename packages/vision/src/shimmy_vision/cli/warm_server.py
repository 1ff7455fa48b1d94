"""``shimmy vision`` on a running ``shimmy serve``: the same results without loading a model.

Asked through a Unix socket of the same user, and only where it was started with the same settings
by the same version. Everything here is the standard library's, so that a command that finds a
server starts in no time.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shimmy_vision import __version__
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    CustomQuestion,
    DocumentRequest,
    PageView,
    StandardQuestion,
)
from shimmy_vision.errors import (
    BusyError,
    DeadlineError,
    ImageError,
    LibraryError,
    ShimmyError,
    error_of_kind,
)
from shimmy_vision.ports.analyst import JobListener, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import (
    DocumentListener,
    PageProgress,
    Progress,
    ProgressListener,
    Written,
)
from shimmy_vision.settings import Settings, digest_settings

_KNOCK_SECONDS = 1.0
_BUSY_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    data: dict[str, Any]


def find_server(
    settings: Settings, args: argparse.Namespace, page_seconds: float | None
) -> WarmServer | None:
    """The running server that would do what this command would, if there is one."""
    if args.no_server or _wants_its_own(args) or not hasattr(socket, "AF_UNIX"):
        return None
    path = settings.local_socket
    if not _is_ours(path):
        return None
    try:
        offer = _ask_offer(path)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    wanted = {"version": __version__, "settings": digest_settings(settings), "stopping": False}
    if {name: offer.get(name) for name in wanted} != wanted:
        return None
    if args.model is not None and args.model != offer.get("model"):
        return None
    if not _covers(offer, args):
        return None
    return WarmServer(path, page_seconds)


def _wants_its_own(args: argparse.Namespace) -> bool:
    """Whether it names what a server has decided for everybody."""
    own = (args.threads, args.gpu_layers, args.verify, args.license, args.machine_id)
    return own != (0, -1, False, None, None)


def _covers(offer: Mapping[str, Any], args: argparse.Namespace) -> bool:
    needed = {
        "max_image_bytes": args.max_image_mb * 1_000_000,
        "max_document_bytes": args.max_pdf_mb * 1_000_000,
        "max_dimension": args.max_dim,
    }
    same = all(offer.get(name) == value for name, value in needed.items())
    return same and (args.max_tokens is None or args.max_tokens <= offer.get("max_tokens", 0))


def _is_ours(path: Path) -> bool:
    """A socket of this user in a folder where nobody else can put one."""
    try:
        folder, file = path.parent.lstat(), path.lstat()
    except OSError:
        return False
    mine = {folder.st_uid, file.st_uid} == {os.getuid()}
    return mine and stat.S_ISSOCK(file.st_mode) and not folder.st_mode & 0o022


class _Line(http.client.HTTPConnection):
    """HTTP over a Unix socket, to a process of this user."""

    def __init__(self, path: Path, timeout: float | None = None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        # ``sock`` is given up as soon as an answer has begun.
        self.wire: socket.socket | None = None

    def connect(self) -> None:
        self.sock = self.wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
        if hasattr(socket, "SO_PEERCRED"):
            told = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if struct.unpack("3i", told)[1] != os.getuid():
                raise PermissionError("another user's process answers")


def _ask_offer(path: Path) -> dict[str, Any]:
    with closing(_Line(path, _KNOCK_SECONDS)) as line:
        line.request("GET", "/local")
        response = line.getresponse()
        told = json.loads(response.read())
    return told if response.status == 200 and isinstance(told, dict) else {}


class WarmServer:
    """Does what ``wiring.Vision`` does, elsewhere."""

    def __init__(self, path: Path, page_seconds: float | None) -> None:
        self._path, self._page_seconds = path, page_seconds

    def __call__(
        self, data: bytes, request: AnalysisRequest, switch: Cancellation, hear: ProgressListener
    ) -> dict[str, Any]:
        """``analyze_image``."""
        order = {**_options(request), "image": base64.b64encode(data).decode()}
        for event in self._events(order, lambda: switch):
            if event.name == "result":
                return event.data
            progress = _progress(event)
            if progress is not None:
                hear(progress)
        raise _lost()

    def pages(
        self,
        data: bytes,
        request: DocumentRequest,
        switches: Callable[[], Cancellation],
        hear: DocumentListener,
    ) -> Iterator[PageOutcome]:
        """``analyze_document``; each page has its time there."""
        order = {**_paged(request), "image": base64.b64encode(data).decode()}
        for event in self._events({**order, **self._time()}, switches):
            outcome = _told(event, hear)
            if isinstance(outcome, PageOutcome):
                yield outcome

    def at_url(
        self,
        url: str,
        request: DocumentRequest,
        view: PageView,
        switches: Callable[[], Cancellation],
        hear: JobListener,
    ) -> Iterator[dict[str, Any] | PageOutcome]:
        """``analyze_url``."""
        seen = {
            "viewport": f"{view.width}x{view.height}",
            "scale": view.device_scale,
            "full_page": view.full_page,
        }
        order = {**_paged(request), **seen, "url": url}
        for event in self._events({**order, **self._time()}, switches):
            outcome = _told(event, hear)
            if outcome is not None:
                yield outcome

    def _time(self) -> dict[str, Any]:
        seconds = self._page_seconds
        return {} if seconds is None else {"timeout_ms": round(seconds * 1000)}

    def _events(
        self, order: dict[str, Any], switches: Callable[[], Cancellation]
    ) -> Iterator[_Event]:
        """Everything the server tells until the end. Raises what it raised there."""
        while True:
            try:
                yield from self._attempt(order, switches)
            except BusyError:
                # Only ever the first word. A command waits for its turn, as on a busy machine.
                switches().check()
                time.sleep(_BUSY_PAUSE_SECONDS)
            else:
                return

    def _attempt(
        self, order: dict[str, Any], switches: Callable[[], Cancellation]
    ) -> Iterator[_Event]:
        with closing(_Line(self._path)) as line:
            with _cut_by(switches(), line):
                events = _parse(_begin(line, {**order, "stream": True}))
            while True:
                with _cut_by(switches(), line, paged="timeout_ms" in order):
                    event = next(events, None)
                if event is None:
                    raise _lost()
                if event.name == "error":
                    raise _error_of(event.data)
                if event.name == "done":
                    return
                yield event
                if event.name == "result":
                    return


def _begin(line: _Line, order: dict[str, Any]) -> http.client.HTTPResponse:
    """The answer's beginning. Raises what the server refuses the order with."""
    body = json.dumps(order).encode()
    line.request("POST", "/api/vision", body, {"Content-Type": "application/json"})
    response = line.getresponse()
    if response.status != http.client.OK:
        raise _error_of(json.loads(response.read()))
    return response


class _cut_by:  # noqa: N801 - used as a function would be
    """While entered, the switch hangs up; what then goes wrong is the switch's own error."""

    def __init__(self, switch: Cancellation, line: _Line, *, paged: bool = False) -> None:
        self._switch, self._line, self._paged = switch, line, paged
        self._watch = switch.when_cancelled(self._hang_up)

    def _hang_up(self) -> None:
        # A page's own time is kept by the server, which goes on with the next one.
        if self._line.wire is not None and not self._spares():
            with suppress(OSError):
                self._line.wire.shutdown(socket.SHUT_RDWR)

    def _spares(self) -> bool:
        return self._paged and self._switch.reason == "deadline"

    def __enter__(self) -> None:
        self._watch.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        self._watch.__exit__(kind, error, trace)
        if not self._spares():
            self._switch.check()
        if kind is not None and issubclass(kind, (OSError, ValueError, http.client.HTTPException)):
            raise _lost() from error


def _lost() -> LibraryError:
    return LibraryError(
        "server-lost",
        "The local server went away while it worked on this.",
        hint="Try again, or do without it: shimmy vision --no-server",
        retryable=True,
    )


def _parse(response: http.client.HTTPResponse) -> Iterator[_Event]:
    """Server-sent events, as ours writes them: a name and one line of data."""
    name = ""
    for line in response:
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            yield _Event(name, json.loads(value))


def _options(request: AnalysisRequest) -> dict[str, Any]:
    question, limits = request.question, request.limits
    match question:
        case StandardQuestion(mode=mode):
            asked: dict[str, Any] = {"mode": mode}
        case CustomQuestion(prompt=prompt, schema=schema):
            asked = {"prompt": prompt, "schema": schema}
        case _:
            raise TypeError("the command line asks no other questions")
    wanted = {**asked, "max_tokens": limits.max_tokens, "seed": limits.seed}
    given = {name: value for name, value in wanted.items() if value is not None}
    flags = {"raw": request.raw, "cache": request.cache, "slices": request.slices}
    return {**given, **flags}


def _paged(request: DocumentRequest) -> dict[str, Any]:
    ranges = ((one.first, one.last) for one in request.pages)
    said = [f"{first}-{last or ''}" for first, last in ranges]
    dpi = {} if request.dpi is None else {"dpi": request.dpi}
    return {**_options(request.analysis), **dpi, "pages": ",".join(said)}


def _progress(event: _Event) -> Progress | Written | None:
    data = event.data
    if event.name == "progress" and "stage" in data:
        return Progress(data["stage"], data["done"], data["total"])
    if event.name == "written":
        return Written(data["answer"], data["text"])
    return None


def _told(event: _Event, hear: Callable[[Any], None]) -> dict[str, Any] | PageOutcome | None:
    """An outcome, or None for what ``hear`` was told."""
    data = event.data
    match event.name:
        case "result":
            return data
        case "page" if "error" in data:
            error = _error_of(data)
            if not isinstance(error, (ImageError, DeadlineError)):
                raise error
            return PageOutcome(data["page"], None, error)
        case "page":
            return PageOutcome(data["page"], data["result"], None)
        case _:
            pass
    progress = _progress(event)
    if isinstance(progress, Progress) and "pages" in data:
        hear(PageProgress(data["page"], data["pages_done"], data["pages"], progress))
    elif progress is not None and "page" not in data:
        hear(progress)
    return None


def _error_of(data: Mapping[str, Any]) -> ShimmyError:
    error = data["error"]
    return error_of_kind(
        error["type"],
        error["code"],
        error["message"],
        hint=error["hint"],
        retryable=error["retryable"],
    )
