"""Lists: filters, ``limit`` and ``page[number]``/``page[size]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from shimmy_sandbox.keygen.call import Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.wire import refusal, snake

_DEFAULT, _LARGEST = 10, 100


def page(call: Call, resources: Sequence[Mapping[str, Any]]) -> Reply:
    """The page asked for of ``resources``, which come newest first; 400 for an impossible one.

    Keygen's cursors are not simulated.
    """
    if call.filter("page[cursor]") is not None:
        raise refusal(400, "is not simulated by this sandbox", parameter="page[cursor]")
    limit = _bounded(call.filter("limit"), "limit", _DEFAULT)
    ordered = _ordered(call, resources)
    number, size = call.filter("page[number]"), call.filter("page[size]")
    if number is None:
        if size is not None:
            detail = "page must be an object containing a cursor or number and optional size"
            raise refusal(400, detail, parameter="page")
        return Reply(document={"data": ordered[:limit]})
    count = _bounded(size, "page size", limit, parameter="page[size]")
    first = _bounded(number, "page number", 1, parameter="page[number]")
    pages = -(-len(ordered) // count)
    links = {
        "self": _link(call, first, count),
        "prev": _link(call, first - 1, count) if first > 1 else None,
        "next": _link(call, first + 1, count) if first < pages else None,
        "first": _link(call, 1, count),
        "last": _link(call, pages, count),
        "meta": {"pages": pages, "count": len(ordered)},
    }
    return Reply(document={"data": ordered[(first - 1) * count : first * count], "links": links})


def matches_metadata(call: Call, row: Row) -> bool:
    """Whether every ``metadata[key]=value`` of the query holds; text and typed forms both match."""
    for name, value in call.query:
        wanted = re.fullmatch(r"metadata\[(.+)\]", name)
        if wanted is None:
            continue
        key = snake(wanted[1])
        if key not in row["metadata"] or not _same(row["metadata"][key], value):
            return False
    return True


def _same(kept: Any, asked: str) -> bool:
    if isinstance(kept, str):
        return kept == asked
    if kept is None or isinstance(kept, bool):
        return {None: "null", True: "true", False: "false"}[kept] == asked
    if isinstance(kept, int | float) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", asked):
        return bool(kept == float(asked)) if "." in asked else bool(kept == int(asked))
    return False


def _ordered(call: Call, resources: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    order = (call.filter("order") or "desc").lower()
    if order not in ("asc", "desc"):
        raise refusal(400, "order is invalid", parameter="order")
    return resources if order == "desc" else resources[::-1]


def _bounded(text: str | None, name: str, default: int, *, parameter: str | None = None) -> int:
    if text is None:
        return default
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    if not 1 <= number <= _LARGEST:
        detail = f"{name} must be a number between 1 and {_LARGEST} (got {text})"
        raise refusal(400, detail, parameter=parameter or name)
    return number


def _link(call: Call, number: int, size: int) -> str:
    kept = [(name, value) for name, value in call.query if not name.startswith("page[")]
    asked = sorted([*kept, ("page[number]", str(number)), ("page[size]", str(size))])
    return f"{call.location}?{urlencode(asked)}"
