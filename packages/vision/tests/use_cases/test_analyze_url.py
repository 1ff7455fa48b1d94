"""URLs through the real fetch, a real Chromium and the real library, on a synthetic pair."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from engines import CountingEngines
from licence_world import Customer, Shop
from pdf_writer import text_page, write_pdf
from PIL import Image
from playwright.sync_api import sync_playwright
from web_pages import SHOP, SHOP_NAMES, KeptCamera, NoCamera, root_of
from web_places import Site, keep_canary, need_chromium, redirect, serve_site

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.kept_results import MemoryResults
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocuments
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.adapters.web.chromium_pages import ChromiumPages
from shimmy_vision.adapters.web.guarded_fetch import GuardedFetch
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    DocumentRequest,
    PageView,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import parse_pages
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.domain.web.allow_list import read_allow_list
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    LicenceError,
    ShimmyError,
    StoppedError,
    UsageError,
)
from shimmy_vision.ports.analyst import JobEvent, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.page_capture import PageCamera, PageCapture, PageOrder
from shimmy_vision.ports.progress import PageProgress, Progress
from shimmy_vision.use_cases.analyze_document import DocumentCollaborators
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image
from shimmy_vision.use_cases.analyze_url import analyze_url
from shimmy_vision.use_cases.analyze_web_page import WebCollaborators

pytestmark = pytest.mark.slow

SMALL = PageView(400, 300)
SECRETS = "?token=secret"


def _png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    pdf = write_pdf(*(text_page(f"Page {n} begins") for n in (1, 2, 3)))
    with serve_site({"/": SHOP, "/a.png": _png(), "/report.html": pdf}) as served:
        yield served


@pytest.fixture(autouse=True)
def nothing_seen(site: Site) -> None:
    site.seen.clear()


@pytest.fixture(scope="module")
def engine(open_engine: Callable[..., LlamaEngine], synthetic_46: SyntheticPair) -> Iterator[Any]:
    opened = open_engine(synthetic_46, "4.6")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def licensing(session_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Licensing]:
    key = session_shop.sell("startup").key
    with ExitStack() as opened:
        folder = tmp_path_factory.mktemp("licence")
        yield Customer(session_shop, folder, given_key=key, opened=opened).licensing()


@pytest.fixture(scope="module")
def shot(site: Site) -> KeptCamera:
    """One true picture of the shop, for tests that are not about taking it."""
    kept = KeptCamera(ChromiumPages(read_allow_list([site.place])))
    order = PageOrder(site.url + "/", SMALL.width, SMALL.height, browser=need_chromium())
    kept.capture(order, Cancellation())
    return kept


@pytest.fixture
def web(engine: LlamaEngine, licensing: Licensing, site: Site) -> WebCollaborators:
    analysis = Collaborators(
        licensing, PillowIntake(), IntakeLimits(), LlguidanceSchemas(), CountingEngines(engine)
    )
    documents = DocumentCollaborators(analysis, PdfiumDocuments(), DocumentLimits())
    allow = read_allow_list([site.place])
    return WebCollaborators(documents, GuardedFetch(allow), ChromiumPages(allow), need_chromium())


def _licensed(web: WebCollaborators, licensing: Licensing, **more: Any) -> WebCollaborators:
    analysis = replace(web.documents.analysis, licensing=licensing, **more)
    return replace(web, documents=replace(web.documents, analysis=analysis))


def _request(
    question: Question | None = None, *, pages: str = "1-", tokens: int = 5, **more: Any
) -> DocumentRequest:
    limits = AnswerLimits(max_tokens=tokens, seed=more.pop("seed", None))
    analysis = AnalysisRequest(question or StandardQuestion("layout"), limits, **more)
    return DocumentRequest(analysis, parse_pages(pages), 40)


def _all(
    url: str,
    web: WebCollaborators,
    request: DocumentRequest | None = None,
    hear: Callable[[JobEvent], None] = lambda event: None,
    switches: Callable[[], Cancellation] = Cancellation,
    view: PageView = SMALL,
) -> list[Any]:
    return list(analyze_url(url, request or _request(), view, web, switches, hear))


def _one(*given: Any, **more: Any) -> dict[str, Any]:
    (result,) = _all(*given, **more)
    assert isinstance(result, dict)
    return result


def _pages(licensing: Licensing) -> tuple[int, int]:
    key = licensing.key()
    assert key is not None
    with licensing.state.session(key) as session:
        return session.record.total, session.record.reserved


# ---- a web page -------------------------------------------------------------------------------


def test_a_page_is_its_picture_and_its_elements(
    web: WebCollaborators, site: Site, licensing: Licensing, tmp_path: Path
) -> None:
    total, reserved = _pages(licensing)
    question, camera = StandardQuestion("full"), _Timed(web.camera)
    watched = replace(web, camera=camera)
    result = _one(f"{site.url}/{SECRETS}#top", watched, _request(question, tokens=40))
    jsonschema.validate(result, result_schema(question))
    assert _pages(licensing) == (total + 1, reserved)
    assert list(result)[-2:] == ["dom_map", "meta"]
    elements = {one["name"]: one for one in result["dom_map"]}
    assert list(elements) == SHOP_NAMES
    meta = result["meta"]
    assert (meta["image"]["format"], meta["image"]["width"], meta["image"]["height"]) == (
        "PNG", 400, 900,
    )  # fmt: skip
    assert meta["page"] == {
        "url": f"{site.url}/{SECRETS}#top",
        "title": "Shop",
        "status": 200,
        "viewport": {"width": 400, "height": 300, "device_scale": 1.0},
        "full_page": True,
        "notes": [],
    }
    assert meta["timings"]["fetch_ms"] > 1000 * camera.seconds - 1 > 0
    assert sum(meta["timings"].values()) <= meta["duration_ms"] * 1.01 + 1
    for box in (one["box"] for one in elements.values()):
        assert 0 <= box["x"] < box["x"] + box["width"] <= 400
        assert 0 <= box["y"] < box["y"] + box["height"] <= 900
    _check_colours(elements)
    _check_selectors(elements, site, web.browser, tmp_path)


class _Timed:
    """Takes the pictures of ``camera`` and the time."""

    def __init__(self, camera: PageCamera) -> None:
        self._camera, self.seconds = camera, 0.0

    def capture(self, order: PageOrder, cancellation: Cancellation) -> PageCapture:
        begun = time.perf_counter()
        capture = self._camera.capture(order, cancellation)
        self.seconds += time.perf_counter() - begun
        return capture


def _check_colours(elements: dict[str, Any]) -> None:
    names = ("Buy now", "Catalogue", "Photo", "Sold out", "In the shadow", "In a frame")
    judged = {name: elements[name]["compliant"] for name in names}
    assert judged == {
        "Buy now": False,  # #777777 on white is 4.48
        "Catalogue": True,  # the same, in letters of 24 pixels
        "Photo": None,
        "Sold out": None,
        "In the shadow": True,
        "In a frame": True,
    }
    buy = elements["Buy now"]
    assert (buy["foreground"], buy["background"], buy["contrast"]) == ("#777777", "#ffffff", 4.48)
    assert elements["Photo"]["background"] is None
    assert elements["Catalogue"]["attributes"]["href"].endswith("/catalogue")


def _check_selectors(
    elements: dict[str, Any], site: Site, browser: str | None, folder: Path
) -> None:
    """With a browser of its own, that knows nothing of ours."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            folder, executable_path=browser, chromium_sandbox=False,
            viewport={"width": 400, "height": 300},
        )  # fmt: skip
        try:
            page = opened.pages[0]
            page.goto(site.url)
            for name, one in elements.items():
                hits = root_of(page, one.get("roots", [])).evaluate_handle(
                    "(root, one) => root.querySelectorAll(one)", one["selector"]
                )
                assert hits.evaluate("hits => hits.length") == 1, name
                said = "hits => hits[0].ariaLabel ?? hits[0].textContent"
                assert hits.evaluate(said) == name
        finally:
            opened.close()
    kinds = {
        name: [step["kind"] for step in one.get("roots", [])] for name, one in elements.items()
    }
    assert kinds["In the shadow"] == ["shadow"]
    assert kinds["In a frame"] == ["frame"]
    assert "roots" not in elements["Buy now"]


@pytest.mark.parametrize("mode", [*MODES, "custom"])
def test_every_question_follows_its_schema_and_has_the_map(
    web: WebCollaborators, site: Site, shot: KeptCamera, mode: Any
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    question = CustomQuestion("?", schema) if mode == "custom" else StandardQuestion(mode)
    result = _one(site.url, replace(web, camera=shot), _request(question, tokens=30))
    jsonschema.validate(result, result_schema(question))
    assert [one["name"] for one in result["dom_map"]] == SHOP_NAMES
    assert result["meta"]["page"]["title"] == "Shop"


def test_each_element_the_model_saw_says_where_it_is_from(
    web: WebCollaborators, site: Site, shot: KeptCamera
) -> None:
    seen = []
    for seed in range(8):
        request = _request(seed=seed, tokens=300)
        seen += _one(site.url, replace(web, camera=shot), request)["layout"]["key_ui_elements"]
    assert seen
    assert {one["source"] for one in seen} <= {"model", "dom"}
    plain = analyze_image(
        _png(), _request(seed=0, tokens=300).analysis, web.documents.analysis, Cancellation(), print
    )
    assert "dom_map" not in plain
    assert all("source" not in one for one in plain["layout"]["key_ui_elements"])


def test_the_view_is_as_it_was_ordered(web: WebCollaborators, site: Site) -> None:
    view = PageView(320, 200, 2.0, full_page=False)
    meta = _one(site.url, web, view=view)["meta"]
    assert (meta["image"]["width"], meta["image"]["height"]) == (640, 400)
    assert meta["page"]["viewport"] == {"width": 320, "height": 200, "device_scale": 2.0}
    assert meta["page"]["full_page"] is False


def test_limits_on_images_cut_pages(web: WebCollaborators, site: Site) -> None:
    tight = IntakeLimits(max_bytes=500, max_dimension=350)
    result = _one(site.url, _licensed(web, web.documents.analysis.licensing, intake_limits=tight))
    assert (result["meta"]["image"]["width"], result["meta"]["image"]["height"]) == (350, 350)
    assert any(note.startswith("cut to 350x350") for note in result["meta"]["page"]["notes"])


# ---- what the bytes say -----------------------------------------------------------------------


def test_an_image_is_analysed_as_one(
    web: WebCollaborators, site: Site, licensing: Licensing
) -> None:
    total, reserved = _pages(licensing)
    heard: list[JobEvent] = []
    result = _one(f"{site.url}/a.png{SECRETS}", replace(web, camera=NoCamera()), hear=heard.append)
    request = _request().analysis
    direct = analyze_image(_png(), request, web.documents.analysis, Cancellation(), print)
    assert {**result, "meta": 0} == {**direct, "meta": 0}
    assert (result["meta"]["image"], "page" in result["meta"]) == (direct["meta"]["image"], False)
    assert result["meta"]["timings"]["fetch_ms"] > 0 == direct["meta"]["timings"]["fetch_ms"]
    assert heard[0] == Progress("fetch", 0, 0)
    assert _pages(licensing) == (total + 2, reserved)
    assert site.seen == [f"/a.png{SECRETS}"]


def test_a_document_is_its_pages_whatever_it_is_called(web: WebCollaborators, site: Site) -> None:
    switches: list[Cancellation] = []
    heard: list[JobEvent] = []

    def fresh() -> Cancellation:
        switches.append(Cancellation())
        return switches[-1]

    request = _request(StandardQuestion("ocr"), pages="3,1")
    camera = replace(web, camera=NoCamera())
    outcomes = _all(f"{site.url}/report.html", camera, request, heard.append, fresh)
    assert [one.page for one in outcomes] == [3, 1]
    texts = [one.result["text_blocks"][0]["text"] for one in outcomes]
    assert texts == ["Page 3 begins", "Page 1 begins"]
    fetching = [one.result["meta"]["timings"]["fetch_ms"] for one in outcomes]
    assert fetching[0] > 0 == fetching[1]
    assert len(switches) == 4, "one for the fetch, one to open it, one for each page"
    assert {one.page for one in heard if isinstance(one, PageProgress)} == {1, 3}
    assert site.seen == ["/report.html"]


def test_pages_of_a_document_that_were_told_are_left_out(web: WebCollaborators, site: Site) -> None:
    request = _request(StandardQuestion("ocr"))
    outcomes = analyze_url(
        f"{site.url}/report.html", request, SMALL, web, Cancellation, lambda event: None,
        told={1, 2},
    )  # fmt: skip
    assert [one.page for one in outcomes if isinstance(one, PageOutcome)] == [3]


def test_too_large_a_file_is_refused_and_a_large_page_is_not(
    web: WebCollaborators, site: Site
) -> None:
    tight = IntakeLimits(max_bytes=20_000)
    limited = _licensed(web, web.documents.analysis.licensing, intake_limits=tight)
    site.pages["/big.png"] = _png() + bytes(30_000)
    with pytest.raises(ImageError) as refused:
        _all(f"{site.url}/big.png", replace(limited, camera=NoCamera()))
    assert refused.value.code == "fetch-too-large"
    site.pages["/big"] = "<title>Big</title><button>x</button>" + "<!-- -->" * 300_000
    assert _one(f"{site.url}/big", limited)["meta"]["page"]["title"] == "Big"


# ---- what a plain fetch cannot and a browser can -------------------------------------------------


def test_pages_for_what_is_missing_are_shown(web: WebCollaborators, site: Site) -> None:
    site.pages["/gone"] = (
        404,
        {"Content-Type": "text/html"},
        b"<title>Gone</title><a href=/>x</a>",
    )
    result = _one(f"{site.url}/gone", web)
    assert result["meta"]["page"]["status"] == 404
    assert result["meta"]["page"]["notes"] == ["the page came with HTTP 404"]
    assert [one["name"] for one in result["dom_map"]] == ["x"]


def test_many_redirects_are_a_browsers_to_follow(web: WebCollaborators, site: Site) -> None:
    site.pages.update({f"/hop/{n}": redirect(f"/hop/{n + 1}") for n in range(8)})
    site.pages["/hop/8"] = "<title>There</title>"
    page = _one(f"{site.url}/hop/0", web)["meta"]["page"]
    assert (page["title"], page["url"]) == ("There", f"{site.url}/hop/8")


def test_who_has_no_browser_is_told_what_the_fetch_said(web: WebCollaborators, site: Site) -> None:
    without = replace(web, browser="no-such-browser")
    for path, code in (("/nothing", "fetch-not-found"), ("/", "browser-missing")):
        with pytest.raises(ShimmyError) as failed:
            _all(site.url + path, without)
        assert failed.value.code == code
        assert failed.value.hint


def test_a_server_that_hangs_up_is_unreachable(
    web: WebCollaborators, site: Site, licensing: Licensing
) -> None:
    def hang_up(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True

    site.pages["/hang-up"] = hang_up
    before = _pages(licensing)
    with pytest.raises(ImageError) as failed:
        _all(f"{site.url}/hang-up{SECRETS}", web)
    assert failed.value.code == "page-unreachable"
    assert "secret" not in str(failed.value)
    assert _pages(licensing) == before


def test_a_file_that_breaks_off_is_no_page(web: WebCollaborators, site: Site) -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "9000")
        request.end_headers()
        request.wfile.write(_png() + bytes(2_000))
        request.close_connection = True

    site.pages["/cut.png"] = cut
    with pytest.raises(ImageError) as failed:
        _all(f"{site.url}/cut.png", replace(web, camera=NoCamera()))
    assert failed.value.code == "fetch-failed"


# ---- refusals ------------------------------------------------------------------------------------


def test_refusals_stay_refusals(web: WebCollaborators, site: Site, licensing: Licensing) -> None:
    watched = NoCamera()
    before = _pages(licensing)
    with keep_canary() as canary:
        site.pages["/away"] = redirect(canary.url)
        for url, code in (
            (canary.url, "url-refused"),
            (f"http://user:secret@{site.place}/", "url-refused"),
            ("file:///etc/passwd", "url-refused"),
            (f"{site.url}/away", "redirect-refused"),
        ):
            with pytest.raises(ShimmyError) as refused:
                _all(url, replace(web, camera=watched))
            assert refused.value.code == code
            assert "secret" not in str(refused.value)
    assert (canary.hits, watched.orders) == (0, [])
    assert _pages(licensing) == before


def test_offline_nothing_is_visited(web: WebCollaborators, site: Site) -> None:
    allow = read_allow_list([site.place])
    offline = replace(
        web,
        fetch=GuardedFetch(allow, offline=True),
        camera=ChromiumPages(allow, offline=True),
    )
    with pytest.raises(UsageError) as refused:
        _all(site.url, offline)
    assert refused.value.code == "url-offline"
    with pytest.raises(UsageError) as refused:
        _all(site.url, replace(offline, fetch=_Unable()))
    assert refused.value.code == "url-offline", "the camera refuses by itself"
    assert site.seen == []


class _Unable:
    """A fetch that leaves everything to the browser."""

    def fetch(self, *_given: object) -> bytes:
        raise ImageError("fetch-failed", "It does not work.")


def test_a_window_that_cannot_be_is_refused_first(web: WebCollaborators, site: Site) -> None:
    with pytest.raises(UsageError) as refused:
        _all(site.url, web, view=PageView(5, 5))
    assert refused.value.code == "viewport-refused"
    assert site.seen == []


def test_without_licence_or_pages_nothing_is_fetched(
    web: WebCollaborators, site: Site, session_shop: Shop, tmp_path: Path
) -> None:
    sold = session_shop.sell("startup")
    session_shop.change(sold, maxUses=1)
    with Customer(session_shop, tmp_path / "none").process() as unlicensed:
        with pytest.raises(LicenceError) as refused:
            _all(site.url, _licensed(web, unlicensed))
        assert refused.value.code == "licence-missing"
    with Customer(session_shop, tmp_path / "one", given_key=sold.key).process() as capped:
        gated = _licensed(web, capped)
        assert site.seen == []
        _one(f"{site.url}/a.png", gated)
        site.seen.clear()
        for path in ("/", "/a.png", "/report.html"):
            with pytest.raises(LicenceError) as refused:
                _all(site.url + path, gated)
            assert refused.value.code == "page-cap-reached"
        assert _pages(capped) == (1, 0)
    assert site.seen == []


# ---- being stopped ----------------------------------------------------------------------------


@pytest.mark.parametrize("nth", [1, 2])
def test_a_switch_thrown_while_fetching_ends_it(
    web: WebCollaborators, site: Site, licensing: Licensing, nth: int
) -> None:
    """While the plain fetch runs, and while the browser does."""
    switch, told = Cancellation(), 0

    def hear(event: JobEvent) -> None:
        nonlocal told
        told += event == Progress("fetch", 0, 0)
        if told == nth:
            switch.cancel("interrupted")

    before = _pages(licensing)
    with pytest.raises(StoppedError):
        _all(site.url, web, hear=hear, switches=lambda: switch)
    assert told == nth
    assert _pages(licensing) == before


def test_a_deadline_holds_for_a_server_that_does_not_answer(
    web: WebCollaborators, site: Site
) -> None:
    over = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        over.wait(60)
        request.close_connection = True

    site.pages["/slow"] = slow
    switch = Cancellation()

    def hear(event: JobEvent) -> None:
        threading.Timer(0.5, switch.cancel, ("deadline",)).start()

    begun = time.monotonic()
    with pytest.raises(DeadlineError) as late:
        _all(f"{site.url}/slow", web, hear=hear, switches=lambda: switch)
    over.set()
    assert late.value.code == "deadline-exceeded"
    # The server would not have answered for a minute.
    assert time.monotonic() - begun < 20


# ---- kept results -----------------------------------------------------------------------------


def test_the_same_page_is_answered_from_what_was_kept(
    web: WebCollaborators, site: Site, shot: KeptCamera, licensing: Licensing
) -> None:
    kept = replace(_licensed(web, licensing, results=MemoryResults(10_000_000)), camera=shot)
    total, reserved = _pages(licensing)
    first, second = _one(site.url, kept), _one(site.url, kept)
    assert [one["meta"]["cache"]["result"] for one in (first, second)] == [False, True]
    assert second["dom_map"] == first["dom_map"]
    assert second["meta"]["page"] == first["meta"]["page"]
    assert second["meta"]["timings"]["fetch_ms"] > 0
    assert _pages(licensing) == (total + 1, reserved)
    jsonschema.validate(second, result_schema(StandardQuestion("layout")))


@pytest.mark.parametrize(
    "change",
    [
        lambda one: {"title": "Another"},
        lambda one: {"final_url": one.final_url + "?other"},
        lambda one: {"status": 404},
        lambda one: {"notes": ("still loading",)},
        lambda one: {"elements": one.elements[1:]},
        lambda one: {"elements": (replace(one.elements[0], text="x"), *one.elements[1:])},
        lambda one: {"elements": (replace(one.elements[0], compliant=None), *one.elements[1:])},
        lambda one: {"elements": (replace(one.elements[0], attributes={}), *one.elements[1:])},
    ],
)
def test_a_page_that_looks_the_same_is_not_the_same(
    web: WebCollaborators, site: Site, shot: KeptCamera, licensing: Licensing, change: Any
) -> None:
    assert shot.taken is not None
    kept = replace(_licensed(web, licensing, results=MemoryResults(10_000_000)), camera=shot)
    _one(site.url, kept)
    other = KeptCamera(shot, replace(shot.taken, **change(shot.taken)))
    result = _one(site.url, replace(kept, camera=other))
    assert result["meta"]["cache"]["result"] is False
    assert _one(site.url, replace(kept, camera=other))["meta"]["cache"]["result"] is True


def test_a_page_and_an_image_of_it_are_two_things(
    web: WebCollaborators, site: Site, shot: KeptCamera, licensing: Licensing
) -> None:
    assert shot.taken is not None
    kept = replace(_licensed(web, licensing, results=MemoryResults(10_000_000)), camera=shot)
    _one(site.url, kept)
    site.pages["/shot.png"] = shot.taken.png
    result = _one(f"{site.url}/shot.png", kept)
    assert result["meta"]["cache"]["result"] is False
    assert "dom_map" not in result
