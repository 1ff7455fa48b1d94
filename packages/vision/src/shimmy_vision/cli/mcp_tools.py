"""The tools that agents get: what an image shows, what a document says, how a web page is made."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from anyio.to_thread import run_sync
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from shimmy_vision import __version__
from shimmy_vision.cli.image_sources import ImageSource
from shimmy_vision.cli.mcp_calls import Calls, Outcome
from shimmy_vision.domain.answer.analysis_request import Mode
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.errors import ShimmyError, UsageError
from shimmy_vision.ports.analyst import Analyst, PageOutcome
from shimmy_vision.server.bodies import VisionBody, VisionOptions
from shimmy_vision.server.intake import invalid_fields
from shimmy_vision.server.orders import Order, OrderLimits, plan_file, plan_order
from shimmy_vision.server.problems import error_json

_INSTRUCTIONS = (
    "Sees images, PDFs and web pages on this machine; nothing leaves it. Use read_text to read, "
    "analyze_image to describe an image or to ask a question about it, analyze_page for a web "
    "page's elements with their selectors. Boxes are in pixels, origin top left."
)
_READS_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=True)

FilePath: TypeAlias = Annotated[
    str | None, Field(description="A file on this machine: an image or a PDF.")
]
Url: TypeAlias = Annotated[str | None, Field(description="An image or a PDF on the web.")]
Encoded: TypeAlias = Annotated[
    str | None, Field(description="The file itself in base64, or as a data URL.")
]
Pages: TypeAlias = Annotated[
    str | None, Field(description="Of a PDF, like 1-3,7,10-. Left out: every page.")
]
ModeOf: TypeAlias = Annotated[
    Mode | None,
    Field(
        description="full: everything (default); ocr: text only; layout: regions and interface "
        "elements; brief: a description, colours and contrast. Not together with prompt or schema."
    ),
]
Prompt: TypeAlias = Annotated[
    str | None, Field(description="Your own question; the reply stands under answer.")
]
AnswerSchema: TypeAlias = Annotated[
    dict[str, Any] | None,
    Field(description="A JSON Schema that the reply under answer is made to follow."),
]
MaxTokens: TypeAlias = Annotated[
    int | None, Field(ge=1, le=4096, description="Bound of each generated answer.")
]


class ReadPage(BaseModel):
    """One page, or the whole of an image as page 1; ``error`` where this page could not be read."""

    page: int
    text: str
    blocks: list[dict[str, Any]]
    error: dict[str, Any] | None = None


class ReadText(BaseModel):
    """The text of each page in reading order, and where each block of it stands."""

    pages: list[ReadPage]


Answer: TypeAlias = Annotated[CallToolResult, dict[str, Any]]
Reading: TypeAlias = Annotated[CallToolResult, ReadText]


class Tools:
    """The tools, with what their calls share."""

    def __init__(self, analyst: Analyst, limits: OrderLimits, jobs: int) -> None:
        self._calls, self._limits = Calls(analyst, jobs), limits

    async def analyze_image(
        self,
        context: Context[Any, Any],
        path: FilePath = None,
        url: Url = None,
        base64: Encoded = None,
        mode: ModeOf = None,
        prompt: Prompt = None,
        schema: AnswerSchema = None,
        pages: Pages = None,
        max_tokens: MaxTokens = None,
    ) -> Answer:
        """Look at an image or a PDF: text, layout, interface elements, colours; or ask about it.

        Name exactly one of path, url and base64.
        """
        fields = {"mode": mode, "prompt": prompt, "schema": schema, "pages": pages}
        options = {**fields, "max_tokens": max_tokens}
        return _answer(await self._look(context, path, url, base64, options))

    async def read_text(
        self,
        context: Context[Any, Any],
        path: FilePath = None,
        url: Url = None,
        base64: Encoded = None,
        pages: Pages = None,
        max_tokens: MaxTokens = None,
    ) -> Reading:
        """Read all text of an image or a PDF, in reading order. A PDF's own text is taken exactly.

        Name exactly one of path, url and base64.
        """
        options = {"mode": "ocr", "pages": pages, "max_tokens": max_tokens}
        return _reading(await self._look(context, path, url, base64, options))

    async def analyze_page(
        self,
        context: Context[Any, Any],
        url: Annotated[str, Field(description="The web page, with https:// or http://.")],
        mode: ModeOf = None,
        prompt: Prompt = None,
        schema: AnswerSchema = None,
        viewport: Annotated[
            str, Field(pattern=r"^[0-9]{2,4}x[0-9]{2,4}$", description="In CSS pixels.")
        ] = "1280x800",
        full_page: Annotated[
            bool, Field(description="All of the page, or only what the viewport shows first.")
        ] = True,
        dom_map: Annotated[
            bool,
            Field(
                description="With dom_map: each visible interactive element with role, name, box, "
                "contrast and a selector that finds it."
            ),
        ] = True,
        max_tokens: MaxTokens = None,
    ) -> Answer:
        """Open a web page in a browser: what it shows, its layout, its elements with selectors."""
        options = {
            "mode": mode,
            "prompt": prompt,
            "schema": schema,
            "viewport": viewport,
            "full_page": full_page,
            "max_tokens": max_tokens,
        }
        outcome = await self._look(context, None, url, None, options)
        if outcome.result is not None and not dom_map:
            outcome.result.pop("dom_map", None)
        return _answer(outcome)

    async def _look(
        self,
        context: Context[Any, Any],
        path: str | None,
        url: str | None,
        encoded: str | None,
        options: dict[str, Any],
    ) -> Outcome:
        given = {name: value for name, value in options.items() if value is not None}
        try:
            order = await run_sync(lambda: self._order(path, url, encoded, given))
            outcome = await self._calls.run(order.job, context)
            failed = [page.error for page in outcome.pages if page.error is not None]
            if failed and len(failed) == len(outcome.pages):
                raise failed[0]
        except ShimmyError as error:
            raise _tool_error(error) from error
        return outcome

    def _order(
        self, path: str | None, url: str | None, encoded: str | None, options: dict[str, Any]
    ) -> Order:
        if sum(source is not None for source in (path, url, encoded)) != 1:
            raise UsageError("source-unclear", "Name exactly one of path, url and base64.")
        try:
            if path is None:
                body = VisionBody.model_validate({**options, "url": url, "image": encoded})
                return plan_order(body, self._limits)
            asked = VisionOptions.model_validate(options)
        except ValidationError as error:
            raise invalid_fields(error) from error
        data = ImageSource(path, Path(path).expanduser()).read(self._most)
        return plan_file(data, asked, self._limits)

    def _most(self, head: bytes) -> int:
        is_document = recognise_file(head) is PDF
        return self._limits.max_document_bytes if is_document else self._limits.max_image_bytes


def create_mcp_server(analyst: Analyst, limits: OrderLimits, jobs: int) -> MCPServer:
    """A server with all tools, whose calls ``analyst`` does, ``jobs`` of them at once."""
    server = MCPServer(
        "shimmy-vision",
        title="Shimmy Vision",
        instructions=_INSTRUCTIONS,
        version=__version__,
        # Calls are the agent's own; only what is wrong is worth a line on standard error.
        log_level="ERROR",
    )
    tools = Tools(analyst, limits, jobs)
    named: tuple[tuple[Callable[..., Any], str], ...] = (
        (tools.analyze_image, "Analyse an image"),
        (tools.read_text, "Read text"),
        (tools.analyze_page, "Analyse a web page"),
    )
    for tool, title in named:
        server.add_tool(
            tool, title=title, description=inspect.getdoc(tool), annotations=_READS_ONLY
        )
    return server


def _tool_error(error: ShimmyError) -> ToolError:
    """For the model to read: what happened, what to do, and the stable code."""
    said = f"{error.message} {error.hint}".strip()
    return ToolError(f"{said} [{error.code}]")


def _answer(outcome: Outcome) -> CallToolResult:
    told = outcome.result
    if told is None:
        told = {"pages": [_page(page) for page in outcome.pages]}
    # Compact: the model pays for each space.
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=told)


def _page(page: PageOutcome) -> dict[str, Any]:
    if page.error is not None:
        return {"page": page.page, **error_json(page.error)}
    return {"page": page.page, "result": page.result}


def _reading(outcome: Outcome) -> CallToolResult:
    pages = outcome.pages or (PageOutcome(1, outcome.result, None),)
    read = ReadText(pages=[_read_page(page) for page in pages])
    texts = [page.text if page.error is None else page.error["message"] for page in read.pages]
    if len(texts) > 1:
        texts = [
            f"[page {page.page}]\n{text}" for page, text in zip(read.pages, texts, strict=True)
        ]
    return CallToolResult(
        content=[TextContent(type="text", text="\n\n".join(texts))],
        structured_content=read.model_dump(mode="json"),
    )


def _read_page(page: PageOutcome) -> ReadPage:
    if page.error is not None:
        error = error_json(page.error)["error"]
        return ReadPage(page=page.page, text="", blocks=[], error=error)
    blocks = (page.result or {}).get("text_blocks", [])
    text = "\n".join(block["text"] for block in blocks)
    return ReadPage(page=page.page, text=text, blocks=blocks)
