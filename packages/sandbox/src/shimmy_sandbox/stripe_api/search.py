"""Search in Stripe's query language, as far as the sandbox speaks it.

``email:"a@b"``, ``email~"part"``, ``name``, ``phone``, ``metadata["key"]:"value"``, ``created>N``,
``active:"true"`` and others, all joined by ``AND`` or all by ``OR``; a leading ``-`` negates.
New and changed objects are found after ``search_lag_seconds`` of simulated time (default 60).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from shimmy_sandbox.stripe_api.call import Call, limit_of
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import RefusalError, invalid

LAG_SECONDS = 60
_FIELDS = {
    "customer": ("email", "name", "phone", "created", "metadata"),
    "product": ("active", "description", "name", "url", "created", "metadata"),
    "price": ("active", "lookup_key", "currency", "product", "type", "created", "metadata"),
}
_CLAUSE = re.compile(
    r"""\s*(?P<not>-)?(?P<field>\w+)(?:\[(?P<q>["'])(?P<key>(?:(?!(?P=q)).)*)(?P=q)\])?
    \s*(?P<sign>:|~|>=|<=|>|<)\s*
    (?:(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P=quote)|(?P<word>null|-?\d+))\s*""",
    re.VERBOSE,
)


def search_customers(call: Call) -> Document:
    """Customers that match the query, a little behind what is so."""
    return _search(call, "customer")


def search_products(call: Call) -> Document:
    """Products that match the query."""
    return _search(call, "product")


def search_prices(call: Call) -> Document:
    """Prices that match the query."""
    return _search(call, "price")


def _search(call: Call, kind: str) -> Document:
    lag = call.books.store.setting("search_lag_seconds", LAG_SECONDS)
    matches = _parsed(call.params["query"], _FIELDS[kind])
    indexed = [
        one
        for one in call.books.store.find(kind)
        if not one.get("deleted") and one.get("_indexed", one["created"]) + lag <= call.books.now
    ]
    found = [one for one in indexed if matches(one)]
    limit, start = limit_of(call), _start(call.params.get("page"))
    more = len(found) > start + limit
    return {
        "object": "search_result",
        "data": found[start : start + limit],
        "has_more": more,
        "next_page": f"page_{start + limit}" if more else None,
        "total_count": len(found),
        "url": call.path,
    }


def _start(page: str | None) -> int:
    if page is None:
        return 0
    matched = re.fullmatch(r"page_(\d+)", page)
    if matched is None:
        raise invalid(f"Invalid page: {page}", "page")
    return int(matched[1])


def _parsed(query: str, fields: Sequence[str]) -> Callable[[Document], bool]:
    tests, joints, place = [], set(), 0
    while True:
        clause = _CLAUSE.match(query, place)
        if clause is None:
            raise _bad(query)
        if clause["field"] not in fields:
            known = ", ".join(fields)
            message = f"Field `{clause['field']}` cannot be searched here; these can: {known}"
            raise invalid(message, "query")
        tests.append(_test(clause, query))
        place = clause.end()
        if place == len(query):
            break
        joint = re.compile(r"(AND|OR)(?=\s)", re.IGNORECASE).match(query, place)
        if joint is None:
            raise _bad(query)
        joints.add(joint[1].upper())
        place = joint.end()
    if len(joints) > 1:
        raise invalid("A query may use AND or OR, not both", "query")
    every = any if joints == {"OR"} else all
    return lambda document: every(test(document) for test in tests)


def _bad(query: str) -> RefusalError:
    return invalid(f"We were unable to parse your search query: {query}", "query")


def _test(clause: re.Match[str], query: str) -> Callable[[Document], bool]:
    field, key, sign = clause["field"], clause["key"], clause["sign"]
    text = clause["text"]
    wanted: Any = re.sub(r"\\(.)", r"\1", text) if text is not None else clause["word"]
    if (field == "metadata") != (key is not None):
        raise _bad(query)

    def test(document: Document) -> bool:
        value = document.get(field)
        if key is not None:
            value = document["metadata"].get(key)
        return _compares(value, sign, wanted, absent=clause["word"] == "null")

    if clause["not"]:
        return lambda document: not test(document)
    return test


def _compares(value: Any, sign: str, wanted: str, *, absent: bool) -> bool:
    if absent:
        return value is None
    if value is None:
        return False
    if isinstance(value, bool):
        return str(value).lower() == wanted
    if sign == ":":
        return str(value).lower() == wanted.lower()
    if sign == "~":
        return wanted.lower() in str(value).lower()
    if not isinstance(value, int) or not re.fullmatch(r"-?\d+", wanted):
        return False
    number = int(wanted)
    return {
        ">": value > number,
        "<": value < number,
        ">=": value >= number,
        "<=": value <= number,
    }[sign]
