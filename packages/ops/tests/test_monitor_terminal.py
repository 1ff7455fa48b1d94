"""The terminal's dashboard, driven by keys; what fails is shown where it belongs."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import empty_picture, full_picture, unknown_picture
from textual.pilot import Pilot
from textual.widgets import HelpPanel, Static

from shimmy_ops.cli.dashboard.screen import Dashboard
from shimmy_ops.cli.dashboard.watching import print_lines
from shimmy_ops.cli.exit_codes import INTERRUPTED
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.errors import DeskError

NEVER = 3600.0
SUPPORT = Path(__file__).parent / "support"


class Source:
    """A picture a call, or an error; asked windows in order. ``gate`` holds calls up."""

    def __init__(self, *found: Picture | Exception) -> None:
        self.found = list(found)
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, window: str) -> Picture:
        self.asked.append(window)
        self.threads.add(threading.get_ident())
        assert self.gate.wait(60)
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        return found


def drive(
    source: Source,
    steps: Callable[[Dashboard, Pilot[int]], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
) -> Dashboard:
    async def go() -> Dashboard:
        app = Dashboard(source, NEVER)
        async with app.run_test(size=size) as pilot:
            await steps(app, pilot)
        return app

    return asyncio.run(go())


async def until(pilot: Pilot[int], holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came"
        await pilot.pause(0.01)


def shown(app: Dashboard) -> str:
    """All text on the screen, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


def fits(app: Dashboard, most: int) -> bool:
    """Whether all panels are there, and none is wider than the terminal."""
    panels = ("objectives", "revenue", "support")
    return all(0 < app.query_one(f"#{name}").size.width <= most for name in panels)


def test_any_picture_fits_any_terminal() -> None:
    source = Source(full_picture(), empty_picture(), unknown_picture())

    async def look(app: Dashboard, pilot: Pilot[int]) -> None:
        for number, size in enumerate([(80, 24), (140, 40), (20, 6)], start=1):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda n=number: len(source.asked) == n and not app._sampling)  # type: ignore[misc]
            await until(pilot, lambda most=size[0]: fits(app, most))  # type: ignore[misc]
            await pilot.press("r")

    drive(source, look)


def test_what_is_urgent_is_on_the_first_screen_of_a_small_terminal() -> None:
    async def look(app: Dashboard, pilot: Pilot[int]) -> None:
        for said in (
            "page: The error budget", "LIVE: real money",
            "✗ 1 objective missed, 2 alerts, 2 alarms", "✗ Mail leaves: missed",
            "? Licences not as paid", "✓ Requests that fail",
        ):  # fmt: skip
            await until(pilot, lambda said=said: said in shown(app))  # type: ignore[misc]
        words = {"Keygen", "did", "not", "answer", "1h:14.2", "6h:3.1", "3d:0.9", "hour"}
        await until(pilot, lambda: words <= set(re.findall(r"[\w.:]+", shown(app))))

    drive(Source(full_picture()), look)


def test_a_profile_without_real_money_looks_otherwise() -> None:
    async def look(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: app.query_one("#profile").has_class("live"))
        await pilot.press("r")
        await until(pilot, lambda: "sandbox: no real money" in shown(app))
        assert not app.query_one("#profile").has_class("live")

    drive(Source(full_picture("live"), full_picture("sandbox")), look)


def test_keys_sample_turn_the_window_help_and_leave() -> None:
    source = Source(full_picture())

    async def press(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: len(source.asked) == 1 and not app._sampling)
        await pilot.press("r")
        await until(pilot, lambda: len(source.asked) == 2 and not app._sampling)
        for count in range(3, 7):
            await pilot.press("t")
            await until(pilot, lambda n=count: len(source.asked) == n and not app._sampling)  # type: ignore[misc]
        await pilot.press("question_mark")
        await until(pilot, lambda: bool(app.screen.query(HelpPanel)))
        await pilot.press("question_mark")
        await until(pilot, lambda: not app.screen.query(HelpPanel))
        await pilot.press("q")

    app = drive(source, press)
    assert source.asked == ["24h", "24h", "7d", "30d", "1h", "24h"]
    assert threading.get_ident() not in source.threads
    assert app.return_code == 0


def test_a_slow_source_holds_up_neither_keys_nor_leaving() -> None:
    source = Source(full_picture())
    source.gate.clear()

    async def press(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: source.asked == ["24h"])
        await pilot.press("r", "r", "t", "t")
        await until(pilot, lambda: "window 30d · sampling" in shown(app))
        assert source.asked == ["24h"]
        source.gate.set()
        await until(pilot, lambda: source.asked == ["24h", "30d"] and not app._sampling)
        source.gate.clear()
        await pilot.press("r")
        await until(pilot, lambda: len(source.asked) == 3)
        await pilot.press("q")

    app = drive(source, press)
    assert app.return_code == 0
    source.gate.set()


def test_a_failed_sample_is_told_over_the_picture_of_before_and_forgotten_after() -> None:
    error = DeskError("store-unreachable", "The store cannot be reached.", hint="Is it up?")
    source = Source(error, full_picture(), error, full_picture())

    async def press(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "Not sampled: The store cannot be reached." in shown(app))
        await pilot.press("r")
        await until(pilot, lambda: "Requests that fail" in shown(app))
        await pilot.press("r")
        await until(pilot, lambda: "Not sampled: The store cannot be reached." in shown(app))
        await until(pilot, lambda: "store-unreachable" in shown(app))
        await until(pilot, lambda: "Requests that fail" in shown(app))
        await pilot.press("r")
        await until(pilot, lambda: "Not sampled" not in shown(app))

    drive(source, press)


def test_a_source_that_is_unknown_says_so_in_its_own_place() -> None:
    async def look(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "Not known: No tickets_file" in shown(app))
        revenue = app.query_one("#revenue", Static)
        assert revenue.border_title == "Revenue"
        await until(pilot, lambda: "? Not known: Stripe refuses the key" in shown(app))

    drive(Source(unknown_picture()), look, (140, 60))


def test_a_mistake_of_ours_ends_the_dashboard() -> None:
    async def look(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: app.return_code == 1)

    with pytest.raises(ZeroDivisionError):
        drive(Source(ZeroDivisionError("a mistake")), look)


def test_markup_and_escapes_in_texts_are_only_text() -> None:
    full = full_picture()
    bad = replace(full.alerts[0], title="[red]x[/red]\x1b[2J\u202e", detail="")

    async def look(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "page: [red]x[/red][2J" in shown(app))
        assert "\x1b" not in shown(app)
        assert "\u202e" not in shown(app)

    drive(Source(replace(full, alerts=(bad,))), look)


def test_no_color_leaves_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "LIVE" in shown(app))
        assert app.no_color
        picture = app.export_screenshot()
        assert "#ffd166" not in picture.lower()

    monkeypatch.setenv("NO_COLOR", "1")
    drive(Source(full_picture()), look)


def test_a_picture_of_another_window_is_not_shown() -> None:
    source = Source(full_picture("live"), full_picture("sandbox"))
    source.gate.clear()

    async def press(app: Dashboard, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: source.asked == ["24h"])
        await pilot.press("t")
        source.gate.set()
        await until(pilot, lambda: "sandbox" in shown(app))
        assert source.asked == ["24h", "7d"]

    drive(source, press)


def test_without_a_terminal_each_sample_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = DeskError("store-unreachable", "The store cannot be reached.")
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt

    source = Source(full_picture(), error, unknown_picture("test"))
    assert print_lines(source, 30.0, wait) == INTERRUPTED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("2026-11-26T09:30:12Z live TROUBLE: 1 objective missed")
    assert "error-rate 0.064 %" in lines[0]
    assert lines[1] == "not sampled: The store cannot be reached. [store-unreachable]"
    assert "test unclear: 10 sources not readable" in lines[2]
    assert waited == [30.0] * 3


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130)])
def test_in_a_real_terminal_keys_leave_it_as_it_was(key: bytes, code: int) -> None:
    program = (
        "import sys\nfrom pictures import full_picture\n"
        "from shimmy_ops.cli.dashboard.watching import run_dashboard\n"
        "sys.exit(run_dashboard(lambda window: full_picture(), 60.0))"
    )
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment, start_new_session=True,
    ) as running:  # fmt: skip
        told = b""
        while b"Objectives" not in told:
            told += os.read(ours, 65536)
        os.write(ours, key)
        while b"\x1b[?1049l" not in told:
            told += os.read(ours, 65536)
        assert running.wait(60) == code
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_watching_without_a_terminal_needs_no_textual() -> None:
    code = (
        "import sys\nfrom shimmy_ops.cli.dashboard.watching import run_dashboard\n"
        "def source(window):\n    raise KeyboardInterrupt\n"
        "assert run_dashboard(source, 1.0) == 130\nassert 'textual' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
