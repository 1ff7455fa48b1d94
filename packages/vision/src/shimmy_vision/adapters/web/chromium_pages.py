"""The ``PageCamera`` port: Chromium, found on this machine, behind a guarded line.

Playwright and its browser live in a process of their own, with an empty folder as home and nothing
of this process's environment but where programs are. Whatever happens there, both are gone when
the capture is over: the processes are killed by their groups, the folder is removed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from shimmy_vision.adapters.web.guarded_line import GuardedLine, Refusal
from shimmy_vision.adapters.web.process_traces import end_processes, kill_group
from shimmy_vision.adapters.web.system_names import Resolve, resolve_by_system
from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.dom_elements import read_elements
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import Allowed, check_url
from shimmy_vision.domain.web.viewport import check_viewport
from shimmy_vision.errors import DeadlineError, ImageError, LibraryError, ShimmyError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.page_capture import PageCapture, PageOrder

Report: TypeAlias = dict[str, Any]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_LONGEST_REPORT = 64_000_000
_LONGEST_TITLE, _MOST_NOTES = 500, 20
_PNG = b"\x89PNG\r\n\x1a\n"
_ERRORS = "errors.txt"
_LONGEST_TEMP = 40  # and 15 for our folder, 46 for Chromium's socket, of 103


class ChromiumPages:
    """``allow`` is the operator's: nothing in an order can widen it. ``offline`` forbids all."""

    def __init__(
        self, allow: AllowList, *, resolve: Resolve = resolve_by_system, offline: bool = False
    ) -> None:
        self._allow, self._resolve, self._offline = allow, resolve, offline

    def capture(self, order: PageOrder, cancellation: Cancellation) -> PageCapture:
        cancellation.check()
        if self._offline:
            raise UsageError(
                "url-offline",
                "SHIMMY_OFFLINE forbids the network, so no URL is fetched.",
                hint="Unset SHIMMY_OFFLINE, or analyse a screenshot of the page.",
            )
        _check_viewport(order)
        target = check_url(order.url, self._allow)
        if isinstance(target, Refused):
            raise _refused_url(target.reason)
        browser = _find_browser(order.browser)
        with (
            _own_folder() as folder,
            GuardedLine(self._allow, order.limits.visit, resolve=self._resolve) as line,
        ):
            report = _visit(_written(order, target, browser, folder, line), folder, cancellation)
            _check_report(report, target, line)
            return _read_capture(report, folder, order, line)


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder, gone at the end with every process that was started for it."""
    # Chromium keeps a socket in there, and the system bounds the length of a socket's name.
    usual = tempfile.gettempdir()
    # What is made in it is made by tempfile, under a name that nobody can guess.
    short = usual if len(os.path.realpath(usual)) <= _LONGEST_TEMP else "/tmp"  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="shimmy-", dir=short)).resolve()
    try:
        yield folder
    finally:
        end_processes(str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _written(
    order: PageOrder, target: Allowed, browser: str, folder: Path, line: GuardedLine
) -> bytes:
    """The order as ``chromium_visit`` reads it."""
    limits = order.limits
    fields = {
        "url": target.url,
        "folder": str(folder),
        "browser": browser,
        # Chromium's sandbox does not work for root, who needs none to do harm anyway.
        "sandbox": not (hasattr(os, "geteuid") and os.geteuid() == 0),
        "line": {
            "server": f"http://{line.address}",
            "username": line.username,
            "password": line.password,
        },
        "width": order.width,
        "height": order.height,
        "device_scale": order.device_scale,
        "full_page": order.full_page,
        "load_seconds": limits.load_seconds,
        "idle_seconds": limits.idle_seconds,
        "font_seconds": limits.font_seconds,
        "max_width": limits.max_width,
        "max_height": limits.max_height,
        "max_pixels": limits.max_pixels,
        "total_seconds": limits.total_seconds,
    }
    return json.dumps(fields).encode() + b"\n"


def _visit(order: bytes, folder: Path, cancellation: Cancellation) -> Report:
    """Run the visit to its end, or to the end of time or patience."""
    seconds = json.loads(order)["total_seconds"]
    with (
        (folder / _ERRORS).open("wb") as errors,
        subprocess.Popen(
            (sys.executable, "-P", "-m", "shimmy_vision.adapters.web.chromium_visit"),
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        ) as child,
        cancellation.when_cancelled(lambda: kill_group(child.pid)),
    ):
        try:
            _hand_over(child, order)
            child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                "page-timeout",
                f"The page was not captured within {seconds:g} s.",
                hint="Allow more time, or capture the viewport only.",
                retryable=True,
            ) from error
        finally:
            end_processes(str(folder), child.pid)
    cancellation.check()
    return _read_report(folder)


def _hand_over(child: subprocess.Popen[bytes], order: bytes) -> None:
    """Its input stays open: the child ends with it, should this process be killed."""
    if child.stdin is not None:
        try:
            child.stdin.write(order)
            child.stdin.flush()
        except BrokenPipeError:
            return  # It is gone already; what it left tells why.


def _environment(folder: Path) -> dict[str, str]:
    home = str(folder)
    return {
        "PATH": os.pathsep.join(os.get_exec_path()),
        "HOME": home,
        "TMPDIR": home,
        "XDG_CONFIG_HOME": home,
        "XDG_CACHE_HOME": home,
        "XDG_DATA_HOME": home,
        "XDG_RUNTIME_DIR": home,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _read_report(folder: Path) -> Report:
    path = folder / "report.json"
    if not path.is_file() or path.stat().st_size > _LONGEST_REPORT:
        said = (folder / _ERRORS).read_text(errors="replace").strip().splitlines()
        raise _failed_browser(said[-1] if said else "it ended without a word")
    read = json.loads(path.read_text())
    return read if isinstance(read, dict) else {}


def _check_report(report: Report, target: Allowed, line: GuardedLine) -> None:
    """Raise what went wrong, in the words of who knows best: the guard before the browser."""
    failure = report.get("failure") or {}
    code, said = str(failure.get("code", "")), str(failure.get("said", ""))
    reached = str(report.get("final_url", "")).startswith(("http://", "https://"))
    if not code and reached and not report.get("by_line"):
        return
    if line.refusals and code in ("", "page-unreachable"):
        raise _refused_page(line.refusals[-1], target)
    if line.exceeded:
        raise ImageError("page-too-large", f"The page takes {line.exceeded}.")
    if report.get("by_line"):
        code, said = "page-unreachable", "it does not answer"
    raise _translate(code, said, target.host)


def _refused_page(refusal: Refusal, target: Allowed) -> ShimmyError:
    if (refusal.host, refusal.port) == (target.host, target.port):
        return _refused_url(refusal.reason)
    return ImageError("page-refused", f"The page leads where it may not: {refusal.reason}.")


def _translate(code: str, said: str, host: str) -> ShimmyError:
    match code:
        case "browser-failed":
            return _failed_browser(said)
        case "page-unreachable":
            return ImageError(
                "page-unreachable",
                f"The page at {host} cannot be reached: {said}.",
                hint="Check the URL and the network.",
                retryable=True,
            )
        case "page-not-shown" | "":
            shown = said or "it went on to something that is no web page"
            return ImageError("page-not-shown", f"The URL shows no page: {shown}.")
        case _:
            return ImageError("page-crashed", f"The page could not be captured: {said}.")


def _failed_browser(said: str) -> LibraryError:
    return LibraryError(
        "browser-failed",
        f"The browser did not work: {said[:300]}",
        hint="Run it by hand to see why: chromium --headless --dump-dom about:blank",
    )


def _read_capture(report: Report, folder: Path, order: PageOrder, line: GuardedLine) -> PageCapture:
    png = (folder / "page.png").read_bytes()
    if png[:8] != _PNG or len(png) < 24:
        raise ImageError("page-crashed", "The page could not be captured: no picture came.")
    width, height = struct.unpack(">II", png[16:24])
    return PageCapture(
        png=png,
        width=width,
        height=height,
        device_scale=order.device_scale,
        status=report.get("status") or None,
        title=" ".join(str(report.get("title", "")).split())[:_LONGEST_TITLE],
        final_url=str(report["final_url"]),
        elements=read_elements(report.get("elements"), width, height),
        notes=tuple(_notes(report, line)),
    )


def _notes(report: Report, line: GuardedLine) -> Iterator[str]:
    status = report.get("status")
    if isinstance(status, int) and status >= 400:
        yield f"the page came with HTTP {status}"
    yield from [str(note)[:200] for note in report.get("notes", [])][:_MOST_NOTES]
    if line.exceeded:
        yield f"the page takes {line.exceeded}; the rest was not loaded"
    reasons = dict.fromkeys(refusal.reason for refusal in line.refusals)
    if reasons:
        yield f"{len(line.refusals)} requests were refused: {'; '.join(list(reasons)[:5])}"


def _refused_url(reason: str) -> UsageError:
    return UsageError("url-refused", f"The URL is refused: {reason}.")


def _check_viewport(order: PageOrder) -> None:
    refused = check_viewport(order.width, order.height, order.device_scale)
    if refused is not None:
        raise UsageError("viewport-refused", f"The page cannot be seen: {refused.reason}.")


def _find_browser(named: str | None) -> str:
    """Playwright first: without it a browser is of no use."""
    if importlib.util.find_spec("playwright") is None:
        raise LibraryError(
            "playwright-missing",
            "Web pages need Playwright, which is not installed.",
            hint="pip install 'shimmy-vision[web]'. The single file sees no web pages: install "
            "that package beside it.",
        )
    wanted = _BROWSERS if named is None else (named,)
    found = next((path for path in map(shutil.which, wanted) if path), None)
    if found is None:
        raise LibraryError(
            "browser-missing",
            "Web pages need Chromium, which was not found: " + ", ".join(wanted) + ".",
            hint="Debian: apt install chromium    macOS: brew install --cask chromium",
        )
    return str(Path(found).absolute())
