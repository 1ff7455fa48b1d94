"""Bodies in their three forms - JSON, a form with a file, a file alone - read to one order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from shimmy_vision.errors import UsageError
from shimmy_vision.ports.tracing import Tracer
from shimmy_vision.server.bodies import SourceBody, VisionBody
from shimmy_vision.server.json_bounds import ONE_FILE, JsonBounds, check_fields, read_json_text
from shimmy_vision.server.orders import Order, OrderLimits, plan_file, plan_order
from shimmy_vision.server.page_keys import name_pages, read_page_key
from shimmy_vision.server.waiting_line import BaggageAccount

Model = TypeVar("Model", bound=BaseModel)
Asked = TypeVar("Asked", bound=SourceBody)
T = TypeVar("T")

_FILE_FIELDS = ("file", "image")
_MOST_FIELDS, _LONGEST_FIELD = 40, 1_000_000
_LONGEST_NAME, _DEEPEST_PLACE = 100, 8
# From this size on, reading a body would keep all others waiting for more than a moment.
_LARGE = 200_000
_ACCEPTED = "application/json, multipart/form-data, image/*, application/pdf"


async def read_order(
    request: Request, account: BaggageAccount, limits: OrderLimits
) -> tuple[Order, bool]:
    """What the request asks for, and whether it asks for events. Raises UsageError, ImageError or

    BusyError.
    """
    order, asked = await read_asked(request, account, limits, VisionBody)
    return order, asked.stream or "text/event-stream" in request.headers.get("accept", "")


async def read_asked(
    request: Request, account: BaggageAccount, limits: OrderLimits, model: type[Asked]
) -> tuple[Order, Asked]:
    """The order, and all fields besides the file. Raises as ``read_order``."""
    key = read_page_key(request.headers)
    # By its state, whose module brings all of the server to whoever reads bodies only.
    tracer: Tracer = request.app.state.shimmy.tracer
    with tracer.span("intake") as span:
        order, asked = await _read_unnamed(request, account, limits, model)
        named = await aside(account.held, lambda: name_pages(order.job, key, asked.seed))
        span.note({"shimmy.bytes": account.held})
    return replace(order, job=named), asked


async def _read_unnamed(
    request: Request, account: BaggageAccount, limits: OrderLimits, model: type[Asked]
) -> tuple[Order, Asked]:
    kind = media_type(request)
    if kind == "application/json":
        body = await read_json(request, account, model)
        return await aside(account.held, lambda: plan_order(body, limits)), body
    if kind == "multipart/form-data":
        return await _read_form(request, account, limits, model)
    if kind.startswith("image/") or kind in ("application/pdf", "application/octet-stream"):
        fields = _of_strings(model, dict(request.query_params))
        _refuse_second(fields)
        return plan_file(await read_body(request, account), fields, limits), fields
    raise unsupported_media(kind, _ACCEPTED)


def media_type(request: Request) -> str:
    """The body's type without parameters, in small letters; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported_media(kind: str, accepted: str) -> UsageError:
    """The error for a body of another type."""
    return UsageError(
        "media-type-unsupported",
        f"Bodies of type {kind[:100] or 'unknown'!r} are not taken here.",
        hint=f"Send one of: {accepted}.",
    )


async def read_body(request: Request, account: BaggageAccount, most: int | None = None) -> bytes:
    """All of it, on the account of this request; ``most`` bytes where that is less than the

    server takes elsewhere. Raises BusyError, UsageError body-too-large.
    """
    pieces, count = [], 0
    async for piece in request.stream():
        account.take(len(piece))
        count += len(piece)
        if most is not None and count > most:
            raise UsageError("body-too-large", f"This takes {most / 1000:g} kB at most.")
        pieces.append(piece)
    return b"".join(pieces)


async def read_json(
    request: Request,
    account: BaggageAccount,
    model: type[Model],
    bounds: JsonBounds = ONE_FILE,
) -> Model:
    """The body as ``model``. Raises as ``parse_json``."""
    if media_type(request) != "application/json":
        raise unsupported_media(media_type(request), "application/json")
    data = await read_body(request, account)
    return await aside(len(data), lambda: parse_json(data, model, bounds))


def parse_json(data: bytes | str, model: type[Model], bounds: JsonBounds = ONE_FILE) -> Model:
    """``data`` as ``model``. Raises UsageError as ``read_json_text`` does, and fields-invalid."""
    read = read_json_text(data, bounds)
    try:
        # Strictly: "true" is no boolean in JSON, whatever it is in a form.
        return model.model_validate(read, strict=True)
    except ValidationError as error:
        raise invalid_fields(error) from error


def invalid_fields(error: ValidationError) -> UsageError:
    """What is wrong with the first few fields, without repeating what was sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    said = "; ".join(f"{_place(one['loc'])}: {one['msg'][:_LONGEST_NAME]}" for one in found[:5])
    return UsageError(
        "fields-invalid", f"The request's fields are not right: {said}.", hint="See /docs."
    )


def _place(parts: tuple[int | str, ...]) -> str:
    """Where a field stands; its name may be whatever the client likes."""
    named = ".".join(str(part)[:_LONGEST_NAME] for part in parts[:_DEEPEST_PLACE])
    return named or "body"


async def aside(size: int, work: Callable[[], T]) -> T:
    """Small work here, large work on another thread."""
    return work() if size < _LARGE else await run_sync(work)


class _FormParser(MultiPartParser):
    """Images stay in memory: nothing of them is ever written to a disk."""

    spool_max_size = 1 << 62


async def _read_form(
    request: Request, account: BaggageAccount, limits: OrderLimits, model: type[Asked]
) -> tuple[Order, Asked]:
    async def counted() -> Any:
        async for piece in request.stream():
            account.take(len(piece))
            yield piece

    parser = _FormParser(
        request.headers,
        counted(),
        max_files=1,
        max_fields=_MOST_FIELDS,
        max_part_size=_LONGEST_FIELD,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise UsageError("form-malformed", f"The form cannot be read: {error}.") from error
    try:
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        files = [(n, value) for n, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files and "url" in fields:
            body = _of_strings(model, fields)
            return plan_order(body, limits), body
        if len(files) != 1 or files[0][0] not in _FILE_FIELDS:
            raise UsageError("source-unclear", "A form holds one file in its field 'file'.")
        asked = _of_strings(model, fields)
        _refuse_second(asked)
        data = await files[0][1].read()
    finally:
        await form.close()
    return plan_file(data, asked, limits), asked


def _refuse_second(fields: SourceBody) -> None:
    """Beside a file nothing else is named to be analysed."""
    if fields.image is not None or fields.url is not None:
        raise UsageError(
            "source-unclear", "The file is here, and another image or url is named besides it."
        )


def _of_strings(model: type[Model], fields: Mapping[str, str]) -> Model:
    """Fields of a form or a query, where a schema is JSON in a string."""
    read: dict[str, Any] = dict(fields)
    check_fields(read)
    if "schema" in read:
        try:
            read["schema"] = read_json_text(read["schema"])
        except UsageError as error:
            if error.code != "json-malformed":
                raise
            raise UsageError("fields-invalid", "schema: not JSON.") from error
    try:
        return model.model_validate(read)
    except ValidationError as error:
        raise invalid_fields(error) from error
