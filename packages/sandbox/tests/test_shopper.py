"""What a shopper says before any page is open."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from shimmy_sandbox.cli.main import main
from shimmy_sandbox.shopper.browser import find_chromium, stay_here
from shimmy_sandbox.shopper.refusal import ShopperError


def test_without_a_chromium_the_command_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["buy", "developer", "--browser"]) == 1
    assert "apt install chromium" in capsys.readouterr().err
    # Whatever is there first is taken.
    for name in ("google-chrome", "chromium"):
        program = tmp_path / name
        program.touch(0o755)
        assert find_chromium() == str(program)


def test_without_playwright_the_command_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert main(["buy", "developer", "--browser"]) == 1
    assert "pip install 'shimmy-sandbox[browser]'" in capsys.readouterr().err


def test_a_chromium_that_does_not_start_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert main(["buy", "developer", "--browser"]) == 1
    said = capsys.readouterr().err
    assert f"{broken} does not start" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("option", [("--site", "http://127.0.0.1:1/"), ("--show-steps",)])
def test_options_of_a_browser_need_one(
    option: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["buy", "developer", *option]) == 1
    assert "add --browser" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["https://checkout.stripe.com/c/pay/x", "http://127.0.0.1.example"])
def test_a_card_number_is_typed_on_this_machine_only(url: str) -> None:
    with pytest.raises(ShopperError) as refused:
        stay_here(url)
    assert refused.value.code == "page-elsewhere"
    assert stay_here("http://127.0.0.1:8400/pricing") == "http://127.0.0.1:8400/pricing"
