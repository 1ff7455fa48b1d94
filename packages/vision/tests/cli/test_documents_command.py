"""``shimmy vision report.pdf`` as a user runs it: real processes, real libraries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pdf_writer import text_page, write_pdf
from PIL import Image

from shimmy_sandbox.synthetic_model import SyntheticPair

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
CONTRACTS = Path(__file__).resolve().parents[4] / "contracts"
Run = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("--mode", "ocr", "--max-tokens", "3", "--dpi", "40")


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
    synthetic_46: SyntheticPair,
    licence_variables: dict[str, str],
) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    return {
        **kept,
        **licence_variables,
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
        "SHIMMY_STATE_DIR": str(tmp_path_factory.mktemp("home")),
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def shimmy(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(
        *arguments: str, stdin: bytes | None = None, options: Sequence[str] = QUICK
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [SHIMMY, "vision", *arguments, *options],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=environment,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.pdf"
    path.write_bytes(write_pdf(*(text_page(f"Page {n} begins") for n in range(1, 5))))
    return path


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _pages(done: subprocess.CompletedProcess[str]) -> list[int | None]:
    return [line.get("page") for line in _lines(done.stdout)]


def test_a_pdf_is_a_line_a_page(shimmy: Run, report: Path) -> None:
    done = shimmy("report.pdf")
    assert done.returncode == 0, done.stderr
    schema = json.loads((CONTRACTS / "result-ocr.schema.json").read_text())
    for number, line in enumerate(_lines(done.stdout), 1):
        assert list(line) == ["image", "page", "result"]
        assert (line["image"], line["page"]) == ("report.pdf", number)
        jsonschema.validate(line["result"], schema)
        assert line["result"]["text_blocks"][0]["text"] == f"Page {number} begins"
        assert line["result"]["meta"]["document"] == {
            "page": number, "pages": 4, "dpi": 40, "text_layer": "used",
        }  # fmt: skip


def test_pages_are_chosen_and_the_output_is_what_is_asked_for(shimmy: Run, report: Path) -> None:
    assert _pages(shimmy("report.pdf", "--pages", "3-,1")) == [3, 4, 1]
    assert _pages(shimmy("report.pdf", "--pages", "2")) == [2]
    done = shimmy("report.pdf", "--pages", "2", "--output", "json")
    assert json.loads(done.stdout)["meta"]["document"]["page"] == 2
    assert shimmy("-", "--pages", "4", stdin=report.read_bytes()).returncode == 0
    done = shimmy("report.pdf", "--pages", "4-5")
    assert (done.returncode, done.stdout.count("\n")) == (64, 1)
    assert "report.pdf: There is no page 5" in done.stderr


def test_pdfs_are_known_by_their_bytes_in_folders_and_patterns(
    shimmy: Run, report: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    Image.new("RGB", (30, 30)).save(folder / "a.png")
    (folder / "b.PDF").write_bytes(b"\r\n\r\n" + report.read_bytes())
    (folder / "c.png").write_bytes(report.read_bytes())
    for words in (("inbox",), ("inbox/*",)):
        done = shimmy(*words, "--pages", "1")
        assert done.returncode == 0, done.stderr
        names = [Path(line["image"]).name for line in _lines(done.stdout)]
        assert names == ["a.png", "b.PDF", "c.png"]
        assert _pages(done) == [None, 1, 1]


def test_failures_name_the_page_and_lose_nothing(shimmy: Run, tmp_path: Path) -> None:
    (tmp_path / "locked.pdf").write_bytes(write_pdf(text_page("x"), password="pw"))
    (tmp_path / "short.pdf").write_bytes(write_pdf(text_page("x"), count=2))
    (tmp_path / "cut.pdf").write_bytes(write_pdf(text_page("x"))[:50])
    (tmp_path / "good.pdf").write_bytes(write_pdf(text_page("x")))
    done = shimmy("locked.pdf", "short.pdf", "cut.pdf", "good.pdf")
    assert done.returncode == 1
    assert [
        (line["image"], line.get("page"), line.get("error", {}).get("code"))
        for line in _lines(done.stdout)
    ] == [
        ("locked.pdf", None, "document-encrypted"),
        ("short.pdf", 1, None),
        ("short.pdf", 2, "page-corrupt"),
        ("cut.pdf", None, "document-corrupt"),
        ("good.pdf", 1, None),
    ]
    assert "short.pdf, page 2: Page 2 of the PDF is damaged. [page-corrupt]" in done.stderr
    assert "Traceback" not in done.stderr
    alone = shimmy("locked.pdf")
    assert alone.returncode == 1
    assert "→" in alone.stderr


def test_a_page_missing_in_one_document_leaves_the_others(
    shimmy: Run, report: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(write_pdf(text_page("x")))
    done = shimmy("a.pdf", "report.pdf", "--pages", "2")
    assert done.returncode == 1
    assert [line["image"] for line in _lines(done.stdout)] == ["a.pdf", "report.pdf"]


def test_a_time_limit_is_for_each_page(shimmy: Run, report: Path) -> None:
    # Seconds of writing, whatever is on the page; and time enough to open the file.
    endless = {"type": "array", "items": {"type": "integer"}, "minItems": 2000}
    asked = {"type": "object", "properties": {"n": endless}, "required": ["n"]}
    report.with_name("endless.json").write_text(json.dumps(asked))
    options = ("--schema", "endless.json", "--max-tokens", "6000", "--dpi", "40")
    limited = (*options, "--timeout", "1500")
    done = shimmy("report.pdf", "--pages", "1-2", options=limited)
    assert done.returncode == 1
    assert _pages(done) == [1, 2]
    assert [line["error"]["code"] for line in _lines(done.stdout)] == ["deadline-exceeded"] * 2
    assert "report.pdf, page 1" in done.stderr
    assert "report.pdf, page 2" in done.stderr
    assert shimmy("report.pdf", "--pages", "1", options=limited).returncode == 5


def test_too_large_a_file_is_refused(shimmy: Run, tmp_path: Path) -> None:
    (tmp_path / "big.pdf").write_bytes(b"%PDF-1.7\n" + bytes(1_000_001))
    done = shimmy("big.pdf", "--max-pdf-mb", "1")
    assert done.returncode == 1
    assert "[document-too-large]" in done.stderr
    assert "--max-pdf-mb" in done.stderr


def test_a_long_document_streams_and_stops(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(write_pdf(*(text_page(f"page {n}") for n in range(5000))))
    with subprocess.Popen(
        [SHIMMY, "vision", str(path), *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as child:
        assert child.stdout is not None
        lines = [json.loads(child.stdout.readline()) for _ in range(5)]
        child.send_signal(signal.SIGINT)
        rest, errors = child.communicate(timeout=60)
    assert [line["page"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[0]["result"]["meta"]["document"]["pages"] == 5000
    assert child.returncode == 130
    assert b"[interrupted]" in errors
    assert b"long.pdf, page " in errors
    assert len(rest.splitlines()) < 4000
