"""Mail by the HTTP API: what is kept, what once only, what is refused, what goes wrong."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import httpx
import pytest

from shimmy_sandbox.mailbox.identity import API_KEY

from .conftest import HELLO, NO_TLS, Post

START = datetime(2027, 1, 31, 12, tzinfo=UTC)


def problem(reply: httpx.Response) -> tuple[int, str]:
    """Status and name of a refusal; both say the same status."""
    body = reply.json()
    assert set(body) == {"statusCode", "name", "message"}
    assert body["statusCode"] == reply.status_code
    assert body["message"]
    return reply.status_code, body["name"]


def test_a_message_is_kept_as_it_was_asked_for(post: Post) -> None:
    post.control("clock", frozen=START.isoformat())
    reply = post.send(
        "order/1",
        to=["Ada <ada@example.com>", "bob@example.com"],
        subject="Votre clé " * 20,
        text="Voilà: 1\r\n",
        reply_to="help@shimmy.example",
        headers={"X-Order": "1"},
        tags=[{"name": "kind", "value": "sale"}],
    )
    assert reply.status_code == 200
    assert list(reply.json()) == ["id"]
    (kept,) = post.kept("bob@example.com")
    assert kept["id"] == str(uuid.UUID(reply.json()["id"]))
    assert (kept["door"], kept["idempotency_key"]) == ("api", "order/1")
    assert kept["from"] == "store@shimmy.example"
    assert kept["to"] == ["ada@example.com", "bob@example.com"]
    assert (kept["subject"], kept["text"]) == ("Votre clé " * 20, "Voilà: 1\r\n")
    assert kept["html"] == HELLO["html"]
    assert kept["tags"] == {"kind": "sale"}
    assert datetime.fromisoformat(kept["received"]) == START
    headers = kept["headers"]
    assert headers["From"] == "Store <store@shimmy.example>"
    assert headers["To"] == "Ada <ada@example.com>, bob@example.com"
    assert headers["Reply-To"] == "help@shimmy.example"
    assert headers["X-Order"] == "1"
    assert kept["id"] in headers["Message-ID"]
    raw = post.client.get(f"/_sim/messages/{kept['id']}/raw").content
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail.get_content_type() == "multipart/alternative"
    assert mail["Date"].datetime == START
    assert [str(one) for one in mail["To"].addresses] == [
        "Ada <ada@example.com>",
        "bob@example.com",
    ]


@pytest.mark.parametrize(("left_out", "kind"), [("text", "text/html"), ("html", "text/plain")])
def test_one_body_is_enough(post: Post, left_out: str, kind: str) -> None:
    assert post.send(**{left_out: None}).status_code == 200
    (kept,) = post.kept()
    assert kept[left_out] is None
    assert kept["headers"]["Content-Type"].startswith(kind)


def test_names_that_need_quotes(post: Post) -> None:
    assert post.send(**{"from": 'Shimmy, "Inc" <a@shimmy.example>'}).status_code == 200
    assert post.send(**{"from": '"Clé, SA" <b@shimmy.example>'}).status_code == 200
    assert [one["from"] for one in post.kept()] == ["a@shimmy.example", "b@shimmy.example"]
    assert post.kept()[1]["headers"]["From"] == '"Clé, SA" <b@shimmy.example>'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (401, "missing_api_key")),
        ("", (401, "missing_api_key")),
        (f"Basic {API_KEY}", (401, "missing_api_key")),
        ("Bearer", (401, "missing_api_key")),
        ("Bearer other", (403, "invalid_api_key")),
        ("Bearer re_AbCdEfGh_0123456789abcdefghijklmn", (403, "invalid_api_key")),
    ],
)
def test_keys(standing: Post, header: str | None, expected: tuple[int, str]) -> None:
    named = {} if header is None else {"Authorization": header}
    body = {"from": "a@b.fr", "to": "c@d.fr", **HELLO}
    with httpx.Client(verify=NO_TLS, trust_env=False) as client:
        reply = client.post(f"{standing.server.url}/emails", json=body, headers=named)
    assert problem(reply) == expected
    assert ("REAL KEY" in reply.text) == ("re_" in (header or "") and expected[0] == 403)
    assert "AbCdEfGh" not in reply.text
    assert standing.kept("c@d.fr") == []


MISSING, WRONG = (422, "missing_required_field"), (422, "validation_error")


@pytest.mark.parametrize(
    ("changes", "expected", "named"),
    [
        ({"from": None}, MISSING, "`from`"),
        ({"to": None}, MISSING, "`to`"),
        ({"to": []}, MISSING, "`to`"),
        ({"subject": None}, MISSING, "`subject`"),
        ({"text": None, "html": None}, MISSING, "`html` or `text`"),
        ({"from": "store"}, (422, "invalid_from_address"), "`from`"),
        ({"from": "a@b.fr\r\nBcc: c@d.fr"}, (422, "invalid_from_address"), "`from`"),
        ({"from": ["a@b.fr"]}, (422, "invalid_from_address"), "`from`"),
        ({"to": "ada"}, WRONG, "`to`"),
        ({"to": ["ada@example.com", "bob@"]}, WRONG, "`to`"),
        ({"to": "ada@example.com, bob@example.com"}, WRONG, "`to`"),
        ({"to": [f"a{n}@example.com" for n in range(51)]}, WRONG, "50"),
        ({"to": {"a": 1}}, WRONG, "`to`"),
        ({"subject": 1}, WRONG, "`subject`"),
        ({"subject": "a\r\nBcc: c@d.fr"}, WRONG, "header"),
        ({"html": ["x"]}, WRONG, "`html`"),
        ({"reply_to": "x"}, WRONG, "`reply_to`"),
        ({"headers": []}, WRONG, "`headers`"),
        ({"headers": {"X-A": 1}}, WRONG, "X-A"),
        ({"headers": {"X A": "1"}}, WRONG, "X A"),
        ({"headers": {"X-A": "1\r\nBcc: c@d.fr"}}, WRONG, "header"),
        ({"headers": {"Sender": "<"}}, WRONG, "header"),
        ({"headers": {"Message-ID": "<\u00e9@b.fr>"}}, WRONG, "header"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, WRONG, "given twice"),
        ({"headers": {"to": "c@d.fr"}}, WRONG, "written by the server"),
        ({"headers": {"Content-Type": "text/x"}}, WRONG, "written by the server"),
        ({"tags": {"a": "b"}}, WRONG, "`tags`"),
        ({"tags": [{"name": "a"}]}, WRONG, "`tags`"),
        ({"tags": [{"name": "a b", "value": "c"}]}, WRONG, "Tags"),
        ({"cc": "c@d.fr"}, WRONG, "not simulated"),
        ({"attachments": []}, WRONG, "not simulated"),
        ({"subjekt": "x"}, WRONG, "Unknown field `subjekt`"),
    ],
)
def test_fields(standing: Post, changes: Any, expected: tuple[int, str], named: str) -> None:
    reply = standing.send("refused", **changes)
    assert problem(reply) == expected
    assert named in reply.json()["message"]
    assert standing.kept() == []


def test_a_refused_request_does_not_use_up_its_key(post: Post) -> None:
    assert problem(post.send("order/1", to="ada")) == WRONG
    assert post.send("order/1").status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"text": "\\ud800"}', b"\xff", b"[" * 9999])
def test_bodies(standing: Post, body: bytes) -> None:
    assert problem(standing.client.post("/emails", content=body)) == (400, "validation_error")
    assert standing.kept() == []


def test_other_places(standing: Post) -> None:
    assert problem(standing.client.get("/emails")) == (405, "method_not_allowed")
    assert problem(standing.client.post("/emails/batch", json=[])) == (404, "not_found")


def test_one_key_sends_one_message_a_day(post: Post) -> None:
    post.control("clock", frozen=START.isoformat())
    first = post.send("order/1")
    again = post.send("order/1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(post.kept()) == 1
    other = post.send("order/1", subject="Another")
    assert problem(other) == (409, "invalid_idempotent_request")
    assert len(post.kept()) == 1
    assert post.send("order/2").json() != first.json()
    assert post.send().json() != post.send().json()
    assert len(post.kept()) == 4
    post.client.delete("/_sim/messages")
    assert post.send("order/1").json() == first.json()
    assert post.kept() == []
    post.control("clock", advance_seconds=timedelta(hours=24).total_seconds() - 1)
    assert post.send("order/1").json() == first.json()
    post.control("clock", advance_seconds=1)
    assert post.send("order/1").json() != first.json()
    assert len(post.kept()) == 1


def test_the_order_of_fields_does_not_make_another_body(post: Post) -> None:
    body = {"from": "a@b.fr", "to": "c@d.fr", **HELLO}
    turned = dict(reversed(body.items()))
    assert json.dumps(body) != json.dumps(turned)
    named = {"Idempotency-Key": "k"}
    replies = [post.client.post("/emails", json=one, headers=named) for one in (body, turned)]
    assert replies[0].json() == replies[1].json()


def test_the_length_of_keys(post: Post) -> None:
    assert post.send("k" * 256).status_code == 200
    assert problem(post.send("k" * 257)) == (400, "invalid_idempotency_key")
    assert problem(post.send("")) == (400, "invalid_idempotency_key")
    assert len(post.kept()) == 1


def test_a_key_in_progress(post: Post) -> None:
    # Long enough for the last of them to come while the first is thought about, on busy cores too.
    post.control("thinking", seconds=1.5)
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda _: post.send("order/1"), range(4)))
    sent = [one for one in replies if one.status_code == 200]
    assert len(sent) == 1
    for one in replies:
        if one is not sent[0]:
            assert problem(one) == (409, "concurrent_idempotent_requests")
    post.control("thinking", seconds=0)
    assert post.send("order/1").json() == sent[0].json()
    assert len(post.kept()) == 1


@pytest.mark.parametrize(
    ("order", "status", "after"),
    [
        ({"name": "rate_limit_exceeded"}, 429, "1"),
        ({"name": "rate_limit_exceeded", "retry_after": 7}, 429, "7"),
        ({"name": "daily_quota_exceeded"}, 429, None),
        ({"name": "monthly_quota_exceeded", "retry_after": 60}, 429, "60"),
        ({"name": "internal_server_error"}, 500, None),
    ],
)
def test_errors_on_request(post: Post, order: Any, status: int, after: str | None) -> None:
    post.control("answers", **order, times=2)
    for _ in range(2):
        reply = post.send("order/1")
        assert problem(reply) == (status, order["name"])
        assert reply.headers.get("retry-after") == after
    assert post.kept() == []
    assert post.send("order/1").status_code == 200


def test_errors_until_cleared(post: Post) -> None:
    post.control("answers", name="internal_server_error", times=-1)
    assert {post.send().status_code for _ in range(3)} == {500}
    assert post.client.delete("/_sim/answers").json() == {"answers": []}
    assert post.send().status_code == 200


@pytest.mark.parametrize(
    ("path", "order", "words"),
    [
        ("answers", {"name": "teapot"}, "name must be one of"),
        ("answers", {"name": ["teapot"]}, "name must be one of"),
        ("answers", {"name": "internal_server_error", "times": 0}, "times must be"),
        ("answers", {"name": "internal_server_error", "retry_after": -1}, "retry_after must be"),
        ("answers", {"kind": "x"}, "an answer is an object"),
        ("thinking", {"seconds": -1}, "give seconds"),
        ("thinking", {"seconds": True}, "give seconds"),
        ("thinking", {"seconds": 1, "minutes": 1}, "give seconds"),
        ("thinking", [], "give seconds"),
    ],
)
def test_wrong_orders_are_refused(standing: Post, path: str, order: Any, words: str) -> None:
    reply = standing.client.post(f"/_sim/{path}", json=order)
    assert reply.status_code == 400
    assert words in reply.json()["error"]


def test_a_reply_that_never_comes_and_the_retry(post: Post) -> None:
    post.control("faults", kind="no-reply", path="/emails")
    with pytest.raises(httpx.TransportError):
        post.send("order/1")
    (kept,) = post.kept()
    assert post.send("order/1").json() == {"id": kept["id"]}
    assert len(post.kept()) == 1
    seen = post.client.get("/_sim/requests").json()["requests"]
    assert [one["status"] for one in seen] == [None, 200]


def test_the_other_faults(post: Post) -> None:
    post.control("faults", kind="status", status=503, retry_after=3)
    reply = post.send()
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "3")
    assert post.kept() == []
    post.control("faults", kind="status-after", status=500)
    assert post.send().status_code == 500
    assert len(post.kept()) == 1
    post.control("faults", kind="late", seconds=0.2)
    with pytest.raises(httpx.TransportError):
        post.send()
    deadline = time.monotonic() + 20
    while len(post.kept()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(post.kept()) == 2
