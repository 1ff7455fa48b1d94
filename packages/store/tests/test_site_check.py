"""Every finding of ``shimmy-store site check``, provoked in a site that was right before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from site_places import OPERATOR, STORE, build

from shimmy_store.cli.main import main

FRONT, PRICING, STYLE = "index.html", "pricing.html", "assets/site.css"
BUY = f"{STORE}/buy"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A site of each mode."""
    places = {mode: tmp_path_factory.mktemp(mode) / "dist" for mode in ("test", "live")}
    for mode, place in places.items():
        assert build(mode, place) == 0
    return places


Findings = list[dict[str, str | int]]
Check = Callable[..., Findings]


@pytest.fixture
def check(built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Copies the built site, changes one text of it, and returns what is found."""

    def changed(
        file: str = FRONT, old: str = "", new: str = "", *, mode: str = "live", more: str = ""
    ) -> Findings:
        place = tmp_path / "dist"
        shutil.copytree(built[mode], place)
        path = place / file
        if old:
            text = path.read_text(encoding="utf-8")
            assert old in text, f"{old!r} is not in {file}"
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
        elif new:
            path.write_text(new, encoding="utf-8")
        capsys.readouterr()
        code = main(["site", "check", str(place), "--mode", mode, "--json", *more.split()])
        found: Findings = json.loads(capsys.readouterr().out)
        assert code == (1 if found else 0)
        return found

    return changed


@pytest.mark.parametrize("mode", ["test", "live"])
def test_a_built_site_is_right(check: Check, mode: str) -> None:
    assert check(mode=mode) == []


MAIN = '<main id="content" tabindex="-1">'


def _in_main(text: str) -> tuple[str, str]:
    return MAIN, MAIN + text


PROVOKED = [
    # what every page needs
    (FRONT, '<html lang="en"', "<html", "lang-missing"),
    (FRONT, "<title>Images", "<title></title><b>", "title-missing"),
    (PRICING, "<title>Pricing", "<title>Refunds", "title-repeated"),
    (FRONT, 'name="description"', 'name="descriptions"', "description-missing"),
    (FRONT, 'http-equiv="Content-Security-Policy"', 'name="csp"', "policy-missing"),
    (FRONT, *_in_main("<h1>Again</h1>"), "h1-count"),
    (FRONT, "<h1>", "<h2>", "h1-count"),
    (PRICING, *_in_main("<h3>Too deep</h3>"), "heading-skipped"),
    (FRONT, 'alt="A sign-in', 'data-alt="A sign-in', "alt-missing"),
    (FRONT, *_in_main('<img src="assets/sign-in.webp" alt="">'), "alt-missing"),
    (FRONT, *_in_main('<svg viewBox="0 0 1 1"></svg>'), "alt-missing"),
    (FRONT, *_in_main('<b id="content"></b>'), "id-repeated"),
    (FRONT, "</figure>", "", "html-unbalanced"),
    (FRONT, *_in_main("</section>"), "html-unbalanced"),
    (FRONT, *_in_main('<p class="test-mode">Test</p>'), "test-banner-left"),
    # where it leads
    (FRONT, 'href="docs/quickstart.html"', 'href="docs/quick.html"', "link-broken"),
    (FRONT, 'href="pricing.html"', 'href="../pricing.html"', "link-broken"),
    (FRONT, 'href="pricing.html"', 'href="/../pricing.html"', "link-broken"),
    (FRONT, 'href="#before"', 'href="#after"', "anchor-missing"),
    ("terms.html", "index.html#before", "index.html#after", "anchor-missing"),
    (FRONT, 'href="pricing.html"', 'href=""', "link-empty"),
    (FRONT, 'href="pricing.html"', 'href="javascript:go()"', "link-empty"),
    (FRONT, 'href="pricing.html"', 'href="mailto:nobody"', "link-broken"),
    (FRONT, *_in_main('<a href="https://other.shop/a">x</a>'), "link-outside"),
    (FRONT, *_in_main('<a href="//other.shop/a">x</a>'), "link-outside"),
    (FRONT, *_in_main('<a href="http://www.w3.org/">x</a>'), "link-insecure"),
    ("404.html", 'href="/index.html"', 'href="index.html"', "link-relative"),
    ("404.html", 'href="/assets/look.css"', 'href="assets/look.css"', "link-relative"),
    # what it loads
    (FRONT, *_in_main('<script src="https://cdn.shop/a.js"></script>'), "resource-outside"),
    (FRONT, *_in_main('<img src="//cdn.shop/a.png" alt="a">'), "resource-outside"),
    (FRONT, *_in_main('<img srcset="https://cdn.shop/a.png 2x" alt="a">'), "resource-outside"),
    (FRONT, 'src="assets/sign-in.webp"', 'src="assets/none.webp"', "link-broken"),
    (STYLE, ".hero {", "@import 'https://fonts.shop/a.css'; .hero {", "resource-outside"),
    (STYLE, ".hero {", ".hero { background: url(//cdn.shop/a.png);", "resource-outside"),
    (STYLE, ".hero {", ".hero { background: url(none.png);", "link-broken"),
    ("sitemap.xml", "pricing.html", "prices.html", "link-broken"),
    ("sitemap.xml", "https://shimmy-vision.app/p", "https://elsewhere.app/p", "link-broken"),
    # one store
    (FRONT, BUY, "https://buy2.shimmy-vision.app/buy", "store-hosts-several"),
    (FRONT, f"{STORE}/view", f"{STORE}:8443/view", "store-hosts-several"),
    (FRONT, f'data-store="{STORE}', 'data-store="https://b.app', "store-hosts-several"),
    (FRONT, BUY, "http://buy.shimmy-vision.app/buy", "store-insecure"),
    (FRONT, BUY, "https://store.example/buy", "store-not-live"),
    (FRONT, BUY, "http://127.0.0.1:8400/buy", "store-not-live"),
    (FRONT, "/buy?plan=startup", "/buy?plan=startups", "buy-link-wrong"),
    (FRONT, "/buy?plan=startup", "/buy", "buy-link-wrong"),
    (FRONT, "/buy?plan=startup", "/buy?plan=developer", "buy-link-wrong"),
    # what no text may hold
    (FRONT, *_in_main("pk_live_51Habc"), "key-left"),
    (FRONT, *_in_main("<!-- sk_test_51Habc -->"), "key-left"),
    (STYLE, ".hero {", "/* whsec_abc123 */ .hero {", "key-left"),
    (FRONT, *_in_main('<b data-a="rk_live_9"></b>'), "key-left"),
    (FRONT, *_in_main("sk&#95;live_9"), "key-left"),
    (".nojekyll", "", "sk_live_9", "key-left"),
    ("notes", "", "key: pk_test_9", "key-left"),
    (FRONT, *_in_main("[[OPERATOR: name]]"), "placeholder-left"),
    (FRONT, *_in_main("{{ name }}"), "placeholder-left"),
    (FRONT, *_in_main("TO" "DO"), "placeholder-left"),
    (FRONT, *_in_main("Lorem ipsum"), "placeholder-left"),
    (FRONT, *_in_main("https://buy.stripe.com/test_14k"), "test-address-left"),
    (FRONT, *_in_main("<b>cs_test_a1</b>"), "test-address-left"),
    (FRONT, *_in_main("localhost"), "loopback-left"),
    (FRONT, *_in_main("<code>127.0.0.1:8400</code>"), "loopback-left"),
    (FRONT, *_in_main("127.0.0.1:8750"), "loopback-left"),
    (FRONT, *_in_main("<!-- http://[::1]:80 -->"), "loopback-left"),
    (FRONT, *_in_main('<a href="http://127.0.0.1:8750/docs">x</a>'), "loopback-left"),
    ("robots.txt", "Allow", "# http://0.0.0.0/\nAllow", "loopback-left"),
    (FRONT, *_in_main("see store.example"), "example-left"),
    (FRONT, *_in_main("help@example.com"), "example-left"),
    (FRONT, *_in_main("https://shop.test/x"), "example-left"),
    # prices
    (PRICING, 'data-amount="2900"', 'data-amount="2901"', "price-differs"),
    (PRICING, 'data-currency="usd"', 'data-currency="eur"', "price-differs"),
    (PRICING, 'data-interval="once"', 'data-interval="month"', "price-differs"),
    (PRICING, 'data-pages="2500"', 'data-pages="25000"', "price-differs"),
    (PRICING, "<strong>$29</strong>", "<strong>$19</strong>", "price-differs"),
    (PRICING, "<strong>$29</strong>", "<strong>nothing</strong>", "price-differs"),
    (PRICING, "<td>$79 a month</td>", "<td>$97 a month</td>", "price-differs"),
    (PRICING, "<li>5 machines</li>", "<li>50 machines</li>", "price-differs"),
    (FRONT, *_in_main("<p>Only $9.</p>"), "price-unknown"),
    (PRICING, 'data-plan="startup"', 'data-plan="start"', "plan-unknown"),
    # size
    (STYLE, ".hero {", "/*" + "x" * 90_000 + "*/ .hero {", "load-too-large"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "code"),
    PROVOKED,
    ids=[f"{one[3]}-{n}" for n, one in enumerate(PROVOKED)],
)
def test_what_is_wrong_is_found(check: Check, file: str, old: str, new: str, code: str) -> None:
    found = check(file, old, new)
    assert code in {one["code"] for one in found}
    one = next(one for one in found if one["code"] == code)
    assert one["message"] and one["remedy"]


def test_a_finding_names_file_and_line(check: Check, built: dict[str, Path]) -> None:
    found = check(PRICING, 'data-amount="2900"', 'data-amount="2901"')
    lines = (built["live"] / PRICING).read_text(encoding="utf-8").split("\n")
    expected = next(number for number, line in enumerate(lines, 1) if 'data-amount="2900"' in line)
    assert [(one["path"], one["line"]) for one in found] == [(PRICING, expected)]


def test_no_key_is_repeated_whole(check: Check) -> None:
    found = check(FRONT, *_in_main("sk_live_51HabcdefghijklmnopqrsTUVW"))
    assert "51Habc" not in json.dumps(found)


def test_test_mode_wants_its_banner_and_forgives_drafts(check: Check) -> None:
    found = check(FRONT, 'class="test-mode"', 'class="other"', mode="test")
    assert {one["code"] for one in found} == {"test-banner-missing"}


def test_a_site_of_test_mode_never_goes_out_as_live(
    built: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["site", "check", str(built["test"]), "--mode", "live"]) == 1
    said = capsys.readouterr().out
    assert "[test-banner-left]" in said and "[placeholder-left]" in said
    assert said.splitlines()[-1].endswith("things are wrong")


def test_a_site_without_a_store_is_found(check: Check, tmp_path: Path) -> None:
    found = check(mode="live", more="--allow-host buy.shimmy-vision.app")
    assert "store-host-missing" in {one["code"] for one in found}


def test_hosts_can_be_allowed_by_name(check: Check) -> None:
    link = _in_main('<a href="https://other.shop/a">x</a>')
    assert check(FRONT, *link, more="--allow-host other.shop") == []


def test_missing_files_and_plans_are_found(
    built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "dist"
    shutil.copytree(built["live"], place)
    (place / "pricing.html").unlink()
    (place / ".nojekyll").unlink()
    capsys.readouterr()
    assert main(["site", "check", str(place), "--mode", "live", "--json"]) == 1
    found = [(one["code"], one["path"]) for one in json.loads(capsys.readouterr().out)]
    assert ("page-missing", ".nojekyll") in found
    assert found.count(("plan-missing", PRICING)) == 5
    assert "link-broken" in {code for code, _ in found}


def test_a_folder_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["site", "check", str(tmp_path / "none"), "--mode", "live"]) == 2
    assert "[site-missing]" in capsys.readouterr().err


def test_the_operators_mail_may_be_no_example(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(OPERATOR.replace("help@shimmy-vision.app", "help@example.com"))
    out = tmp_path / "dist"
    assert build("live", out, "--operator", str(file)) == 0
    assert main(["site", "check", str(out), "--mode", "live"]) == 1
