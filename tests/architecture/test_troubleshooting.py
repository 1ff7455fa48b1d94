"""``docs/troubleshooting.md`` has every error code of the code, and none that is gone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "write_troubleshooting_under_test", ROOT / "scripts/write_troubleshooting.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_says_now(
    writer: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["write_troubleshooting.py", "--check"])
    assert writer.main() == 0, capsys.readouterr().err


def test_codes_of_every_kind_are_on_it(writer: ModuleType) -> None:
    page = writer.PAGE.read_text()
    for code in (
        *("payload-damaged", "library-wrong-cpu", "model-not-in-library", "download-corrupt"),
        *("licence-expired", "page-cap-reached", "machine-taken", "clock-rolled-back"),
        *("uninstall-running", "single-file-damaged", "licence-unconfirmed"),
    ):
        assert f"| `{code}` |" in page, code


def test_a_new_code_without_a_remedy_is_missed_until_it_is_explained(
    writer: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "new.py").write_text(
        "HINT = 'Do this.'\n"
        "def f(x):\n"
        "    raise ModelError('new-code', f'It is {x}.')\n"
        "def g():\n"
        "    raise LibraryError('told-code', 'So.' 'And so.', hint=HINT)\n"
    )
    told = writer.read_told(tmp_path)
    assert set(told) == {"new-code", "told-code"}
    with pytest.raises(ValueError, match="has to explain: new-code"):
        writer.render(told, {})
    page = writer.render(told, {"new-code": {"remedy": "Do that | this."}})
    assert "| `new-code` | It is …. | Do that \\| this. |" in page
    assert "| `told-code` | So.And so. | Do this. |" in page


def test_an_explanation_of_what_no_code_has_is_missed_too(writer: ModuleType) -> None:
    with pytest.raises(ValueError, match="no code has: gone-code"):
        writer.render({}, {"gone-code": {"remedy": "…"}})
