"""Documents through the real PDFium and the real library, on synthetic pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from engines import CountingEngines, hear_pages
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from licence_world import Customer, Shop
from pdf_writer import Page, Words, text_page, write_pdf

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocuments
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    DocumentRequest,
    Mode,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import parse_pages
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    LicenceError,
    SchemaError,
    StoppedError,
    UsageError,
)
from shimmy_vision.ports.analyst import PageOutcome
from shimmy_vision.ports.cache_limits import ONE_RUN
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import DocumentListener, PageProgress, ignore_progress
from shimmy_vision.use_cases.analyze_document import (
    DocumentCollaborators,
    analyze_document,
)
from shimmy_vision.use_cases.analyze_image import Collaborators

Analyse = Callable[..., Iterator[PageOutcome]]
OCR = StandardQuestion("ocr")
THREE = write_pdf(*(text_page(f"Page {n} begins", "and ends") for n in (1, 2, 3)))


@pytest.fixture(scope="module")
def licensing(session_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Licensing]:
    key = session_shop.sell("startup").key
    with ExitStack() as opened:
        folder = tmp_path_factory.mktemp("licence")
        yield Customer(session_shop, folder, given_key=key, opened=opened).licensing()


@pytest.fixture
def collaborators(engine: LlamaEngine, licensing: Licensing) -> DocumentCollaborators:
    engines = CountingEngines(engine)
    analysis = Collaborators(
        licensing, PillowIntake(), IntakeLimits(), LlguidanceSchemas(), engines
    )
    return DocumentCollaborators(analysis, PdfiumDocuments(), DocumentLimits())


def _request(
    question: Question = OCR, *, pages: str = "1-", dpi: int | None = 40, tokens: int = 5
) -> DocumentRequest:
    """Coarse and short, unless the test is about these."""
    analysis = AnalysisRequest(question, AnswerLimits(max_tokens=tokens))
    return DocumentRequest(analysis, parse_pages(pages), dpi)


@pytest.fixture
def analyse(collaborators: DocumentCollaborators) -> Analyse:
    def run(
        data: bytes,
        request: DocumentRequest | None = None,
        switches: Callable[[], Cancellation] = Cancellation,
        listener: DocumentListener = ignore_progress,
    ) -> Iterator[PageOutcome]:
        return analyze_document(data, request or _request(), collaborators, switches, listener)

    return run


def _result(outcome: PageOutcome) -> dict[str, Any]:
    assert outcome.error is None
    assert outcome.result is not None
    return outcome.result


def _pages(licensing: Licensing) -> tuple[int, int]:
    key = licensing.key()
    assert key is not None
    with licensing.state.session(key) as session:
        return session.record.total, session.record.reserved


def _texts(result: dict[str, Any], source: str) -> list[str]:
    return [one["text"] for one in result["text_blocks"] if one["source"] == source]


@pytest.mark.parametrize("mode", MODES)
def test_every_page_follows_the_published_schema(analyse: Analyse, mode: Mode) -> None:
    outcomes = list(analyse(THREE, _request(StandardQuestion(mode), tokens=60)))
    assert [one.page for one in outcomes] == [1, 2, 3]
    for outcome in outcomes:
        result = _result(outcome)
        jsonschema.validate(result, result_schema(StandardQuestion(mode)))
        document = result["meta"]["document"]
        assert (document["page"], document["pages"], document["dpi"]) == (outcome.page, 3, 40)
        assert ("text_layer" in document) == ("text_blocks" in result)


def test_the_pages_own_text_stands_exact_and_with_its_box(analyse: Analyse) -> None:
    (outcome,) = analyse(THREE, _request(pages="2", dpi=None, tokens=30))
    result = _result(outcome)
    assert _texts(result, "pdf") == ["Page 2 begins", "and ends"]
    meta = result["meta"]
    assert meta["document"]["text_layer"] == "used"
    assert meta["image"]["format"] == "PDF"
    assert meta["image"]["scale"] >= 0.97
    assert len(meta["image"]["tiles"]) == 1
    first = result["text_blocks"][0]
    assert first["confidence"] == 1
    scale = meta["document"]["dpi"] / 72
    assert first["box"]["x"] == pytest.approx(72 * scale, abs=3)
    assert first["box"]["y"] + first["box"]["height"] == pytest.approx(
        (842 - 780 + 3) * scale, abs=3
    )


def test_a_scan_is_the_models(analyse: Analyse) -> None:
    data = write_pdf(Page(image=(4, 4, bytes(range(48)))))
    result = _result(next(analyse(data, _request(tokens=60))))
    assert result["meta"]["document"]["text_layer"] == "absent"
    assert _texts(result, "pdf") == []
    jsonschema.validate(result, result_schema(OCR))


def test_pages_come_as_they_are_done_and_are_counted_exactly(
    analyse: Analyse, licensing: Licensing
) -> None:
    total, reserved = _pages(licensing)
    outcomes = analyse(THREE)
    assert _pages(licensing) == (total, reserved)
    for done in (1, 2):
        next(outcomes)
        assert _pages(licensing) == (total + done, reserved)
    del outcomes
    assert _pages(licensing) == (total + 2, reserved)
    list(analyse(THREE, _request(pages="3,1")))
    assert _pages(licensing) == (total + 4, reserved)


def test_a_bad_page_is_named_not_counted_and_loses_no_other(
    analyse: Analyse, licensing: Licensing
) -> None:
    """The document claims three pages and has two."""
    total, reserved = _pages(licensing)
    data = write_pdf(text_page("one"), text_page("two"), count=3)
    outcomes = list(analyse(data, _request(pages="3,1,2")))
    assert [(one.page, one.error is None) for one in outcomes] == [(3, False), (1, True), (2, True)]
    error = outcomes[0].error
    assert error is not None
    assert error.code == "page-corrupt"
    assert "Page 3" in error.message
    assert _pages(licensing) == (total + 2, reserved)


def test_a_page_too_large_is_refused_and_a_large_one_coarser(
    collaborators: DocumentCollaborators,
) -> None:
    analysis = replace(collaborators.analysis, intake_limits=IntakeLimits(max_pixels=3_000_000))
    small = replace(collaborators, analysis=analysis)
    data = write_pdf(Page(media_box="[0 0 900000 900000]"), Page(size=(1684, 2384)))
    request = _request(StandardQuestion("brief"), dpi=None)
    first, second = analyze_document(data, request, small, Cancellation, ignore_progress)
    assert first.error is not None
    assert first.error.code == "page-too-large"
    meta = _result(second)["meta"]
    assert meta["document"]["dpi"] < 120
    assert "page-downscaled" in {one["code"] for one in meta["warnings"]}


def test_without_licence_nothing_is_opened(
    collaborators: DocumentCollaborators, session_shop: Shop, tmp_path: Path
) -> None:
    with Customer(session_shop, tmp_path).process() as unlicensed:
        analysis = replace(collaborators.analysis, licensing=unlicensed)
        gated = replace(collaborators, analysis=analysis)
        with pytest.raises(LicenceError) as refused:
            next(analyze_document(b"no PDF", _request(), gated, Cancellation, ignore_progress))
    assert refused.value.code == "licence-missing"
    assert isinstance(analysis.engines, CountingEngines)
    assert analysis.engines.opened == 0


def test_a_cap_reached_in_the_middle_keeps_what_is_done(
    collaborators: DocumentCollaborators, session_shop: Shop, tmp_path: Path
) -> None:
    sold = session_shop.sell("startup")
    session_shop.change(sold, maxUses=2)
    with Customer(session_shop, tmp_path, given_key=sold.key).process() as capped:
        analysis = replace(collaborators.analysis, licensing=capped)
        limited = replace(collaborators, analysis=analysis)
        outcomes = analyze_document(THREE, _request(), limited, Cancellation, ignore_progress)
        done = [next(outcomes).page, next(outcomes).page]
        with pytest.raises(LicenceError) as refused:
            next(outcomes)
        assert refused.value.code == "page-cap-reached"
        assert done == [1, 2]
        assert _pages(capped) == (2, 0)


def test_what_concerns_the_document_ends_it(analyse: Analyse, licensing: Licensing) -> None:
    total, reserved = _pages(licensing)
    with pytest.raises(ImageError, match="locked"):
        next(analyse(write_pdf(text_page("x"), password="pw")))
    with pytest.raises(UsageError, match="There is no page 9"):
        next(analyse(THREE, _request(pages="1,9")))
    with pytest.raises(SchemaError):
        next(analyse(THREE, _request(CustomQuestion(schema={"type": "x"}))))
    assert _pages(licensing) == (total, reserved)


def test_a_deadline_of_one_page_leaves_the_others(analyse: Analyse, licensing: Licensing) -> None:
    total, reserved = _pages(licensing)
    switches: list[Cancellation] = []

    def fresh() -> Cancellation:
        switches.append(Cancellation())
        return switches[-1]

    def slow(progress: PageProgress) -> None:
        if progress.page == 2 and progress.within.stage == "encode":
            switches[-1].cancel("deadline")

    outcomes = list(analyse(THREE, switches=fresh, listener=hear_pages(slow)))
    assert [isinstance(one.error, DeadlineError) for one in outcomes] == [False, True, False]
    assert _pages(licensing) == (total + 2, reserved)


@pytest.mark.parametrize("stage", ["decode", "load", "measure", "encode", "prompt", "generate"])
def test_a_switch_thrown_in_any_stage_of_a_page_ends_the_run(
    analyse: Analyse, licensing: Licensing, stage: str
) -> None:
    total, reserved = _pages(licensing)
    switch = Cancellation()

    def throw(progress: PageProgress) -> None:
        if progress.page == 2 and progress.within.stage == stage:
            switch.cancel("interrupted")

    request = _request(StandardQuestion("full"), tokens=120)
    outcomes = analyse(THREE, request, lambda: switch, hear_pages(throw))
    assert next(outcomes).page == 1
    with pytest.raises(StoppedError):
        next(outcomes)
    assert _pages(licensing) == (total + 1, reserved)


def test_progress_tells_page_and_place(analyse: Analyse) -> None:
    heard: list[PageProgress] = []
    list(
        analyse(
            THREE,
            _request(StandardQuestion("full"), pages="3,1", tokens=120),
            listener=hear_pages(heard.append),
        )
    )
    assert list(dict.fromkeys((one.page, one.done, one.total) for one in heard)) == [
        (3, 0, 2),
        (1, 1, 2),
    ]
    stages = list(dict.fromkeys(one.within.stage for one in heard if one.page == 3))
    assert stages == ["decode", "load", "measure", "encode", "prompt", "generate"]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=5),
    ask=st.lists(st.integers(1, 5), min_size=1, max_size=4, unique=True),
)
def test_pages_are_counted_exactly(
    analyse: Analyse, licensing: Licensing, bad: list[bool], ask: list[int]
) -> None:
    """Whichever pages are asked for and whichever of them fail."""
    chosen = [page for page in ask if page <= len(bad)] or [1]
    pages = [
        Page(media_box="[0 0 9999999 9999999]") if one else Page([Words("x", 9, 9)], (50, 50))
        for one in bad
    ]
    total, reserved = _pages(licensing)
    outcomes = list(analyse(write_pdf(*pages), _request(pages=",".join(map(str, chosen)), dpi=72)))
    assert [one.page for one in outcomes] == chosen
    assert [one.error is not None for one in outcomes] == [bad[page - 1] for page in chosen]
    good = sum(not bad[page - 1] for page in chosen)
    assert _pages(licensing) == (total + good, reserved)


def test_a_page_that_looks_like_the_one_before_encodes_nothing(
    synthetic_46: SyntheticPair,
    open_engine: Callable[..., LlamaEngine],
    collaborators: DocumentCollaborators,
) -> None:
    """As a slide that is shown twice; of one whose last line changed, what changed."""
    page, changed = text_page("Slide", "one"), text_page("Slide", "two")
    engine = open_engine(synthetic_46, "4.6", caches=EngineCaches(ONE_RUN))
    analysis = replace(collaborators.analysis, engines=CountingEngines(engine))
    outcomes = analyze_document(
        write_pdf(page, page, changed),
        _request(dpi=136),
        replace(collaborators, analysis=analysis),
        Cancellation,
        ignore_progress,
    )
    spent = [_result(one)["meta"]["image"]["slices"] for one in outcomes]
    engine.close()
    assert spent[0]["encoded"] > 1
    assert (spent[1]["encoded"], spent[1]["reused"]) == (
        0,
        spent[0]["planned"] - spent[1]["skipped"],
    )
    assert spent[2]["encoded"] == 2, "the overview, and the slice with the line"
