"""The very same request is answered from what was kept, and counted once."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines import CountingEngines
from licence_world import Customer, Shop
from pdf_writer import text_page, write_pdf
from PIL import Image
from threads import Background, until

from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.kept_results import MemoryResults
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocuments
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    DocumentRequest,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import parse_pages
from shimmy_vision.domain.licence.access import Notice
from shimmy_vision.errors import DeadlineError, StoppedError
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import ignore_progress
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.analyze_document import DocumentCollaborators, analyze_document
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image
from shimmy_vision.use_cases.analyze_pixels import AnalysisRun, analyze_pixels

BRIEF = AnalysisRequest(StandardQuestion("brief"), AnswerLimits(max_tokens=20))
DOCUMENT = write_pdf(text_page("One", "line"), text_page("Two", "lines"))


def _png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def licensing(session_shop: Shop, tmp_path: Path) -> Iterator[Licensing]:
    """A metered licence of its own for every test."""
    key = session_shop.sell("startup").key
    with ExitStack() as opened:
        yield Customer(session_shop, tmp_path, given_key=key, opened=opened).licensing()


@pytest.fixture
def collaborators(engine: LlamaEngine, licensing: Licensing) -> Collaborators:
    return Collaborators(
        licensing,
        PillowIntake(),
        IntakeLimits(),
        LlguidanceSchemas(),
        CountingEngines(engine),
        MemoryResults(1_000_000),
    )


def _analyse(
    collaborators: Collaborators, data: bytes, request: AnalysisRequest = BRIEF
) -> dict[str, Any]:
    return analyze_image(data, request, collaborators, Cancellation(), ignore_progress)


def _pages(licensing: Licensing) -> tuple[int, int]:
    key = licensing.key()
    assert key is not None
    with licensing.state.session(key) as session:
        return session.record.total, session.record.reserved


def _lasting(result: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one request to the next."""
    result = copy.deepcopy(result)
    for key in ("timings", "duration_ms", "cache"):
        del result["meta"][key]
    del result["meta"]["image"]["slices"]
    return result


def _from_cache(result: dict[str, Any]) -> bool:
    cached = result["meta"]["cache"]["result"]
    assert isinstance(cached, bool)
    return cached


def test_the_same_request_is_answered_from_what_was_kept_and_counted_once(
    collaborators: Collaborators, licensing: Licensing
) -> None:
    first, second = (_analyse(collaborators, _png("white")) for _ in range(2))
    assert [_from_cache(first), _from_cache(second)] == [False, True]
    assert _lasting(first) == _lasting(second)
    assert second["meta"]["timings"]["generate_ms"] == 0
    assert first["meta"]["image"]["slices"]["encoded"] == 1
    assert second["meta"]["image"]["slices"] == {
        "planned": 1,
        "encoded": 0,
        "reused": 1,
        "skipped": 0,
    }
    assert first["meta"]["timings"]["generate_ms"] > 0
    assert _pages(licensing) == (1, 0)
    assert collaborators.engines.opened == 1  # type: ignore[attr-defined]


Change = Callable[[AnalysisRequest], AnalysisRequest]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, question=StandardQuestion("layout")),
        lambda one: replace(one, question=CustomQuestion("What is it?")),
        lambda one: replace(one, raw=True),
        lambda one: replace(one, limits=AnswerLimits(max_tokens=21)),
        lambda one: replace(one, limits=AnswerLimits(max_tokens=20, seed=7)),
    ],
)
def test_another_request_is_another_result(
    collaborators: Collaborators, licensing: Licensing, change: Change
) -> None:
    _analyse(collaborators, _png("white"))
    assert not _from_cache(_analyse(collaborators, _png("white"), change(BRIEF)))
    assert not _from_cache(_analyse(collaborators, _png("black")))
    assert _from_cache(_analyse(collaborators, _png("white")))
    assert _pages(licensing) == (3, 0)


def test_who_wants_no_kept_result_gets_a_fresh_one_that_is_kept(
    collaborators: Collaborators, licensing: Licensing
) -> None:
    fresh = replace(BRIEF, cache=False)
    results = [_analyse(collaborators, _png("white"), one) for one in (fresh, fresh, BRIEF)]
    assert [_from_cache(one) for one in results] == [False, False, True]
    assert _pages(licensing) == (2, 0)


def test_notices_are_those_of_this_request(
    collaborators: Collaborators, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(result: dict[str, Any]) -> list[str]:
        return [one["code"] for one in result["meta"]["warnings"]]

    first = _analyse(collaborators, _png("white"))
    assert told(first).count("licence-sandbox") == 1

    def admit_with_another_notice(count: int, licensing: Licensing, key: str) -> Any:
        admission = admit_pages(count, licensing, key)
        granted = replace(admission.granted, plan="other", notices=(Notice("note", "Well."),))
        return replace(admission, granted=granted)

    gate = "shimmy_vision.use_cases.count_page.admit_pages"
    monkeypatch.setattr(gate, admit_with_another_notice)
    second = _analyse(collaborators, _png("white"))
    assert _from_cache(second)
    assert second["meta"]["licence"] == "other"
    assert sorted(told(second)) == sorted(
        "note" if code == "licence-sandbox" else code for code in told(first)
    )


def test_a_documents_pages_are_kept_each_by_itself(
    collaborators: Collaborators, licensing: Licensing
) -> None:
    documents = DocumentCollaborators(collaborators, PdfiumDocuments(), DocumentLimits())

    def read(pages: str, dpi: int = 40) -> list[dict[str, Any]]:
        analysis = AnalysisRequest(StandardQuestion("ocr"), AnswerLimits(max_tokens=5))
        request = DocumentRequest(analysis, parse_pages(pages), dpi)
        outcomes = analyze_document(DOCUMENT, request, documents, Cancellation, ignore_progress)
        return [outcome.result or {} for outcome in outcomes]

    (second,) = read("2")
    both = read("1-2")
    assert [_from_cache(one) for one in (second, *both)] == [False, False, True]
    assert _lasting(both[1]) == _lasting(second)
    assert [_from_cache(one) for one in read("2", dpi=41)] == [False]
    assert _pages(licensing) == (3, 0)


def _png_and_bmp() -> list[bytes]:
    buffers = io.BytesIO(), io.BytesIO()
    for buffer, kind in zip(buffers, ("PNG", "BMP"), strict=True):
        Image.new("RGB", (60, 40), "green").save(buffer, kind)
    return [buffer.getvalue() for buffer in buffers]


def test_the_same_pixels_in_another_format_are_another_result(
    collaborators: Collaborators, licensing: Licensing
) -> None:
    results = [_analyse(collaborators, data) for data in _png_and_bmp() * 2]
    assert [one["meta"]["image"]["format"] for one in results] == ["PNG", "BMP"] * 2
    assert [_from_cache(one) for one in results] == [False, False, True, True]
    assert _pages(licensing) == (2, 0)


def test_who_named_the_dpi_is_not_told_that_the_page_is_coarse(
    collaborators: Collaborators, licensing: Licensing
) -> None:
    """The same page at the same sharpness, once chosen and once wished."""
    small = replace(collaborators, intake_limits=IntakeLimits(max_dimension=300))
    documents = DocumentCollaborators(small, PdfiumDocuments(), DocumentLimits())
    analysis = AnalysisRequest(StandardQuestion("brief"), AnswerLimits(max_tokens=5))

    def read(dpi: int | None) -> dict[str, Any]:
        request = DocumentRequest(analysis, parse_pages("1"), dpi)
        (outcome,) = analyze_document(DOCUMENT, request, documents, Cancellation, ignore_progress)
        assert outcome.result is not None
        return outcome.result

    def warned(result: dict[str, Any]) -> bool:
        return any(one["code"] == "page-downscaled" for one in result["meta"]["warnings"])

    chosen = read(None)
    dpi = chosen["meta"]["document"]["dpi"]
    found = [chosen, read(dpi), read(None), read(dpi)]
    assert [warned(one) for one in found] == [True, False, True, False]
    assert [_from_cache(one) for one in found] == [False, False, True, True]
    assert _pages(licensing) == (2, 0)


class _Gate:
    """Stands before the engine's ``analyze_pixels``: counts who comes, and lets them in later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open = 0, threading.Event()
        inner = analyze_pixels

        def analyse(image: Any, engine: Any, granted: Any, run: AnalysisRun, *page: Any) -> Any:
            self.begun += 1
            with run.cancellation.when_cancelled(self.open.set):
                assert self.open.wait(60)
            run.cancellation.check()
            return inner(image, engine, granted, run, *page)

        where = "shimmy_vision.use_cases.analyze_once.analyze_pixels"
        monkeypatch.setattr(where, analyse)


def _callers(collaborators: Collaborators) -> int:
    assert isinstance(collaborators.results, MemoryResults)
    return collaborators.results.turns.callers


def test_six_at_once_are_analysed_once_and_counted_once(
    collaborators: Collaborators, licensing: Licensing, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    asked = [Background(lambda: _analyse(collaborators, _png("white"))) for _ in range(6)]
    until(lambda: _callers(collaborators) == 6 and gate.begun == 1)
    gate.open.set()
    results = [one.result() for one in asked]
    assert gate.begun == 1
    assert sorted(_from_cache(one) for one in results) == [False] + [True] * 5
    assert _pages(licensing) == (1, 0)
    assert _callers(collaborators) == 0


def test_pages_of_documents_at_once_are_analysed_once(
    collaborators: Collaborators, licensing: Licensing, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    documents = DocumentCollaborators(collaborators, PdfiumDocuments(), DocumentLimits())
    analysis = AnalysisRequest(StandardQuestion("brief"), AnswerLimits(max_tokens=5))
    request = DocumentRequest(analysis, parse_pages("2"), 40)

    def read() -> Any:
        (one,) = analyze_document(DOCUMENT, request, documents, Cancellation, ignore_progress)
        return one.result

    asked = [Background(read) for _ in range(3)]
    until(lambda: _callers(collaborators) == 3 and gate.begun == 1)
    gate.open.set()
    assert sorted(_from_cache(one.result()) for one in asked) == [False, True, True]
    assert (gate.begun, _pages(licensing)) == (1, (1, 0))


def test_where_the_first_is_stopped_the_next_goes_on_and_who_waits_can_leave(
    collaborators: Collaborators, licensing: Licensing, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    switches = [Cancellation() for _ in range(3)]

    def ask(switch: Cancellation) -> Background[dict[str, Any]]:
        return Background(
            lambda: analyze_image(_png("white"), BRIEF, collaborators, switch, ignore_progress)
        )

    first = ask(switches[0])
    until(lambda: gate.begun == 1)
    second, third = ask(switches[1]), ask(switches[2])
    until(lambda: _callers(collaborators) == 3)
    switches[2].cancel("deadline")
    with pytest.raises(DeadlineError):
        third.result()
    assert (first.running, second.running) == (True, True)
    switches[0].cancel("interrupted")
    with pytest.raises(StoppedError):
        first.result()
    assert not _from_cache(second.result())
    assert (gate.begun, _pages(licensing)) == (2, (1, 0))


def test_who_wants_no_kept_result_waits_for_nobody(
    collaborators: Collaborators, licensing: Licensing, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    fresh = replace(BRIEF, cache=False)
    asked = [Background(lambda: _analyse(collaborators, _png("white"), fresh)) for _ in range(2)]
    until(lambda: gate.begun == 2)
    gate.open.set()
    assert [_from_cache(one.result()) for one in asked] == [False, False]
    assert _pages(licensing) == (2, 0)


def test_with_nothing_kept_everything_is_done_again(
    engine: LlamaEngine, collaborators: Collaborators, licensing: Licensing
) -> None:
    plain = replace(collaborators, results=MemoryResults(0))
    results = [_analyse(plain, _png("white")) for _ in range(2)]
    assert [_from_cache(one) for one in results] == [False, False]
    assert _lasting(results[0]) == _lasting(results[1])
    assert _pages(licensing) == (2, 0)


def test_kept_rows_and_states_are_told_of(
    synthetic_26: Any, open_engine: Callable[..., LlamaEngine], collaborators: Collaborators
) -> None:
    caches = EngineCaches(CacheLimits(50_000_000, 500_000_000))
    keeping = open_engine(synthetic_26, "2.6", caches=caches)
    again = replace(collaborators, engines=CountingEngines(keeping), results=MemoryResults(0))
    results = [_analyse(again, _png("white")) for _ in range(2)]
    results.append(_analyse(again, _png("white"), replace(BRIEF, question=CustomQuestion("Why?"))))
    assert [one["meta"]["cache"] for one in results] == [
        {"result": False, "encodings": 0, "states": 0},
        {"result": False, "encodings": 1, "states": 1},
        {"result": False, "encodings": 1, "states": 1},
    ]
    assert _lasting(results[0]) == _lasting(results[1])
    keeping.close()
