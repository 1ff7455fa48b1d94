"""JSON is looked at before it is parsed: its values may take a hundred times its length."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import PlayedAnalyst, serve

from shimmy_vision.errors import UsageError
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.json_bounds import ONE_FILE, JsonBounds, read_json_text

IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3_000_000)).decode()
ANSWERS = {"meta": {"mode": "full", "model": {"family": "4.6"}}}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = create_app(PlayedAnalyst(lambda *_: ANSWERS), ServerOptions(), lambda: None)
    with serve(app, longest_message=30_000_000) as url, httpx.Client(base_url=url) as opened:
        yield opened


def refusal(text: bytes | str, bounds: JsonBounds = ONE_FILE) -> str:
    with pytest.raises(UsageError) as caught:
        read_json_text(text, bounds)
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"[" + b"[]," * 60_000 + b"[]]", "json-too-complex"),
        (b'{"a":' + b"[" * 120_000, "json-too-complex"),
        (b"{" + b'"k":1,' * 300_000 + b'"z":1}', "json-too-complex"),
        (b"[" + b"1," * 1_500_000 + b"1]", "fields-too-large"),
        (b" " * 3_000_000 + b"{}", "fields-too-large"),
        (b'{"prompt":"' + b"x" * 2_500_000 + b'","image":"' + b"y" * 3_000_000 + b'"}',
         "fields-too-large"),
        (b'"' + b'\\"' * 600_000 + b'"', "json-too-complex"),
        (b"[" + b",".join(b'"k%d"' % n for n in range(120_000)) + b"]", "json-too-complex"),
        (b"{" + b",".join(b'"k%d":1' % n for n in range(200)) + b"}", "fields-invalid"),
        (b'{"a": NaN}', "json-malformed"),
    ],
)  # fmt: skip
def test_bombs_are_refused_unparsed(text: bytes, code: str) -> None:
    assert refusal(text) == code
    assert refusal(text.decode()) == code


def test_what_is_inside_strings_does_not_count() -> None:
    tricky = {"image": '{"[,:\\' * 50_000, "prompt": '\\"' * 20_000, "é": "\\", "z": '\\\\"'}
    for text in (json.dumps(tricky), json.dumps(tricky, ensure_ascii=False)):
        assert read_json_text(text) == tricky
        assert read_json_text(text.encode()) == tricky
    several = {"items": ["x" * 3_000_000] * 3}
    assert refusal(json.dumps(several)) == "fields-too-large"
    assert read_json_text(json.dumps(several), JsonBounds(files=3)) == several


def test_looking_takes_no_copy_of_what_is_long() -> None:
    text = b'{"image":"' + b"x" * 20_000_000 + b'","k":' + b"[" * 150_000
    tracemalloc.start()
    try:
        assert refusal(text) == "json-too-complex"
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000


@pytest.mark.parametrize(
    "path",
    ["/api/vision", "/api/vision/batch", "/api/vision/jobs", "/v1/chat/completions"],
)
def test_every_endpoint_looks_first(client: httpx.Client, path: str) -> None:
    bomb = b'{"image":"' + IMAGE.encode() + b'","x":[' + b"[]," * 200_000 + b"1]}"
    response = client.post(path, content=bomb, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "json-too-complex")


def test_a_large_image_with_a_long_schema_is_taken(client: httpx.Client) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(9000)}}
    body: dict[str, Any] = {"image": IMAGE, "schema": schema}
    assert client.post("/api/vision", json=body).status_code == 200
    items = [{"image": IMAGE, "prompt": '"' * 20_000} for _ in range(4)]
    told = client.post("/api/vision/batch", json={"items": items}).json()["items"]
    assert [one["status"] for one in told] == [200] * 4


def test_long_names_are_not_repeated(client: httpx.Client) -> None:
    for body in ({"x" * 3_000_000: 1}, {"items": [{"x" * 3_000_000: 1}]}):
        response = client.post("/api/vision" + ("/batch" if "items" in body else ""), json=body)
        assert response.status_code == 422
        assert len(response.content) < 1000
    many = client.post("/api/vision", json={f"k{n}": 1 for n in range(5000)})
    assert (many.status_code, len(many.content) < 1000) == (422, True)
    query = {f"k{n}": "1" for n in range(500)}
    png = {"Content-Type": "image/png"}
    assert client.post("/api/vision", content=b"x", params=query, headers=png).status_code == 422


def test_where_no_image_is_wanted_little_is_taken(client: httpx.Client) -> None:
    response = client.post("/api/license/validate", json={"x": "y" * 70_000})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body-too-large")


def test_a_conversation_has_so_many_messages_and_parts(client: httpx.Client) -> None:
    part = {"type": "text", "text": "a"}
    for messages in ([{"role": "user", "content": [part] * 1001}], [{"role": "user"}] * 1001):
        response = client.post("/v1/chat/completions", json={"messages": messages})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "fields-invalid")
