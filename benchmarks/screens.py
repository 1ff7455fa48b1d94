"""Pictures as people send them, drawn here: pages by Chromium, a terminal, a document, a slide."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shimmy_vision.domain.image.pixels import RgbPixels

_SAMPLE = Path(__file__).resolve().parents[1] / "docs/samples/sign-in.html"
_TEXT = (
    "The quick settings of this account were changed on Tuesday by an administrator of the team "
    "and will be used from the next invoice on unless they are changed again before that day"
)
_WORDS = _TEXT.split()
_CARDS = (("Revenue", "€ 41,209"), ("Seats", "318"), ("Churn", "1.9 %"))
_DASHBOARD = """
.c{display:inline-block;width:290px;margin:16px;padding:16px;background:#fff;border:1px solid #dde}
nav{float:left;width:200px;height:720px;background:#14213d;color:#fff;padding:16px}
i{display:inline-block;width:18px;margin:4px;background:#3a7bd5;vertical-align:bottom}
section{padding-left:240px}
"""


def _page(ground: str, ink: str, body: str, more: str = "") -> str:
    css = f"body{{margin:0;background:{ground};color:{ink};font:15px sans-serif}}{more}"
    return f"<style>{css}</style>{body}"


def _prose(words: int, start: int = 0) -> str:
    return " ".join(_WORDS[(start + n) % len(_WORDS)] for n in range(words)) + "."


def _dashboard(clock: str = "10:41") -> str:
    cards = "".join(
        f"<div class=c><b>{name}</b><h1>{value}</h1><small>{_prose(5, at)}</small></div>"
        for at, (name, value) in enumerate(_CARDS)
    )
    bars = "".join(f"<i style='height:{40 + n * 37 % 190}px'></i>" for n in range(24))
    links = "<br><br>".join(("Overview", "Customers", "Invoices", "Settings"))
    body = f"<nav>{links}</nav><section><p align=right>{clock}</p>{cards}<br>{bars}</section>"
    return _page("#f5f7fa", "#222", body, _DASHBOARD)


def _pages() -> dict[str, str]:
    """Name → HTML, of 1280 x 720."""
    fields = "".join(f"<p>{name}<br><input size=40 value='of mine'>" for name in ("Name", "Mail"))
    rows = "".join(
        f"<tr><td>{n}</td><td>{_prose(3, n)}</td><td>{n * 37 % 91}</td></tr>" for n in range(40)
    )
    prose = "".join(f"<p>{_prose(60, n)}</p>" for n in range(6))
    code = "\n".join("    " * (n % 4) + f"value_{n} = compute({n})" for n in range(16))
    points = "".join(f"<li>{_prose(5, n)}" for n in range(4))
    dialog = f"<main>{_prose(20)}<p><button>OK</button></main>"
    boxed = "main{width:300px;margin:230px auto;background:#fff;padding:20px}"
    slide = "h1{padding:40px 80px 0;font-size:44px}li{font-size:28px;margin-left:80px}"
    return {
        "sign-in page": _SAMPLE.read_text(encoding="utf-8"),
        "dashboard": _dashboard(),
        "article": _page(
            "#fff",
            "#111",
            f"<main><h1>{_prose(6)}</h1>{prose}</main>",
            "main{width:640px;margin:40px auto}",
        ),
        "table": _page("#fff", "#222", f"<table width=100% border=1>{rows}</table>"),
        "short form": _page("#fff", "#222", f"<h2>Settings</h2>{fields}"),
        "search page": _page(
            "#fff", "#222", "<center style='padding-top:250px'><h1>Finder</h1><input size=60>"
        ),
        "dark editor": _page("#1e1e1e", "#d4d4d4", f"<pre style='padding:20px'>{code}"),
        "dialog on gradient": _page("linear-gradient(#dfe9f3,#fff) fixed", "#222", dialog, boxed),
        "title slide": _page(
            "#102a43", "#fff", "<h1>Results of the year", "h1{padding:300px 80px;font-size:52px}"
        ),
        "slide with a list": _page("#fff", "#222", f"<h1>What we learned</h1>{points}", slide),
    }


def screens() -> Iterator[tuple[str, RgbPixels]]:
    """(name, pixels) of each; those of a browser only where there is a Chromium."""
    yield "terminal, 12 lines", terminal(12)
    yield "terminal, full", terminal(38)
    yield "terminal, 12 lines, 3840 x 2160", terminal(12, 3840, 2160)
    yield "A4 at 136 dpi, full page", document(60)
    yield "A4 at 136 dpi, third of a page", document(18)
    yield "A4 at 136 dpi, empty", document(0)
    yield "poster, 5787 x 5787, text at its top", document(40, 5787, 5787)
    yield "photograph", photograph()
    for name, html in _pages().items():
        yield from ((name, shown) for shown in _shown([html]))


def successions() -> Iterator[tuple[str, RgbPixels, RgbPixels]]:
    """(what happens, before, after): two pictures as they are sent one after the other."""
    yield "terminal, one line more", terminal(12), terminal(13)
    yield "document, the same page again", document(60), document(60)
    yield "slides, another heading", *_slides()
    shown = _shown([_dashboard(), _dashboard("10:42")])
    if shown:
        yield "dashboard, its clock", shown[0], shown[1]


def terminal(lines: int, width: int = 1280, height: int = 720) -> RgbPixels:
    """Light on dark, from the top."""
    image = Image.new("RGB", (width, height), "#101418")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for line in range(lines):
        text = f"$ run --step {line} {_prose(4 + line % 5, line)}"
        draw.text((10, 8 + 18 * line), text, "#d0d8e0", font)
    return np.asarray(image)


def document(lines: int, width: int = 1125, height: int = 1591) -> RgbPixels:
    """Black on white, with margins."""
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(19)
    for line in range(lines):
        draw.text((120, 120 + 23 * line), _prose(12, line), "black", font)
    return np.asarray(image)


def photograph() -> RgbPixels:
    """Noise over soft shapes: nothing of it can be left out."""
    rng = np.random.default_rng(3)
    soft = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
    large = Image.fromarray(soft).resize((1280, 720), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (720, 1280, 3))
    return np.asarray(np.clip(np.asarray(large) + grain, 0, 255), dtype=np.uint8)


def _slides() -> tuple[RgbPixels, RgbPixels]:
    slides = []
    for heading in ("First quarter", "Second quarter"):
        image = Image.new("RGB", (1280, 720), "white")
        draw = ImageDraw.Draw(image)
        draw.text((80, 60), heading, "#123", ImageFont.load_default(52))
        draw.text((80, 640), "Example Ltd, for internal use", "#567", ImageFont.load_default(16))
        slides.append(np.asarray(image))
    return slides[0], slides[1]


def _shown(documents: list[str]) -> list[RgbPixels]:
    """Each HTML document as Chromium shows it at 1280 x 720; none where there is no Chromium."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        shown = []
        for html in documents:
            page.set_content(html)
            shown.append(_pixels(page.screenshot()))
        browser.close()
    return shown


def _pixels(png: bytes) -> RgbPixels:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
