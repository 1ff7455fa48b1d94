"""``serve`` between its first line and the moment it answers."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from shimmy_store.cli import serve
from shimmy_store.cli.main import main
from shimmy_store.domain.catalog import PLAN_IDS

SETTINGS = {
    "MODE": "test",
    "URL": "http://127.0.0.1:8400",
    "STRIPE_KEY": "sk_test_hidden",
    "WEBHOOK_SECRETS": "whsec_hidden",
    "KEYGEN_ACCOUNT": "nobody",
    "KEYGEN_TOKEN": "hidden",
    "KEYGEN_POLICIES": ",".join(f"{plan}=policy-of-{plan}" for plan in PLAN_IDS),
    "MAIL": "smtp://127.0.0.1:9",
    "MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
    "SECRET": "hidden" * 8,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = {**SETTINGS, "LEDGER": f"sqlite:///{tmp_path / 'ledger.sqlite'}"}
    for name, value in named.items():
        monkeypatch.setenv(f"SHIMMY_STORE_{name}", value)


def _unreached(*_: object, **__: object) -> Any:
    raise AssertionError("it went on")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_two_that_start_at_one_address_the_later_ends_and_says_why(
    workers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both may bind it while neither listens; found out by workers, it would never end."""
    checked = serve._check
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))

        async def check(settings: Any) -> None:
            await checked(settings)
            first.listen()

        monkeypatch.setattr(serve, "_check", check)
        monkeypatch.setattr(serve, "_supervise", _unreached)
        monkeypatch.setattr(serve, "create_app", _unreached)
        port = str(first.getsockname()[1])
        assert main(["serve", "--port", port, "--workers", workers]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_signal_that_comes_before_it_answers_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told_to_stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(serve, "create_app", told_to_stop)
    monkeypatch.setattr(uvicorn, "Server", _unreached)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--port", "0"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 0
