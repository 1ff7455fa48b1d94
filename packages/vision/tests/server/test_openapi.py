"""The API against its own description, tried by schemathesis; and the page that shows it."""

from __future__ import annotations

import base64
import copy
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import schemathesis
import schemathesis.openapi
from engines import CountingEngines
from fastapi.routing import APIRoute, APIWebSocketRoute
from hypothesis import HealthCheck, settings
from licence_world import Customer, Shop
from PIL import Image
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)
from serving import PlayedAnalyst, serve

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocuments
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    Question,
    StandardQuestion,
)
from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import check_url
from shimmy_vision.errors import ImageError, UsageError
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, JobListener, PageOutcome, UrlJob
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.progress import ignore_progress
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.docs_routes import describe_api
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image

Results = dict[str, dict[str, Any]]
_PLAIN = create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(), lambda: None)
DESCRIBED = describe_api(_PLAIN)
SCHEMA = schemathesis.openapi.from_dict(DESCRIBED)


def picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "white").save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def results(
    synthetic_46: SyntheticPair,
    open_engine: Any,
    session_shop: Shop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Results:
    """Of every kind of question, as the engine gave them."""
    engine = open_engine(synthetic_46, "4.6")
    with ExitStack() as opened:
        opened.callback(engine.close)
        folder = tmp_path_factory.mktemp("licence")
        key = session_shop.sell("enterprise").key
        licensing = Customer(session_shop, folder, given_key=key, opened=opened).licensing()
        collaborators = Collaborators(
            licensing, PillowIntake(), IntakeLimits(), LlguidanceSchemas(), CountingEngines(engine)
        )

        def ask(question: Question) -> dict[str, Any]:
            request = AnalysisRequest(question, AnswerLimits(max_tokens=20))
            return analyze_image(picture(), request, collaborators, Cancellation(), ignore_progress)

        asked: Results = {"custom": ask(CustomQuestion("what?"))}
        asked.update((mode, ask(StandardQuestion(mode))) for mode in MODES)
        return asked


@pytest.fixture(scope="module")
def url(results: Results) -> Iterator[str]:
    """A server whose files are really read, and whose answers were really given before."""

    def play(job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
        match job:
            case ImageJob(data=data, request=request):
                PillowIntake().decode(data, IntakeLimits())
                return _answer(request.question)
            case DocumentJob(data=data, request=paged):
                with PdfiumDocuments().open(data, DocumentLimits()):
                    hear(PageOutcome(1, _answer(paged.analysis.question), None))
                return None
            case UrlJob(url=address):
                if isinstance(check_url(address, AllowList()), Refused):
                    raise UsageError("url-refused", "The URL is refused.")
                raise ImageError("fetch-failed", "Nobody is there.", retryable=True)

    def _answer(question: Question) -> dict[str, Any]:
        kind = question.mode if isinstance(question, StandardQuestion) else "custom"
        return copy.deepcopy(results[kind])

    app = create_app(PlayedAnalyst(play), ServerOptions(), lambda: None)
    with serve(app) as opened:
        yield opened


@schemathesis.serializer("application/pdf", "image/png", "image/jpeg", "image/webp")
def _as_it_is(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def trial(path: str, method: str) -> Any:
    """A test of one operation, with a name of its own: of tests that share one, only one is run

    where several processes share the work.
    """

    @SCHEMA.include(path=path, method=method).parametrize()
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    def tried(case: schemathesis.Case[Any], url: str) -> None:
        # Noise in base64 is a string like any other to the description, and no image to us.
        left_out: Any = [positive_data_acceptance]
        if case.media_type == "multipart/form-data":
            # Every field of a form is text, also one that was meant to be wrong by being a number.
            left_out.append(negative_data_rejection)
        case.call_and_validate(base_url=url, timeout=20, excluded_checks=left_out)

    return tried


OPERATIONS = [
    (path, method.upper()) for path, methods in DESCRIBED["paths"].items() for method in methods
]
for _path, _method in OPERATIONS:
    _words = re.sub(r"[^a-z0-9]+", "_", f"{_method} {_path}".lower()).strip("_")
    globals()[f"test_{_words}_does_what_it_says"] = trial(_path, _method)


def test_every_address_is_described() -> None:
    hidden = {"/openapi.json", "/docs", "/docs/{name}", "/local"}
    routers = [one.original_router for one in _PLAIN.routes]  # type: ignore[attr-defined]
    routes = [route for router in routers for route in router.routes]
    paths = {route.path.replace(":path}", "}") for route in routes if isinstance(route, APIRoute)}
    assert paths - hidden == set(DESCRIBED["paths"])
    sockets = [route.path for route in routes if isinstance(route, APIWebSocketRoute)]
    assert sockets == ["/ws/vision"]


def test_a_real_image_and_document_pass_the_described_way(url: str, results: Results) -> None:
    encoded = base64.b64encode(picture()).decode()
    for operation in ("/api/vision", "/api/vision/batch"):
        body: dict[str, Any] = {"image": encoded}
        if operation.endswith("batch"):
            body = {"items": [body, {"image": "x"}]}
        response = httpx.post(url + operation, json=body, timeout=20)
        assert response.status_code == 200
        SCHEMA[operation]["POST"].validate_response(response)
    assert httpx.post(url + "/api/vision", json={"image": encoded}).json() == results["full"]


def test_the_page_asks_nobody_else(url: str) -> None:
    page = httpx.get(f"{url}/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("<!doctype html>", "")
    for asset, kind in (("swagger-ui-bundle.js", "javascript"), ("swagger-ui.css", "css")):
        found = httpx.get(f"{url}/docs/{asset}")
        assert (found.status_code, kind in found.headers["content-type"]) == (200, True)
    assert httpx.get(f"{url}/openapi.json").json()["openapi"].startswith("3.1")
