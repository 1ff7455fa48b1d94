"""The terminal's dashboard. Samples in a thread of its own: keys are answered at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Footer, HelpPanel, Static

from shimmy_ops.cli.dashboard.panel_texts import history_text, marked, panel_text
from shimmy_ops.cli.exit_codes import INTERRUPTED
from shimmy_ops.domain.monitoring.panel import Panel
from shimmy_ops.domain.monitoring.panels import decide_verdict, make_panels
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.domain.monitoring.windows import FIRST_WINDOW, WINDOWS
from shimmy_ops.domain.monitoring.wording import age, hours, plain, share
from shimmy_ops.errors import OpsError

# What everybody looks at first is as wide as the screen; the rest is in columns where these fit.
_TOP = ("objectives", "alerts", "history")
_COLUMNS = (
    ("alarms", "requests", "webhooks", "delivery", "mail"),
    ("availability", "revenue", "drift", "losses", "support"),
)


def _places(names: Iterable[str]) -> Iterator[Static]:
    return (Static(id=name, classes="panel") for name in names)


class Sampled(Message):
    """The thread is done: a picture of ``window``, or what went wrong."""

    def __init__(self, window: str, found: Picture | Exception) -> None:
        super().__init__()
        self.window = window
        self.found = found


class Dashboard(App[int]):
    """``source`` is asked for a window's picture at the start, every interval and on ``r``.

    An OpsError of it is shown in the head, with the picture of before below it; any other ends the
    program, as a mistake of ours should.
    """

    CSS_PATH = "screen.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - as Textual types it
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "Quit"),
        ("r", "sample", "Sample now"),
        ("t", "turn", "Window"),
        ("question_mark", "help", "Help"),
        Binding("ctrl+c", "interrupt", "Stop", show=False, priority=True),
    ]

    def __init__(self, source: Callable[[str], Picture], interval_seconds: float) -> None:
        super().__init__()
        self._source = source
        self._interval = interval_seconds
        self._window = FIRST_WINDOW
        self._picture: Picture | None = None
        self._trouble = ""
        self._sampling = False
        self._again = False

    def compose(self) -> ComposeResult:
        yield Static(id="profile")
        yield Static(id="age")
        yield Static(id="verdict")
        with VerticalScroll(id="body"), Vertical(id="panels"):
            yield from _places(_TOP)
            with Container(id="columns"):
                for names in _COLUMNS:
                    with Vertical(classes="column"):
                        yield from _places(names)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """The first sample begins before anything is shown; the age ticks by itself."""
        self.query_one("#panels").display = False
        self.query_one("#body").focus()
        self._show_head()
        self.set_interval(1.0, self._show_head)
        self.set_interval(self._interval, self.action_sample)
        self.action_sample()

    def on_resize(self) -> None:
        """The sparklines are as wide as there is room."""
        self.call_after_refresh(self._show_history)

    def action_sample(self) -> None:
        """Sample in the worker thread; what is asked for meanwhile follows at once, once."""
        if self._sampling:
            return
        self._sampling = True
        self._show_head()
        # A thread that nobody waits for: leaving does not wait for a slow source.
        threading.Thread(target=self._sample, args=(self._window,), daemon=True).start()

    def action_turn(self) -> None:
        """The next window; its picture comes when it is sampled."""
        self._window = WINDOWS[(WINDOWS.index(self._window) + 1) % len(WINDOWS)]
        self._again = self._sampling
        self.action_sample()
        self._show_head()

    def action_interrupt(self) -> None:
        """As Ctrl-C ends every other command."""
        self.exit(return_code=INTERRUPTED)

    def action_help(self) -> None:
        """Show what the keys do, or hide it."""
        panels = self.screen.query(HelpPanel)
        if panels:
            panels.remove()
        else:
            self.screen.mount(HelpPanel())

    def _sample(self, window: str) -> None:
        """In the thread."""
        try:
            self.post_message(Sampled(window, self._source(window)))
        except Exception as error:  # noqa: BLE001 - handed on to the app's own thread
            self.post_message(Sampled(window, error))

    def on_sampled(self, sampled: Sampled) -> None:
        """Show it, unless the window was turned meanwhile. Raises what is a mistake of ours."""
        self._sampling = False
        match sampled.found:
            case Picture() as picture:
                self._trouble = ""
                if sampled.window == self._window:
                    self._picture = picture
                    self._show_panels(picture)
            case OpsError() as error:
                self._trouble = f"{error.message} [{error.code}] {error.hint}"
            case Exception() as mistake:
                raise mistake
        self._show_head()
        if self._again:
            self._again = False
            self.action_sample()

    def _show_head(self) -> None:
        picture = self._picture
        head, verdict = self.query_one("#profile", Static), self.query_one("#verdict", Static)
        if self._trouble:
            verdict.update(marked("bad", f"Not sampled: {plain(self._trouble, 300)}"))
        elif picture is None:
            verdict.update(Text("Taking the first sample …"))
        else:
            told = decide_verdict(picture)
            verdict.update(marked(told.mark, told.text))
        self.query_one("#age", Static).update(Text(self._age(picture)))
        if picture is None:
            head.update(Text("Shimmy Vision monitor"))
            return
        live = picture.profile == "live"
        head.set_class(live, "live")
        kind = "LIVE: real money" if live else f"{plain(picture.profile, 20)}: no real money"
        version = f" · store {plain(picture.version, 20)}" if picture.version else ""
        head.update(Text(f"Shimmy Vision monitor · {kind}{version}"))

    def _age(self, picture: Picture | None) -> str:
        doing = "sampling …" if self._sampling else ""
        if picture is None:
            return f"window {self._window} · {doing}"
        shown = hours(picture.window.hours)
        old = f"sampled {age(picture.taken, datetime.now(UTC))} ago"
        covered = f"{share(picture.window.coverage)} covered"
        return " · ".join(filter(None, (f"window {shown}", covered, old, doing)))

    def _show_panels(self, picture: Picture) -> None:
        self.query_one("#panels").display = True
        for panel in make_panels(picture):
            self._show_panel(panel)
        self._show_history()

    def _show_panel(self, panel: Panel) -> None:
        place = self.query_one(f"#{panel.id}", Static)
        place.border_title = panel.title
        place.update(panel_text(panel))

    def _show_history(self) -> None:
        if self._picture is None:
            return
        place = self.query_one("#history", Static)
        place.border_title = f"Over the window ({self._window})"
        place.update(history_text(self._picture, place.content_size.width or self.size.width - 4))
