"""What a real browser shows of a page: its picture, its elements, what is noted."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from web_places import Site, need_chromium, serve_site

from shimmy_vision.adapters.web.chromium_pages import ChromiumPages
from shimmy_vision.domain.web.allow_list import read_allow_list
from shimmy_vision.domain.web.dom_elements import DomElement
from shimmy_vision.errors import ImageError, LibraryError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.page_capture import PageCapture, PageLimits, PageOrder

pytestmark = pytest.mark.slow

CAPTURED = """<!doctype html><html lang=en><title> A
 page </title><style>
* { margin: 0; box-sizing: border-box; } body { background: #eeeeee; height: 2000px; }
button, a, input { position: absolute; border: 0; padding: 0; }
#plain { left: 10px; top: 20px; width: 100px; height: 30px; color: #777; background: #fff; }
#faded { left: 10px; top: 60px; width: 100px; height: 30px; color: #000; background: #fff;
  opacity: .5; }
#photo { left: 10px; top: 100px; width: 100px; height: 30px; color: #000;
  background: linear-gradient(red, blue); }
#modern { left: 10px; top: 140px; width: 100px; height: 30px; color: oklch(1 0 0);
  background: color(srgb 0 0 0); }
#far { left: 10px; top: 1900px; width: 100px; height: 30px; }
.clip { position: absolute; left: 200px; top: 20px; width: 50px; height: 50px; overflow: hidden; }
.clip button { left: 30px; top: 30px; width: 100px; height: 100px; }
.clip .gone { left: 90px; }
.reader { left: 0; top: 0; width: 1px; height: 1px; overflow: hidden; }
iframe { position: absolute; left: 100px; top: 300px; width: 200px; height: 100px;
  border: 5px solid; padding: 3px; }
#host { position: absolute; top: 500px; left: 0; }
</style>
<button id=plain>Grey</button><button id=faded>Faded</button><button id=photo>Photo</button>
<button id=modern aria-describedby=x aria-label="  Modern
 one ">M</button>
<a id=far href="/there?token=secret#part">Far <b>away</b></a>
<div class=clip><button class=half>Half</button><button class=gone>Gone</button></div>
<button class=reader>Only read out</button>
<button hidden>Hidden</button><button style="visibility:hidden">Invisible</button>
<button style="opacity:0">Transparent</button><div inert><button>Inert</button></div>
<input type=hidden name=token value=secret><input type=password name=pass value=secret
 style="top:200px"><input name=mail type=email placeholder=Mail disabled style="top:230px">
<input type=checkbox checked name=box style="top:250px">
<span>no</span>
<iframe srcdoc="<style>*{margin:0}button{position:absolute;left:10px;top:10px;width:50px;
 height:20px;border:0;color:#fff;background:#000}</style><button>Inner</button>
 <button style='top:50px'>Inner two</button>
 <a href='#x' style='position:absolute;top:500px'>Below</a>"></iframe>
<iframe sandbox srcdoc="<button>Elsewhere</button>" style="top:420px"></iframe>
<div id=host><button slot=s style="position:static">Slotted</button></div>
<script>
const root = document.getElementById("host").attachShadow({ mode: "open" });
root.innerHTML = "<button>One</button><button>Two</button><slot name=s></slot><p id=deep></p>";
for (const one of root.querySelectorAll("button")) one.style.cssText = "position:static";
root.getElementById("deep").attachShadow({ mode: "open" }).innerHTML = "<a href=/deep>Deep</a>";
</script>"""

CROWD = """<!doctype html><title>crowd</title>
<form><input name=parentNode><input name=children><input name=nodeType><input name=getAttribute>
<input name=innerText><input name=id><input name=localName><button>In a form</button></form>
<img name=body><img name=documentElement><form name=children></form>
<form name=querySelectorAll></form>
<ul><li><a href=#1>one</a><li><a href=#1>one</a><li><a href=#1>one</a></ul>
<button id=twice>a</button><button id=twice>b</button>
<button id=":r1:">react</button><button id="item-83625">row</button>
<button data-testid="send &quot;now&quot;">t</button>
<button aria-label="Close\u00a0\u2715">x</button>
<input type=radio name=r value=1><input type=radio name=r value=2>
<button id="1st">digit</button><button id="a.b:c d">odd</button>
<svg width=20 height=20><a href=/svg tabindex=0><rect width=20 height=20 /></a></svg>
<x-card tabindex=0>custom</x-card><div role=button>div</div><div role="foo link">roles</div>
<div onclick="1">old</div><p contenteditable>edit</p><span tabindex=-1>not</span>
<details><summary>more</summary></details><label>shown <input type=checkbox></label>
<label>styled <input type=checkbox style="opacity:0"></label>
<select><option>A<option selected>B</select>
<textarea>text</textarea>
<script>
Array.prototype.push = () => { throw 1 }; JSON.stringify = () => "x"; Map.prototype.set = null;
window.getComputedStyle = () => null; Element.prototype.getBoundingClientRect = () => null;
Document.prototype.querySelectorAll = () => []; window.CSS = undefined;
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    return need_chromium()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve_site({"/": CAPTURED, "/crowd": CROWD}) as served:
        yield served


Shoot = Callable[..., PageCapture]


@pytest.fixture(scope="module")
def shoot(site: Site, browser: str) -> Shoot:
    def shot(path: str = "/", **order: Any) -> PageCapture:
        camera = ChromiumPages(read_allow_list([site.place]))
        sides = {"width": 375, "height": 667, **order}
        return camera.capture(PageOrder(site.url + path, browser=browser, **sides), Cancellation())

    return shot


@pytest.fixture(scope="module")
def page(shoot: Shoot) -> PageCapture:
    return shoot()


def _named(capture: PageCapture, name: str) -> DomElement:
    (found,) = [one for one in capture.elements if one.name == name]
    return found


def _sides(element: DomElement) -> tuple[int, int, int, int]:
    return element.box.x, element.box.y, element.box.width, element.box.height


def test_the_whole_page_is_on_the_picture(page: PageCapture) -> None:
    image = Image.open(io.BytesIO(page.png)).convert("RGB")
    assert image.size == (page.width, page.height) == (375, 2000)
    assert image.getpixel((370, 1990)) == (0xEE, 0xEE, 0xEE)
    assert page.title == "A page"
    assert page.notes == ("elements of 1 frames of other sites are not listed",)


def test_boxes_are_where_the_picture_shows_them(page: PageCapture) -> None:
    image = Image.open(io.BytesIO(page.png)).convert("RGB")
    box = _named(page, "Grey").box
    assert image.getpixel((box.x + 1, box.y + 1)) == (255, 255, 255)
    assert image.getpixel((box.x - 1, box.y + 1)) == (0xEE, 0xEE, 0xEE)
    inner = _named(page, "Inner").box
    assert image.getpixel((inner.x + 1, inner.y + 1)) == (0, 0, 0)
    assert image.getpixel((inner.x - 1, inner.y - 1)) == (0xEE, 0xEE, 0xEE)
    assert _sides(_named(page, "Grey")) == (10, 20, 100, 30)
    assert _sides(_named(page, "Far away")) == (10, 1900, 100, 30)
    assert _sides(_named(page, "Inner")) == (118, 318, 50, 20)
    assert _sides(_named(page, "Half")) == (230, 50, 20, 20)


def test_only_what_is_seen_and_can_be_used_is_listed(page: PageCapture) -> None:
    names = [one.name or one.attributes.get("name", "") for one in page.elements]
    assert names == [
        "Grey", "Faded", "Photo", "Modern one", "Far away", "Half", "pass", "Mail", "box",
        "Inner", "Inner two", "One", "Two", "Deep", "Slotted",
    ]  # fmt: skip


def test_elements_say_what_they_are_and_keep_no_secrets(page: PageCapture) -> None:
    far = _named(page, "Far away")
    assert (far.tag, far.role, far.text) == ("a", "link", "Far away")
    assert far.attributes["href"].endswith("/there")
    mail = _named(page, "Mail")
    assert (mail.role, mail.attributes["type"], mail.attributes["disabled"]) == (
        "textbox", "email", "",
    )  # fmt: skip
    checked = [one for one in page.elements if "checked" in one.attributes]
    assert [one.role for one in checked] == ["checkbox"]
    assert "secret" not in repr(page.elements)


@pytest.mark.parametrize(
    ("name", "foreground", "background", "contrast"),
    [
        ("Grey", "#777777", "#ffffff", 4.48),
        # Half of white over #eeeeee is 246.5, half of black 119.
        ("Faded", "#777777", "#f6f6f6", 4.14),
        ("Photo", "#000000", None, None),
        ("Modern one", "#ffffff", "#000000", 21.0),
        ("Inner", "#ffffff", "#000000", 21.0),
        ("Mail", "#757575", None, None),
    ],
)
def test_contrast_is_that_of_the_painted_colours(
    page: PageCapture, name: str, foreground: str, background: str | None, contrast: float | None
) -> None:
    element = _named(page, name)
    assert element.foreground == foreground
    if name != "Mail":  # whose background is the browser's own for a disabled field
        assert (element.background, element.contrast) == (background, contrast)


def test_the_viewport_alone_is_shown_when_asked(shoot: Shoot) -> None:
    capture = shoot(full_page=False, device_scale=2.0)
    assert (capture.width, capture.height) == (750, 1334)
    assert _sides(_named(capture, "Grey")) == (20, 40, 200, 60)
    assert not [one for one in capture.elements if one.name == "Far away"]


def test_tall_pages_are_cut(shoot: Shoot, site: Site) -> None:
    site.pages["/tall"] = "<div style='height:900000px'><a href=/>up</a></div><a href=/>down</a>"
    capture = shoot("/tall", limits=PageLimits(max_height=3_000))
    assert (capture.width, capture.height) == (375, 3_000)
    assert any(note.startswith("cut to 375x3000 of 375x9000") for note in capture.notes)
    assert [one.name for one in capture.elements] == ["up"]
    site.pages["/tall"] = "<p><button>x</button></p>" * 2500
    notes = shoot("/tall", limits=PageLimits(max_height=3_000)).notes
    assert [note.partition(" ")[0] for note in notes] == ["cut"]


def test_what_loads_when_scrolled_to_is_there(shoot: Shoot, site: Site) -> None:
    site.pages["/lazy"] = (
        "<div style='height:6000px'></div><img loading=lazy src=/lazy.svg width=50 height=50>"
    )
    red = b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='99' height='99' fill='red'/></svg>"
    site.pages["/lazy.svg"] = (200, {"Content-Type": "image/svg+xml"}, red)
    capture = shoot("/lazy")
    image = Image.open(io.BytesIO(capture.png)).convert("RGB")
    assert image.getpixel((30, 6030)) == (255, 0, 0)


def test_a_page_of_too_many_elements_is_listed_in_part(shoot: Shoot, site: Site) -> None:
    site.pages["/many"] = "<button>x</button>" * 2500
    begun = time.monotonic()
    capture = shoot("/many")
    assert time.monotonic() - begun < 45  # 4 s on an idle machine; it was 50 before it was noticed
    assert len(capture.elements) == 2000
    assert "more than 2,000 elements; the first are listed" in capture.notes


def test_missing_pages_are_shown_with_a_note(shoot: Shoot) -> None:
    assert shoot("/missing").notes[0] == "the page came with HTTP 404"


def _root(page: Page, element: DomElement) -> Any:
    """The document or shadow root that ``element`` is in, as a handle."""
    root: Any = page.evaluate_handle("document")
    for step in element.roots:
        hits = root.evaluate("(root, one) => root.querySelectorAll(one).length", step.selector)
        assert hits == 1, step
        host = root.evaluate_handle("(root, one) => root.querySelector(one)", step.selector)
        kind = "shadowRoot" if step.kind == "shadow" else "contentDocument"
        root = host.evaluate_handle("(host, kind) => host[kind]", kind)
    return root


def _open(browser: str, url: str, folder: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            folder, executable_path=browser, chromium_sandbox=False,
            viewport={"width": 375, "height": 667}, java_script_enabled=True,
        )  # fmt: skip
        try:
            page = opened.pages[0]
            page.goto(url)
            yield page
        finally:
            opened.close()


@pytest.mark.parametrize("path", ["/", "/crowd"])
def test_each_selector_finds_its_element_and_no_other(
    shoot: Shoot, site: Site, browser: str, tmp_path: Path, path: str
) -> None:
    capture = shoot(path)
    # The page's tricks would break this witness too, which works in the page's own world.
    site.pages["/witness"] = (
        str(site.pages[path]).partition("Array.prototype.push")[0] + "</script>"
    )
    if path == "/":
        site.pages["/witness"] = site.pages[path]
    for page in _open(browser, site.url + "/witness", tmp_path):
        found = []
        for element in capture.elements:
            hits = _root(page, element).evaluate_handle(
                "(root, one) => (root.nodeType === 11 ? ShadowRoot : root.constructor)"
                ".prototype.querySelectorAll.call(root, one)",
                element.selector,
            )
            assert hits.evaluate("hits => hits.length") == 1, element
            left, top = hits.evaluate(
                "hits => { const r = Element.prototype.getBoundingClientRect.call(hits[0]);"
                " return [r.left, r.top] }"
            )
            assert hits.evaluate("hits => hits[0].localName") == element.tag
            if not element.roots:
                assert abs(left - element.box.x) <= 1 or element.name == "Half"
                assert abs(top - element.box.y) <= 1 or element.name == "Half"
            found.append((element.roots, element.selector))
        assert len(set(found)) == len(found) > 10


def test_selectors_prefer_what_lasts(shoot: Shoot) -> None:
    crowd = shoot("/crowd")
    selectors = {one.name or one.text: one.selector for one in crowd.elements}
    assert selectors["In a form"] == "button:nth-of-type(1)" or "form" in selectors["In a form"]
    assert selectors["t"] == '[data-testid="send \\"now\\""]'
    assert selectors["Close \u2715"].startswith('button[aria-label="Close')
    assert selectors["digit"] == "#\\31 st"
    assert selectors["odd"] == "#a\\.b\\:c\\ d"
    assert "r1" not in selectors["react"]
    assert "83625" not in selectors["row"]
    assert selectors["a"] != selectors["b"]
    radios = [one.selector for one in crowd.elements if one.role == "radio"]
    assert radios == [f'input[name="r"][value="{n}"]' for n in (1, 2)]
    listed = {one.text for one in crowd.elements}
    assert {"custom", "div", "roles", "old", "edit", "more", "B", "text"} <= listed
    assert "not" not in listed
    assert "styled" in listed
    assert "shown" not in listed


def test_viewports_that_cannot_be_are_refused(site: Site) -> None:
    for odd in ({"width": 5}, {"height": 99_999}, {"device_scale": 0.0}):
        with pytest.raises(UsageError) as refused:
            ChromiumPages(read_allow_list([site.place])).capture(
                PageOrder(site.url, **odd), Cancellation()
            )
        assert refused.value.code == "viewport-refused"


def test_a_missing_browser_is_named_with_the_command_that_installs_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    camera = ChromiumPages(read_allow_list([site.place]))
    monkeypatch.setenv("PATH", str(tmp_path))
    for named in (None, "no-such-browser"):
        with pytest.raises(LibraryError) as missing:
            camera.capture(PageOrder(site.url, browser=named), Cancellation())
        assert missing.value.code == "browser-missing"
        assert "apt install chromium" in missing.value.hint
        assert (named or "chromium-browser") in missing.value.message


def test_a_missing_playwright_is_named_with_the_command_that_installs_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LibraryError) as missing:
        ChromiumPages(read_allow_list([site.place])).capture(PageOrder(site.url), Cancellation())
    assert missing.value.code == "playwright-missing"
    assert missing.value.hint.startswith("pip install 'shimmy-vision[web]'")


def test_a_browser_that_does_not_start_says_so(site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'cannot open display' >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(LibraryError) as failed:
        ChromiumPages(read_allow_list([site.place])).capture(
            PageOrder(site.url, browser=str(broken)), Cancellation()
        )
    assert failed.value.code == "browser-failed"
    assert failed.value.hint


def test_a_page_that_nobody_serves_is_unreachable(browser: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # Nobody listens there, and nobody else gets it.
        place = f"127.0.0.1:{closed.getsockname()[1]}"
        camera = ChromiumPages(read_allow_list([place]))
        with pytest.raises(ImageError) as failed:
            camera.capture(PageOrder(f"http://{place}", browser=browser), Cancellation())
    assert failed.value.code == "page-unreachable"


def test_frames_are_not_confused_with_pages(page: PageCapture) -> None:
    roots = {one.name: [step.kind for step in one.roots] for one in page.elements}
    assert roots["Inner"] == ["frame"]
    assert roots["Two"] == ["shadow"]
    assert roots["Deep"] == ["shadow", "shadow"]
    assert roots["Slotted"] == []
