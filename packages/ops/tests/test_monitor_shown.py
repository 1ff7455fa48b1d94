"""The dashboards over the real store and both simulators: the commands, nothing made up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from operated_town import OperatedTown

from shimmy_ops.cli.exit_codes import DONE, INTERRUPTED

_ARGUMENTS = ("--profile", "sandbox", "--config")


def test_a_shop_that_runs_is_shown_as_a_page_as_a_line_and_served(
    operated: OperatedTown,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _watch_without_a_terminal(operated, monkeypatch, capsys)
    file = tmp_path / "page.html"
    ran = operated.town.run(capsys, "monitor", "--html", str(file))
    assert (ran.code, ran.out, ran.err) == (DONE, "", "")
    page = file.read_text(encoding="utf-8")
    assert "Profile <strong>sandbox</strong>" in page
    assert "Not known: Stripe" not in page
    assert "✓</span> enabled" in page
    _serve(operated)


def _watch_without_a_terminal(
    operated: OperatedTown, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(seconds: float) -> None:
        assert seconds == 60.0
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shimmy_ops.cli.dashboard.watching.time.sleep", stop)
        ran = operated.town.run(capsys, "monitor", "--watch")
    assert ran.code == INTERRUPTED
    assert ran.out.count("\n") == 1
    assert " sandbox " in ran.out
    assert "availability 100 %" in ran.out


def _serve(operated: OperatedTown) -> None:
    program = "import sys\nfrom shimmy_ops.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    config = str(operated.town.config)
    command = ["monitor", "--serve", "--port", "0", *_ARGUMENTS, config]
    with subprocess.Popen(
        [sys.executable, "-c", program, *command], stderr=subprocess.PIPE, text=True,
        # Whoever starts the tests in the background has Ctrl-C ignored in all they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        assert running.stderr is not None
        url = running.stderr.readline().split()[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            told = client.get("/picture.json").json()
            assert told["profile"] == "sandbox"
            assert told["availability"]["up_now"] is True
            assert client.get("/?window=1h").status_code == 200
        running.send_signal(signal.SIGINT)
        assert running.stderr.read() == "stopped\n"
        assert running.wait(60) == INTERRUPTED
