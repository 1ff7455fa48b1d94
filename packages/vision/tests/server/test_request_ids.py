"""Every answer and every line written for it carry the request's id, and lines nothing else."""

from __future__ import annotations

import base64
import io
import json
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import PlayedAnalyst, serve
from websockets.sync.client import connect

from shimmy_vision.domain.serving.private_words import (
    HIDDEN,
    hide_private,
    is_request_id,
    show_id,
)
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.analyst import Job, JobListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.guard import GuardRules, digest_key
from shimmy_vision.server.logs import JsonFormatter, log_context, logger_of, start_logging
from shimmy_vision.server.status_codes import _BY_CODE

PNG = b"\x89PNG\r\n\x1a\nrest"
BODY = {"image": base64.b64encode(PNG).decode()}
FAIL, CRASH = ({"image": base64.b64encode(PNG + one).decode()} for one in (b"fail", b"crash"))
KEY = {"Authorization": "Bearer alpha"}
NAMED = "X-Request-Id"
_LOG = logger_of("shimmy_vision.played")


def play(job: Job, _switch: Cancellation, _hear: JobListener) -> dict[str, Any] | None:
    """On a thread of the server's."""
    _LOG.info("played")
    if getattr(job, "data", b"").endswith(b"crash"):
        raise ZeroDivisionError("secret-word")
    if getattr(job, "data", b"").endswith(b"fail"):
        raise LibraryError("decode-failed", "It failed.", hint="")
    return {"meta": {"mode": "full"}}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    rules = GuardRules(api_keys=(digest_key("alpha"),), origins=("https://app.example",))
    app = create_app(PlayedAnalyst(play), ServerOptions(rules=rules), lambda: None)
    with serve(app) as url, httpx.Client(base_url=url, headers=KEY, timeout=20) as opened:
        yield opened


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "shimmy_vision"):
        yield caplog


def lines(heard: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the server wrote, as it stands in its log."""
    ours = [one for one in heard.records if one.name.startswith("shimmy_vision")]
    return [json.loads(JsonFormatter().format(one)) for one in ours]


def answered(heard: pytest.LogCaptureFixture, *events: str) -> list[dict[str, Any]]:
    """The lines once a request's own is there, which comes after its answer, and ``events``.

    Whoever does not wait for it leaves it to the next test, which would take it for its own.
    """
    end = time.monotonic() + 20
    while not {"request", *events} <= {one["event"] for one in lines(heard)}:
        assert time.monotonic() < end
        time.sleep(0.01)
    return lines(heard)


@pytest.mark.parametrize("named", ["proxy-1_A", uuid.UUID(int=7).hex, str(uuid.UUID(int=7))])
def test_the_id_that_a_proxy_gave_is_kept(
    client: httpx.Client, heard: pytest.LogCaptureFixture, named: str
) -> None:
    answer = client.post("/api/vision", json=BODY, headers={NAMED: named})
    assert (answer.status_code, answer.headers.get_list(NAMED)) == (200, [named])
    told = [(one["event"], one["request_id"]) for one in answered(heard)]
    assert told == [("played", named), ("request", named)]


@pytest.mark.parametrize("named", ["", "x" * 37, "A1B2C3-D4E5F6-A1B2C3", "a@b.example", "a b"])
def test_one_that_may_tell_something_is_replaced(
    client: httpx.Client, heard: pytest.LogCaptureFixture, named: str
) -> None:
    answer = client.get("/health", headers={NAMED: named})
    assert len(answer.headers[NAMED]) == 32
    (request,) = answered(heard)
    assert request["request_id"] == answer.headers[NAMED]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"headers": {"Origin": "https://elsewhere.example"}}, 403),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"json": FAIL}, 502),
        ({"json": CRASH}, 500),
    ],
)
def test_refusals_and_failures_carry_it(
    client: httpx.Client,
    heard: pytest.LogCaptureFixture,
    arguments: dict[str, Any],
    status: int,
) -> None:
    answer = client.post("/api/vision", **arguments)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {
        *("code", "message", "hint", "retryable", "type", "param")
    }
    told = answered(heard)
    assert {one["request_id"] for one in told} == {answer.headers[NAMED]}
    assert "secret-word" not in json.dumps(told)
    assert (status == 500) == any(one.get("error") == "ZeroDivisionError" for one in told)


def test_a_job_is_told_of_with_the_id_that_it_was_ordered_with(
    client: httpx.Client, heard: pytest.LogCaptureFixture
) -> None:
    ordered = client.post("/api/vision/jobs", json=BODY, headers={NAMED: "ordered"})
    assert ordered.status_code == 202
    played = [one for one in answered(heard, "played") if one["event"] == "played"]
    assert [one["request_id"] for one in played] == ["ordered"]


def test_a_web_socket_has_one_too(client: httpx.Client, heard: pytest.LogCaptureFixture) -> None:
    address = str(client.base_url.copy_with(scheme="ws", path="/ws/vision"))
    with connect(address, proxy=None, additional_headers={**KEY, NAMED: "socket-1"}) as line:
        assert line.response is not None
        assert line.response.headers[NAMED] == "socket-1"
        line.send(json.dumps({"id": "a", **BODY}))
        while json.loads(line.recv(timeout=20))["event"] != "result":
            pass
    assert {one["request_id"] for one in answered(heard)} == {"socket-1"}


def test_a_page_of_another_origin_may_read_it(
    client: httpx.Client, heard: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/health", headers={"Origin": "https://app.example"})
    answered(heard)
    assert NAMED in answer.headers["access-control-expose-headers"]


def test_a_requests_lines_carry_nothing_of_the_request_before(
    heard: pytest.LogCaptureFixture,
) -> None:
    with log_context(request_id="first", trace_id="7" * 32):
        with log_context(request_id="second"):
            _LOG.info("within")
        _LOG.info("after")
    _LOG.info("outside")
    told = [(one["event"], one.get("request_id"), one.get("trace_id")) for one in lines(heard)]
    assert told == [
        ("within", "second", None),
        ("after", "first", "7" * 32),
        ("outside", None, None),
    ]


def test_a_line_is_one_object_of_json_whoever_writes_it() -> None:
    root, stream = logging.getLogger(), io.StringIO()
    kept = root.handlers[:], root.level
    try:
        start_logging(stream)
        with log_context(request_id="first"):
            _LOG.info("request", status=200, method="G\nT", odd=b"secret")
            logging.getLogger("other").warning("at https://%s/x: %s", "a.example", "a@b.example")
            logging.getLogger("urllib3.connectionpool").error("secret")
    finally:
        root.handlers[:], root.level = kept
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert list(first)[:4] == ["time", "level", "logger", "event"]
    assert (first["method"], first["odd"], first["request_id"]) == ("G\nT", "bytes", "first")
    assert (second["event"], second["request_id"]) == ("at [hidden] [hidden]", "first")


_SECRETS = st.one_of(
    st.from_regex(r"[a-z0-9]{1,12}@[a-z]{1,8}\.example", fullmatch=True),
    st.from_regex(r"https?://[a-z0-9.]{1,20}/[a-z0-9]{0,9}", fullmatch=True),
    st.from_regex(r"([0-9A-F]{6}-){5}V3", fullmatch=True),
    st.uuids().map(str),
    st.binary(min_size=24, max_size=90).map(lambda data: base64.b64encode(data).decode()),
    st.binary(min_size=18, max_size=18).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    st.ip_addresses(v=4).map(str),
)


@given(_SECRETS, st.sampled_from(["", "to ", "('"]), st.sampled_from(["", " failed", "')"]))
@settings(max_examples=60, deadline=None)
def test_what_is_anybodys_is_hidden_wherever_it_stands(
    secret: str, before: str, after: str
) -> None:
    shown = hide_private(f"{before}{secret}{after}")
    assert secret not in shown
    assert HIDDEN in shown
    assert hide_private(shown) == shown
    assert secret not in show_id("code", secret)


def test_codes_and_names_are_left_as_they_are() -> None:
    for told in (*_BY_CODE, "vision-batch", "ZeroDivisionError", "number-not-finite"):
        assert hide_private(told) == told
    assert not is_request_id("key/abcdef")
