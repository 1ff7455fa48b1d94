"""Lists of thousands: a page at a time, and what they are asked for by is found by an index."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call
from shimmy_sandbox.stripe_api.store import Condition, Document, Store
from shimmy_sandbox.stripe_api.webhooks import list_events
from shimmy_sandbox.stripe_api.wire import RefusalError

TYPES = ("charge.refunded", "charge.failed", "invoice.paid", "chargeXrefunded")
_WANTED = st.sampled_from((*TYPES, "charge.*", "*", "none.of.these"))
_MADE = st.lists(st.tuples(st.sampled_from(TYPES), st.integers(1, 6), st.booleans()), max_size=12)
_BOUNDS = st.dictionaries(st.sampled_from(("gt", "gte", "lt", "lte")), st.integers(0, 7))
_ASKED = st.fixed_dictionaries(
    {"limit": st.integers(1, 5)},
    optional={
        "types": st.lists(_WANTED, min_size=1, max_size=3),
        "created": st.one_of(st.integers(0, 7), _BOUNDS),
        "delivery_success": st.booleans(),
    },
)


def _filled(made: list[tuple[str, int, bool]]) -> Store:
    store = Store(":memory:")
    for number, (kind, created, waits) in enumerate(made):
        store.save({"id": f"evt_{number}", "object": "event", "type": kind, "created": created})
        if waits:
            store.execute(
                "INSERT INTO deliveries (event, endpoint, due, first, state)"
                " VALUES (?, 'we_1', 0, 0, 'waiting')",
                f"evt_{number}",
            )
    return store


def _passes(event: tuple[str, int, bool], asked: dict[str, Any]) -> bool:
    kind, created, waits = event
    bounds = asked.get("created", {})
    if isinstance(bounds, int):
        bounds = {"gte": bounds, "lte": bounds}
    held = {
        "gt": created > bounds.get("gt", -1),
        "gte": created >= bounds.get("gte", -1),
        "lt": created < bounds.get("lt", 99),
        "lte": created <= bounds.get("lte", 99),
    }
    wanted = [
        kind.startswith(one[:-1]) if one.endswith("*") else kind == one
        for one in asked.get("types", "*")
    ]
    return all(held.values()) and any(wanted) and asked.get("delivery_success", not waits) != waits


@given(_MADE, _ASKED)
def test_pages_of_events_are_what_a_whole_list_would_give(
    made: list[tuple[str, int, bool]], asked: dict[str, Any]
) -> None:
    store = _filled(made)
    right = [f"evt_{n}" for n, one in enumerate(made) if _passes(one, asked)][::-1]

    def page(**more: str) -> Document:
        return list_events(Call(Books(store, 9, ""), "/v1/events", params={**asked, **more}))

    forth, told = [], page()
    while told["data"]:
        forth += [one["id"] for one in told["data"]]
        assert told["has_more"] == (len(forth) < len(right))
        told = page(starting_after=forth[-1])
    assert forth == right
    back: list[str] = right[-1:]
    while back and (told := page(ending_before=back[0]))["data"]:
        back = [*(one["id"] for one in told["data"]), *back]
        assert told["has_more"] == (len(back) < len(right))
    assert back == right
    store.close()


def test_a_place_that_is_none_is_refused() -> None:
    store = _filled([("invoice.paid", 1, False)])
    for more in ({"starting_after": "evt_9"}, {"ending_before": "evt_9"}):
        with pytest.raises(RefusalError, match="No such object"):
            list_events(Call(Books(store, 9, ""), "/v1/events", params=more))
    both = {"starting_after": "evt_0", "ending_before": "evt_0"}
    with pytest.raises(RefusalError, match="only specify one"):
        list_events(Call(Books(store, 9, ""), "/v1/events", params=both))
    store.close()


def test_a_file_of_before_is_read_by_the_same_indexes(tmp_path: Path) -> None:
    path = tmp_path / "stripe.sqlite"
    store = Store(path)
    store.save({"id": "ch_1", "object": "charge", "customer": "cus_1", "created": 5})
    store.close()
    with sqlite3.connect(path) as old:
        made = "SELECT name FROM sqlite_schema WHERE name LIKE 'objects_by_%'"
        for (name,) in old.execute(made).fetchall():
            old.execute(f"DROP INDEX {name}")
    old.close()
    store = Store(path)
    asked: list[str] = []
    store._connection.set_trace_callback(asked.append)
    assert [one["id"] for one in store.find("charge", customer="cus_1")] == ["ch_1"]
    since = Condition("json_extract(body, '$.created') >= ?", (5,), few=True)
    assert [one["id"] for one in store.find_some("charge", [since], 9)] == ["ch_1"]
    store._connection.set_trace_callback(None)
    ways = [store.rows(f"EXPLAIN QUERY PLAN {one}")[0]["detail"] for one in asked]
    assert ["objects_by_customer" in ways[0], "objects_by_created" in ways[1]] == [True, True], ways
    store.close()
