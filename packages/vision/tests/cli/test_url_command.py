"""``shimmy vision --url`` as a user runs it: real processes, a real browser, a real library."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pdf_writer import text_page, write_pdf
from PIL import Image
from web_pages import SHOP, SHOP_NAMES
from web_places import Page, Site, keep_canary, need_chromium, redirect, serve_site

from shimmy_sandbox.synthetic_model import SyntheticPair

pytestmark = pytest.mark.slow

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
CONTRACTS = Path(__file__).resolve().parents[4] / "contracts"
QUICK = ("--mode", "layout", "--max-tokens", "3")
SMALL = ("--viewport", "400x300")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(buffer, "PNG")
    pages: dict[str, Page] = {
        "/": SHOP,
        "/a.png": buffer.getvalue(),
        "/report": write_pdf(*(text_page(f"Page {n} begins") for n in (1, 2, 3))),
    }
    with serve_site(pages) as served:
        yield served


@pytest.fixture(autouse=True)
def nothing_seen(site: Site) -> None:
    site.seen.clear()


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
    synthetic_46: SyntheticPair,
    licence_variables: dict[str, str],
    site: Site,
) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    return {
        **kept,
        **licence_variables,
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_ALLOW_URLS": f"203.0.113.7, {site.place}",
        "SHIMMY_BROWSER": need_chromium(),
        "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
        "SHIMMY_STATE_DIR": str(tmp_path_factory.mktemp("home")),
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def shimmy(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHIMMY, "vision", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**environment, **variables},
            cwd=tmp_path,
            timeout=120,
            check=False,
        )

    return run


def _lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_web_page_is_one_json_document(shimmy: Run, site: Site) -> None:
    done = shimmy("--url", f"{site.url}/?token=secret", *SMALL, "--scale", "2", *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (result,) = _lines(done)
    schema = json.loads((CONTRACTS / "result-layout.schema.json").read_text())
    jsonschema.validate(result, schema)
    assert [one["name"] for one in result["dom_map"]] == SHOP_NAMES
    page, image = result["meta"]["page"], result["meta"]["image"]
    assert (page["title"], page["url"]) == ("Shop", f"{site.url}/?token=secret")
    assert (image["width"], image["height"]) == (800, 1800)
    only = shimmy("--url", site.url, *SMALL, "--viewport-only", "--prompt", "?", "--max-tokens=3")
    (result,) = _lines(only)
    assert result["meta"]["image"]["height"] == 300
    assert result["meta"]["page"]["full_page"] is False
    assert isinstance(result["answer"], str)
    assert result["dom_map"]


def test_urls_come_after_files_each_as_what_it_is(shimmy: Run, site: Site, tmp_path: Path) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "local.png")
    urls = [site.url + path for path in ("/report?a=1", "/a.png?a=1#x", "/missing")]
    given = [word for url in (*urls, urls[1]) for word in ("--url", url)]
    done = shimmy(*given, "local.png", *SMALL, *QUICK, "--pages", "2-")
    assert done.returncode == 0, done.stderr
    told = [
        (line["image"], line.get("page"), line["result"]["meta"]["image"]["format"])
        for line in _lines(done)
    ]
    assert told == [
        ("local.png", None, "PNG"),
        (f"{site.url}/report", 2, "PDF"),
        (f"{site.url}/report", 3, "PDF"),
        (f"{site.url}/a.png", None, "PNG"),
        (f"{site.url}/missing", None, "PNG"),
    ]
    assert _lines(done)[-1]["result"]["meta"]["page"]["status"] == 404


def test_a_document_alone_is_lines_and_an_image_alone_is_not(shimmy: Run, site: Site) -> None:
    (line,) = _lines(shimmy("--url", f"{site.url}/report", "--pages", "2", *QUICK))
    assert (line["image"], line["page"]) == (f"{site.url}/report", 2)
    (result,) = _lines(shimmy("--url", f"{site.url}/a.png", *QUICK))
    assert list(result) == ["layout", "meta"]
    # Neither needs a browser.
    blind = {"SHIMMY_BROWSER": "no-such-browser"}
    assert shimmy("--url", f"{site.url}/a.png", *QUICK, **blind).returncode == 0
    missing = shimmy("--url", site.url, *QUICK, **blind)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "[browser-missing]" in missing.stderr
    assert "apt install chromium" in missing.stderr


HOSTILE = [
    "http://127.0.0.1/?secret",
    "http://0x7f000001/?secret",
    "http://[::ffff:127.0.0.1]/?secret",
    "http://169.254.169.254/latest/meta-data/?secret",
    "http://ada:secret@example.com/",
    "http://example.com:22/?secret",
    "file:///etc/passwd?secret",
    "secret-without-scheme",
]


def test_hostile_urls_are_refused_one_by_one(shimmy: Run, site: Site) -> None:
    urls = [word for url in HOSTILE for word in ("--url", url)]
    done = shimmy(*urls, "--url", f"{site.url}/a.png", *QUICK)
    assert done.returncode == 1
    *refused, good = _lines(done)
    assert [line["error"]["code"] for line in refused] == ["url-refused"] * len(HOSTILE)
    assert good["image"] == f"{site.url}/a.png"
    assert "result" in good
    assert "secret" not in done.stderr
    assert all("secret" not in line["error"]["message"] for line in refused)
    assert "shimmy: 127.0.0.1: The URL is refused" in done.stderr
    assert "shimmy: example.com: The URL is refused: the URL contains a user name" in done.stderr
    assert shimmy("--url", HOSTILE[0], *QUICK).returncode == 64


def test_what_leads_astray_is_refused_and_not_followed(shimmy: Run, site: Site) -> None:
    with keep_canary() as canary:
        site.pages["/away"] = redirect(canary.url)
        done = shimmy("--url", f"{site.url}/away?token=secret", *QUICK)
        site.pages["/frame"] = f"<title>Frame</title><iframe src='{canary.url}'></iframe>"
        framed = shimmy("--url", f"{site.url}/frame", *SMALL, *QUICK)
        hits = canary.hits
    assert (done.returncode, done.stdout, hits) == (1, "", 0)
    assert "[redirect-refused]" in done.stderr
    assert "secret" not in done.stderr
    notes = _lines(framed)[0]["meta"]["page"]["notes"]
    assert [note for note in notes if note.startswith("1 requests were refused")], notes


def test_without_licence_or_network_nothing_is_fetched(
    shimmy: Run, site: Site, tmp_path: Path
) -> None:
    done = shimmy("--url", site.url, SHIMMY_LICENSE_KEY="", SHIMMY_STATE_DIR=str(tmp_path / "s"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "[licence-missing]" in done.stderr
    Image.new("RGB", (30, 30)).save(tmp_path / "local.png")
    done = shimmy("local.png", "--url", site.url, *QUICK, SHIMMY_OFFLINE="1")
    assert done.returncode == 1
    assert [line.get("error", {}).get("code") for line in _lines(done)] == [None, "url-offline"]
    assert "SHIMMY_OFFLINE" in done.stderr
    assert site.seen == []


def test_a_timeout_is_for_all_of_a_source(shimmy: Run, site: Site) -> None:
    over = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        over.wait(60)
        request.close_connection = True

    site.pages["/slow"] = slow
    begun = time.monotonic()
    done = shimmy("--url", f"{site.url}/slow?secret", "--timeout", "1500", *QUICK)
    # The server would not have answered for a minute.
    assert time.monotonic() - begun < 40
    over.set()
    assert done.returncode == 5
    assert "127.0.0.1: " in done.stderr
    assert "[deadline-exceeded]" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--viewport", "wide"), "usage", "1280x800"),
        (("--viewport", "1280"), "usage", "1280x800"),
        (("--viewport=-5x5",), "usage", "1280x800"),
        (("--viewport", "20x800"), "viewport-refused", "50 to 4,000"),
        (("--viewport", "9999x800"), "viewport-refused", "50 to 4,000"),
        (("--scale", "9"), "viewport-refused", "0.5 to 4"),
        (("--scale", "nan"), "viewport-refused", "0.5 to 4"),
        (("--scale", "x"), "usage", "--scale"),
        (("--full-page", "--viewport-only"), "usage", "not allowed with"),
    ],
)
def test_windows_that_cannot_be_exit_64(
    shimmy: Run, site: Site, arguments: tuple[str, ...], code: str, said: str
) -> None:
    done = shimmy("--url", f"{site.url}/?secret", *arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert f"[{code}]" in done.stderr
    assert said in done.stderr
    assert "→" in done.stderr
    assert "secret" not in done.stderr
    assert site.seen == []


def test_a_url_among_the_files_is_pointed_to_its_option(shimmy: Run, site: Site) -> None:
    done = shimmy(f"{site.url}/?secret", *QUICK)
    assert done.returncode == 64
    assert "[url-as-file]" in done.stderr
    assert "--url" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("listed", ["10.0.0.0/99", "a b", "intranet:99999"])
def test_a_bad_allow_list_is_named(shimmy: Run, site: Site, listed: str) -> None:
    done = shimmy("--url", site.url, *QUICK, SHIMMY_ALLOW_URLS=f"10.0.0.0/8,{listed}")
    assert (done.returncode, done.stdout) == (64, "")
    assert "[allow-list-malformed]" in done.stderr
    assert repr(listed) in done.stderr
    assert "→" in done.stderr
    assert site.seen == []


def test_progress_names_the_host_alone(environment: dict[str, str], site: Site) -> None:
    controller, terminal = pty.openpty()
    url = f"{site.url}/?token=secret"
    with subprocess.Popen(
        [SHIMMY, "vision", "--url", url, *SMALL, *QUICK],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env={**environment, "COLUMNS": "120"},
    ) as child:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(controller, 4096):
                shown += piece
        except OSError:
            pass  # How a terminal ends on Linux.
        os.close(controller)
    assert child.returncode == 0
    assert re.search(rb"1/1 127\.0\.0\.1: fetching", shown)
    assert b"secret" not in shown
