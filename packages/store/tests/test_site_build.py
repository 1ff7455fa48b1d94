"""``shimmy-store site build``: what it makes, what it refuses, and that it makes all or nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from site_places import OPERATOR, STORE, build, write_operator

from shimmy_store import wiring
from shimmy_store.adapters.jinja_site import JinjaSite, site_place
from shimmy_store.adapters.site_folder import DiskSiteFolder
from shimmy_store.cli.main import main
from shimmy_store.domain.site.operator import MEANINGS, draft_operator
from shimmy_store.domain.site.order import order_site
from shimmy_store.domain.site.sample import compose_sample
from shimmy_store.errors import SiteError
from shimmy_store.use_cases.build_site import build_site
from shimmy_vision.cli.main import COMMANDS
from shimmy_vision.domain.measure.measurements import measure_image

ROOT = Path(__file__).resolve().parents[3]


def _files(place: Path) -> dict[str, bytes]:
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def test_both_modes_say_what_they_are(tmp_path: Path) -> None:
    for mode in ("test", "live"):
        out = tmp_path / mode / "dist"
        out.parent.mkdir()
        assert build(mode, out) == 0
        for name, data in _files(out).items():
            if name.endswith(".html"):
                text = data.decode()
                assert ("Test mode: no real payments." in text) is (mode == "test"), name
                assert ("[[OPERATOR" in text) is (mode == "test"), name
    live = (tmp_path / "live" / "dist" / "terms.html").read_text(encoding="utf-8")
    assert "Harbour Software Ltd" in live and "the law of Ireland" in live


def test_the_same_order_makes_the_same_bytes(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    assert build("live", out) == 0
    first = _files(out)
    assert build("live", out) == 0
    assert _files(out) == first
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["dist"]


def test_what_was_there_before_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    assert build("test", out) == 0
    (out / "old.html").write_text("old")
    assert build("test", out) == 0
    assert not (out / "old.html").exists()


def test_a_base_path_leads_from_any_depth(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    assert build("test", out, "--base", "/repository/") == 0
    assert 'href="/repository/assets/look.css"' in (out / "404.html").read_text()
    assert 'href="../assets/look.css"' in (out / "docs" / "api.html").read_text()
    assert 'href="assets/look.css"' in (out / "index.html").read_text()
    assert not (out / "sitemap.xml").exists()
    assert not (out / "CNAME").exists()


def test_a_domain_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    file = write_operator(tmp_path)
    words = ["site", "build", "--mode", "live", "--store-url", STORE, "--out", str(out)]
    assert main([*words, "--operator", str(file), "--cname", "Shimmy-Vision.app"]) == 0
    assert (out / "CNAME").read_text() == "shimmy-vision.app\n"
    assert "<loc>https://shimmy-vision.app/pricing.html</loc>" in (out / "sitemap.xml").read_text()
    assert "Sitemap: https://shimmy-vision.app/sitemap.xml" in (out / "robots.txt").read_text()
    front = (out / "index.html").read_text()
    assert '<link rel="canonical" href="https://shimmy-vision.app/">' in front
    assert "404.html" not in (out / "sitemap.xml").read_text()


def test_nobody_finds_a_site_of_test_mode(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    assert build("test", out) == 0
    assert "Disallow: /" in (out / "robots.txt").read_text()
    assert '<meta name="robots" content="noindex">' in (out / "index.html").read_text()


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("http://127.0.0.1:8400", {}, "is on loopback"),
    ("https://localhost", {}, "is on loopback"),
    ("http://buy.shimmy-vision.app", {}, "must be https in live mode"),
    ("https://store.example.com", {}, "reserved for examples"),
    ("https://shop.test", {}, "reserved for examples"),
    ("https://192.0.2.1", {}, "reserved for examples"),
    ("buy.shimmy-vision.app", {}, "not of the form"),
    ("https://buy.shimmy-vision.app/shop", {}, "not of the form"),
    ("https://user:word@buy.shimmy-vision.app", {}, "not of the form"),
    ("https://buy.shimmy-vision.app:x", {}, "not of the form"),
    (STORE, {"home": "http://shimmy-vision.app/"}, "must be https in live mode"),
    (STORE, {"home": "https://a.test/"}, "reserved for examples"),
    (STORE, {"home": "/x/"}, "not of the form https://host/path/"),
    (STORE, {"cname": "no_host"}, "is no host name"),
    (STORE, {"cname": "a.app", "home": "https://b.app/"}, "is not at a.app"),
    (STORE, {"base": "repository"}, "begin and end with one slash"),
    (STORE, {"base": "/a/", "home": "https://b.app/"}, "is not the path of"),
]


@pytest.mark.parametrize(("store", "more", "said"), REFUSED)
def test_a_live_site_is_refused(store: str, more: dict[str, str], said: str) -> None:
    with pytest.raises(SiteError) as caught:
        order_site("live", store, **more)
    assert caught.value.code == "site-order-refused"
    assert said in caught.value.message


def test_test_mode_wants_https_but_on_loopback() -> None:
    assert order_site("test", "http://127.0.0.1:8400").store == "http://127.0.0.1:8400"
    assert order_site("test", "HTTPS://Store.Example:443/").store == "https://store.example"
    with pytest.raises(SiteError, match="unless it is on loopback"):
        order_site("test", "http://store.example")


def test_a_live_site_needs_an_operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "dist"
    words = ["site", "build", "--mode", "live", "--store-url", STORE, "--out", str(out)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert all(f"{name} is missing" in said for name in MEANINGS)
    assert "reviewed is not true" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('law = "the law of Ireland"', "", "law is missing"),
        ('courts = "Galway"', 'courts = " "', "courts is missing"),
        ("reviewed = true", "reviewed = 'yes'", "reviewed is not true"),
        ("help@shimmy-vision.app", "help", "email is no address"),
        ("https://github", "ftp://github", "source does not begin with https"),
        ("refund_days = 14", "refund_days = 'some'", "refund_days is no whole number"),
        ("reviewed = true", "reviewed = true\nphone = '1'", "phone is not known"),
        ("reviewed = true", "reviewed = ", "[operator-unreadable]"),
    ],
)
def test_an_operators_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    file = write_operator(tmp_path, OPERATOR.replace(old, new))
    assert build("live", tmp_path / "dist", "--operator", str(file)) == 2
    assert said in capsys.readouterr().err


def test_operators_text_is_never_markup(tmp_path: Path) -> None:
    file = write_operator(tmp_path, OPERATOR.replace("Harbour", "<script>Harbour</script>"))
    out = tmp_path / "dist"
    assert build("live", out, "--operator", str(file)) == 0
    assert "<script" not in (out / "terms.html").read_text()


class _BrokenSource(JinjaSite):
    """Its last page cannot be made."""

    def render(self, name: str, facts: Mapping[str, Any]) -> str:
        if name == "terms.html":
            raise SiteError("site-template-broken", "The page terms.html cannot be made.")
        return super().render(name, facts)


def test_a_failed_build_leaves_the_old_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "dist"
    assert build("test", out) == 0
    before = _files(out)
    order = order_site("test", "https://other.app")
    broken = _BrokenSource(site_place())
    with pytest.raises(SiteError):
        build_site(order, draft_operator(), wiring.catalog(), broken, DiskSiteFolder(out))
    assert _files(out) == before

    # The disk fails in the middle of writing, and then in the middle of the exchange.
    real_write, real_rename = Path.write_bytes, Path.rename

    def full(self: Path, data: bytes) -> int:
        if self.name == "terms.html":
            raise OSError(28, "No space left on device")
        return real_write(self, data)

    def stuck(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return real_rename(self, target)

    for name, fails in (("write_bytes", full), ("rename", stuck)):
        with monkeypatch.context() as patched:
            patched.setattr(Path, name, fails)
            assert build("test", out, store="https://other.app") == 2
        assert _files(out) == before
        assert [path.name for path in tmp_path.iterdir()] == ["dist"]


def test_somebodys_own_folder_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("years")
    link = tmp_path / "link"
    link.symlink_to(own)
    for place in (own, link, own / "thesis.txt"):
        assert build("test", place) == 2
        assert "[site-folder-refused]" in capsys.readouterr().err
    assert (own / "thesis.txt").read_text() == "years"


def test_a_broken_template_is_said(tmp_path: Path) -> None:
    place = tmp_path / "site"
    shutil.copytree(site_place(), place)
    (place / "templates" / "terms.html").write_text("{{ nobody }}")
    source = JinjaSite(place)
    with pytest.raises(SiteError) as caught:
        source.render("terms.html", {})
    assert caught.value.code == "site-template-broken"
    (place / "sample" / "sign-in.json").write_text("no json")
    with pytest.raises(SiteError, match="cannot be read"):
        source.sample()
    with pytest.raises(SiteError, match="is not a result"):
        compose_sample({"layout": {}})


def test_the_sample_shows_what_the_result_says() -> None:
    result = json.loads((ROOT / "site" / "sample" / "sign-in.json").read_text(encoding="utf-8"))
    sample = compose_sample(result)
    text = "\n".join("".join(piece for _, piece in line.pieces) for line in sample.lines)
    shown = json.loads(text)
    assert shown["dom_map"] == result["dom_map"]
    assert shown["layout"] == {"theme": result["layout"]["theme"]}
    assert shown["visual"]["contrast"] == result["visual"]["contrast"]
    numbered = [line for line in sample.lines if line.mark]
    assert [line.mark for line in numbered] == [mark.number for mark in sample.marks]
    for line, mark in zip(numbered, sample.marks, strict=True):
        box = json.loads("{" + "".join(piece for _, piece in line.pieces).strip(" ,") + "}")["box"]
        assert box == {"x": mark.x, "y": mark.y, "width": mark.width, "height": mark.height}


def test_the_sample_is_what_the_product_measures() -> None:
    result = json.loads((ROOT / "site" / "sample" / "sign-in.json").read_text(encoding="utf-8"))
    with Image.open(ROOT / "docs" / "samples" / "sign-in.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    with Image.open(ROOT / "site" / "assets" / "sign-in.webp") as image:
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    measured = measure_image(pixels)
    visual = result["visual"]
    assert measured.theme == result["layout"]["theme"]
    assert measured.palette.background == visual["background"]
    assert list(measured.palette.accent_colors) == visual["accent_colors"]
    assert round(measured.contrast.ratio, 2) == visual["contrast"]["ratio"]


def test_store_and_site_have_one_logo() -> None:
    parts = ROOT / "site" / "templates" / "parts" / "logo.html"
    store = ROOT / "packages/store/src/shimmy_store/server/templates/logo.html"
    assert parts.read_bytes() == store.read_bytes()


def _pages() -> dict[str, str]:
    place = ROOT / "site" / "templates"
    return {path.name: path.read_text(encoding="utf-8") for path in place.rglob("*.html")}


def test_commands_on_the_site_exist() -> None:
    named = {
        word
        for text in _pages().values()
        for block in re.findall(r"<code>(.*?)</code>", text, re.DOTALL)
        for word in re.findall(r"(?m)^(?:\$ )?shimmy (\w+)", block)
    }
    assert named >= {"vision", "license", "models", "serve", "doctor"}
    assert named <= set(COMMANDS)


def test_codes_on_the_site_are_documented() -> None:
    documents = "".join((ROOT / "docs" / name).read_text() for name in ("api.md", "results.md"))
    codes = re.findall(r'row\("([a-z-]+)"', _pages()["troubleshooting.html"])
    assert len(codes) > 15
    assert [code for code in codes if f"`{code}`" not in documents] == []


def test_endpoints_on_the_site_are_documented() -> None:
    documents = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"<code>((?:GET|POST|DELETE|WS) [^<]+)</code>", _pages()["api.html"])
    assert len(named) > 10
    assert [one for one in named if f"`{one}`" not in documents] == []


def test_the_wheel_takes_the_site_along() -> None:
    text = (ROOT / "packages" / "store" / "pyproject.toml").read_text(encoding="utf-8")
    assert '"../../site" = "shimmy_store/site"' in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str) -> None:
    """WCAG AA for every pair that look.css promises, in both themes."""
    assets = ROOT / "packages" / "store" / "src" / "shimmy_store" / "server" / "assets"
    light, dark = (
        (assets / "look.css").read_text(encoding="utf-8").split("prefers-color-scheme: dark")
    )
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", dark))
    grounds = ("ground", "card", "sunk", "wash")
    words = ("ink", "soft", "accent", "accent-strong", "good", "bad")
    pairs = [(word, ground, 4.5) for word in words for ground in grounds]
    pairs += [("accent-ink", "accent", 4.5), ("accent-ink", "accent-strong", 4.5)]
    pairs += [("warn-ink", "warn", 4.5), ("edge", "ground", 3), ("edge", "card", 3)]
    low = {
        (word, ground): round(_contrast(found[word], found[ground]), 2)
        for word, ground, needed in pairs
        if _contrast(found[word], found[ground]) < needed
    }
    assert low == {}


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
