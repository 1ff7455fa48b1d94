"""A schema that nests too deep is refused alike by every way in, before anything copies it."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import anyio
import pytest
from mcp import Client
from PIL import Image
from serving import PlayedAnalyst
from starlette.testclient import TestClient

from shimmy_vision.cli.mcp_tools import create_mcp_server
from shimmy_vision.domain.answer.analysis_request import ChatQuestion, ChatTurn, CustomQuestion
from shimmy_vision.errors import SchemaError
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.orders import OrderLimits
from shimmy_vision.server.status_codes import status_of


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()
ENCODED = base64.b64encode(PNG).decode()
DEEP = nested(101)


@pytest.mark.parametrize("levels", [101, 5000, 200_000])
def test_both_questions_refuse_it(levels: int) -> None:
    deep = nested(levels)
    with pytest.raises(SchemaError) as refused:
        CustomQuestion(schema=deep)
    assert (refused.value.code, status_of(refused.value)) == ("schema-too-deep", 422)
    assert refused.value.hint
    with pytest.raises(SchemaError):
        ChatQuestion((ChatTurn("user", "Look", ""),), deep)
    while deep:  # not left to recursion, which its own end would be
        deep = deep.pop("items", {})


def test_a_hundred_levels_pass() -> None:
    assert CustomQuestion(schema=nested(100)).schema is not None


CHAT = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
            ],
        }
    ],
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": DEEP}},
}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/vision", {"json": {"image": ENCODED, "schema": DEEP}}),
        ("/api/vision", {"files": {"file": PNG}, "data": {"schema": json.dumps(DEEP)}}),
        ("/v1/chat/completions", {"json": CHAT}),
    ],
)
def test_the_server_refuses_it(path: str, body: dict[str, Any]) -> None:
    analyst = PlayedAnalyst(lambda *_: {})
    app = create_app(analyst, ServerOptions(), lambda: None)
    answer = TestClient(app, base_url="http://127.0.0.1").post(path, **body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "schema-too-deep"
    assert analyst.jobs == []


def test_the_tools_refuse_it() -> None:
    analyst = PlayedAnalyst(lambda *_: {})
    said: list[str] = []

    async def run() -> None:
        server = create_mcp_server(analyst, OrderLimits(5_000, 5_000), 1)
        async with Client(server) as client:
            arguments = {"base64": ENCODED, "schema": DEEP}
            said.append(str(await client.call_tool("analyze_image", arguments)))

    anyio.run(run)
    assert "schema-too-deep" in said[0]
    assert analyst.jobs == []
