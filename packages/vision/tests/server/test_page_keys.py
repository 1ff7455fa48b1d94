"""What makes two requests the same page, and which host a job belongs to."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import PlayedAnalyst, serve
from websockets.sync.client import connect

from shimmy_vision.cli.serve import _host_tag
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    DocumentRequest,
    PageView,
    StandardQuestion,
)
from shimmy_vision.domain.serving.job_names import host_of_job, is_host_tag, name_job
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, UrlJob
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.page_keys import name_pages

PIXEL = "iVBORw0KGgpyZXN0"


def job(data: bytes = b"image", **more: Any) -> ImageJob:
    return ImageJob(data, AnalysisRequest(**more))


def test_the_same_file_asked_the_same_under_one_key_is_one_page() -> None:
    first = name_pages(job(), "key", None)
    assert first.key
    assert name_pages(job(), "key", None).key == first.key
    chosen = AnswerLimits(seed=77, temperature=0.5)
    again = AnswerLimits(seed=78, temperature=0.5)
    # The server's own seed is another with each try.
    assert name_pages(job(limits=chosen), "k", None) != name_pages(job(limits=again), "k", None)
    assert (
        name_pages(job(limits=chosen), "k", None).key
        == name_pages(job(limits=again), "k", None).key
    )


def test_anything_else_is_another_page() -> None:
    jobs: list[Job] = [
        job(),
        job(b"other"),
        job(question=StandardQuestion("ocr")),
        job(question=CustomQuestion("what?", {"type": "object"})),
        job(limits=AnswerLimits(max_tokens=3)),
        job(cache=False),
        DocumentJob(b"image", DocumentRequest()),
        DocumentJob(b"image", DocumentRequest(dpi=40)),
    ]
    keys = {name_pages(one, "key", None).key for one in jobs}
    assert len(keys) == len(jobs)
    assert name_pages(job(), "other", None).key not in keys
    assert name_pages(job(), "key", 5).key not in keys


def test_without_a_key_and_at_urls_every_page_is_new() -> None:
    assert name_pages(job(), "", None).key == ""
    at_url = UrlJob("https://shop.example", DocumentRequest(), PageView())
    assert name_pages(at_url, "key", None).key == ""


def test_every_way_of_asking_passes_the_key_on() -> None:
    analyst = PlayedAnalyst(lambda *_: {"meta": {"mode": "full"}, "answer": "yes"})
    app = create_app(analyst, ServerOptions(), lambda: None)
    body, head = {"image": PIXEL, "mode": "brief"}, {"Idempotency-Key": "k-1"}
    with serve(app) as url, httpx.Client(base_url=url, headers=head, timeout=20) as client:
        client.post("/api/vision", json=body)
        client.post("/api/vision/jobs", json=body)
        file = b"\x89PNG\r\n\x1a\nrest"
        client.post("/api/vision?mode=brief", content=file, headers={"Content-Type": "image/png"})
        client.post("/api/vision/batch", json={"items": [body, body]})
        with connect(url.replace("http", "ws") + "/ws/vision", proxy=None) as line:
            line.send(json.dumps({"id": "1", "idempotency_key": "k-1", **body}))
            assert json.loads(line.recv(timeout=10))["event"] == "result"
    keys = [one.key for one in analyst.jobs]
    assert len(keys) == 6
    single, batched = [*keys[:3], keys[5]], keys[3:5]
    assert len(set(single)) == 1
    assert len(set(batched)) == 2, "two items are two pages"
    assert not set(single) & {"", *batched}


@pytest.mark.parametrize("key", ["a b", "k" * 256, "k\tk"])
def test_what_is_no_key_is_refused(key: str) -> None:
    app = create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(), lambda: None)
    with serve(app) as url:
        refused = httpx.post(
            f"{url}/api/vision", json={"image": PIXEL}, headers={"Idempotency-Key": key}
        )
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "idempotency-key-malformed"


@given(st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True), st.text(max_size=40))
def test_a_jobs_id_names_its_host(secret: str, tag: str) -> None:
    if is_host_tag(tag):
        assert host_of_job(name_job(secret, tag)) == tag
        assert _host_tag(tag) == tag
    else:
        with pytest.raises(UsageError):
            _host_tag(tag)
    assert host_of_job(name_job(secret, None)) is None
