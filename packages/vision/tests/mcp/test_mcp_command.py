"""``shimmy mcp`` as an agent runs it: a real process, the SDK's client, the real library."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import CallToolResult
from pdf_writer import text_page, write_pdf

from shimmy_sandbox.synthetic_model import SyntheticPair

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
SAMPLE = Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png"


@pytest.fixture(scope="module")
def variables(
    tmp_path_factory: pytest.TempPathFactory,
    synthetic_46: SyntheticPair,
    licence_variables: dict[str, str],
) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {
        **licence_variables,
        "HOME": str(home),
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
        "SHIMMY_STATE_DIR": str(home / "state"),
    }


@asynccontextmanager
async def agent(variables: dict[str, str]) -> AsyncIterator[Client]:
    server = StdioServerParameters(command=SHIMMY, args=["mcp"], env=variables)
    async with Client(stdio_client(server)) as client:
        yield client


def talk(variables: dict[str, str], speak: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        with anyio.fail_after(120):
            async with agent(variables) as client:
                await speak(client)

    anyio.run(run)


def said(answered: CallToolResult) -> str:
    (content,) = answered.content
    assert content.type == "text"
    return content.text


async def give_up(client: Client) -> None:
    """Ask for much, and stop at the first sign of work."""
    encoded = base64.b64encode(SAMPLE.read_bytes()).decode()
    with anyio.CancelScope() as scope:

        async def leave(progress: float, total: float | None, message: str | None) -> None:
            scope.cancel()

        asked = {"base64": encoded, "max_tokens": 4096}
        answered = await client.call_tool("analyze_image", asked, progress_callback=leave)
        pytest.fail(f"not stopped: {said(answered)[:500]}")
    assert scope.cancelled_caught


def test_tools_on_the_real_engine(variables: dict[str, str], tmp_path: Path) -> None:
    document = tmp_path / "a.pdf"
    document.write_bytes(write_pdf(text_page("Invoice 4711"), text_page("Total 12 EUR")))
    stages: list[str | None] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        stages.append(message)

    async def speak(client: Client) -> None:
        image = {"path": str(SAMPLE), "mode": "brief", "max_tokens": 20}
        seen = await client.call_tool("analyze_image", image, progress_callback=hear)
        assert not seen.is_error, said(seen)
        assert seen.structured_content is not None
        assert seen.structured_content["visual"]["background"] == "#f5f7fa"
        assert any(stage and stage.startswith("encode") for stage in stages)
        await give_up(client)
        source = {"path": str(document), "pages": "2", "max_tokens": 20}
        read = await client.call_tool("read_text", source)
        assert not read.is_error, said(read)
        assert "Total 12 EUR" in said(read)
        missing = await client.call_tool("read_text", {"path": str(tmp_path / "b.png")})
        assert missing.is_error
        assert "[image-not-found]" in said(missing)

    talk(variables, speak)


def test_without_a_licence_a_tool_says_what_to_do(
    variables: dict[str, str], tmp_path: Path
) -> None:
    bare = {name: value for name, value in variables.items() if name != "SHIMMY_LICENSE_KEY"}

    async def speak(client: Client) -> None:
        answered = await client.call_tool("analyze_image", {"path": str(SAMPLE)})
        assert answered.is_error
        assert "[licence-missing]" in said(answered)
        assert "shimmy license activate" in said(answered)

    talk({**bare, "SHIMMY_STATE_DIR": str(tmp_path)}, speak)


def test_standard_output_carries_the_protocol_alone(variables: dict[str, str]) -> None:
    hello: dict[str, Any] = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }  # fmt: skip
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    lines = "".join(json.dumps(one) + "\n" for one in (hello, ready, asked))
    done = subprocess.run(
        [SHIMMY, "mcp"], input="not json\n" + lines, capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], **variables}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[0]["result"]["serverInfo"]["name"] == "shimmy-vision"
    assert all(one["jsonrpc"] == "2.0" for one in told)


@pytest.mark.parametrize("gone", ["mcp", "mcp.server.mcpserver", "mcp_types"])
def test_without_the_sdk_it_says_how_to_get_it(gone: str) -> None:
    code = (
        f"import sys; sys.modules[{gone!r}] = None;"
        "from shimmy_vision.cli.main import main; sys.exit(main(['mcp']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "[mcp-missing]" in done.stderr
    assert "pip install 'shimmy-vision[mcp]'" in done.stderr


def test_help_needs_no_sdk() -> None:
    code = (
        "import sys; sys.modules['mcp'] = None;"
        "from shimmy_vision.cli.main import main; sys.exit(main(['mcp', '--help']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: shimmy mcp" in done.stdout
