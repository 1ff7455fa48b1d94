"""However a capture ends, it ends soon, and nothing of it is left running or lying about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from web_places import Site, need_chromium, serve_site

from shimmy_vision.adapters.web.chromium_pages import ChromiumPages
from shimmy_vision.domain.web.allow_list import read_allow_list
from shimmy_vision.errors import DeadlineError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.page_capture import PageLimits, PageOrder

pytestmark = pytest.mark.slow

BUSY = "<title>busy</title><script>setTimeout(() => { while (true); }, 0)</script>x"


@pytest.fixture
def browser() -> str:
    return need_chromium()


@pytest.fixture
def site() -> Iterator[Site]:
    held = threading.Event()
    with serve_site({"/": "<title>x</title>x", "/busy": BUSY}) as served:
        served.pages["/never"] = lambda _handler: _hold(held)
        yield served
        held.set()


def _hold(held: threading.Event) -> None:
    held.wait(30)


@pytest.fixture
def own_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; what is made here is of this test. Its name is a short one."""
    with tempfile.TemporaryDirectory(prefix="end-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def _processes(folder: Path) -> list[str]:
    """Command lines of whoever works for ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if any(str(folder) in word for word in words) or process.cwd().startswith(str(folder)):
                found.append(" ".join(words)[:200])
        except psutil.Error:
            continue
    return found


def _nothing_left(folder: Path) -> None:
    assert _processes(folder) == []
    assert list(folder.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "guarded-line"]


def _wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _order(site: Site, browser: str, path: str, seconds: float = 60.0) -> PageOrder:
    limits = PageLimits(load_seconds=30.0, total_seconds=seconds)
    return PageOrder(site.url + path, browser=browser, limits=limits)


def test_nothing_is_left_of_a_capture_that_went_well(
    site: Site, browser: str, own_tmp: Path
) -> None:
    ChromiumPages(read_allow_list([site.place])).capture(_order(site, browser, "/"), Cancellation())
    _nothing_left(own_tmp)


def test_a_long_name_of_the_folder_for_temporary_files_does_no_harm(
    site: Site, browser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    camera = ChromiumPages(read_allow_list([site.place]))
    assert camera.capture(_order(site, browser, "/"), Cancellation()).title == "x"


@pytest.mark.parametrize("path", ["/never", "/busy"])
def test_stopping_kills_the_browser_at_once(
    site: Site, browser: str, own_tmp: Path, path: str
) -> None:
    cancellation, ended = Cancellation(), []

    def capture() -> None:
        with pytest.raises(StoppedError):
            ChromiumPages(read_allow_list([site.place])).capture(
                _order(site, browser, path), cancellation
            )
        ended.append(time.monotonic())

    thread = threading.Thread(target=capture)
    thread.start()
    _wait_for(lambda: path in site.seen)
    time.sleep(0.3)
    assert any("--type=renderer" in words or "chromium" in words for words in _processes(own_tmp))
    begun = time.monotonic()
    cancellation.cancel("interrupted")
    thread.join(60)
    # A fraction of a second; nothing else would end it for half a minute.
    assert ended[0] - begun < 20
    _nothing_left(own_tmp)


@pytest.mark.parametrize("moment", [0.0, 0.2, 0.5, 0.9])
def test_stopping_while_it_starts_leaves_nothing(
    site: Site, browser: str, own_tmp: Path, moment: float
) -> None:
    cancellation = Cancellation()
    timer = threading.Timer(moment, cancellation.cancel, ("interrupted",))
    timer.start()
    with pytest.raises(StoppedError):
        ChromiumPages(read_allow_list([site.place])).capture(
            _order(site, browser, "/never"), cancellation
        )
    timer.join()
    time.sleep(0.3)
    _wait_for(lambda: not _processes(own_tmp) and not list(own_tmp.iterdir()))
    _nothing_left(own_tmp)


@pytest.mark.parametrize("path", ["/never", "/busy"])
def test_the_time_for_everything_is_limited(
    site: Site, browser: str, own_tmp: Path, path: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(DeadlineError) as ended:
        ChromiumPages(read_allow_list([site.place])).capture(
            _order(site, browser, path, seconds=3.0), Cancellation()
        )
    assert ended.value.code == "page-timeout"
    # Loading alone may take half a minute.
    assert time.monotonic() - begun < 20
    _nothing_left(own_tmp)


_PROGRAM = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from shimmy_vision.adapters.web.chromium_pages import ChromiumPages
from shimmy_vision.domain.web.allow_list import read_allow_list
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.page_capture import PageOrder
ChromiumPages(read_allow_list([sys.argv[2]])).capture(
    PageOrder(f"http://{sys.argv[2]}/never", browser=sys.argv[3]), Cancellation())
"""


def test_the_browser_ends_with_a_process_that_is_killed(
    site: Site, browser: str, own_tmp: Path
) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(own_tmp), site.place, browser]
    with subprocess.Popen(command, env={**os.environ}) as program:
        _wait_for(lambda: "/never" in site.seen)
        assert _processes(own_tmp)
        program.send_signal(signal.SIGKILL)
    _wait_for(lambda: not _processes(own_tmp) and not list(own_tmp.iterdir()))
