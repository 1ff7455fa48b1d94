"""A request as handlers see it, pages of lists, and expansion of what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from shimmy_sandbox.stripe_api.books import Books, includable, listing, public
from shimmy_sandbox.stripe_api.store import Condition, Document
from shimmy_sandbox.stripe_api.wire import invalid, no_such

_DEEPEST = 4
_MOST = 100
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the books, the id its path names, its checked parameters."""

    books: Books
    path: str
    """Without query, as lists name it in ``url``."""
    id: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    def named(self, kind: str) -> Document:
        """The object of ``kind`` that the path names; 404 when there is none."""
        return self.books.get(kind, self.id)

    def given(self, *names: str) -> dict[str, Any]:
        """Those of ``names`` that were sent; a cleared one is None."""
        return {name: self.params[name] for name in names if name in self.params}


Handler: TypeAlias = Callable[[Call], Document]


def paged(call: Call, documents: Sequence[Document]) -> Document:
    """The page of ``documents`` (newest first) that ``call`` asks for."""
    chosen = [one for one in documents if _created_within(one, call.params.get("created"))]
    limit = limit_of(call)
    after, before = _cursors(call)
    if after is not None:
        place = _place(chosen, after, "starting_after")
        rest = chosen[place + 1 :]
        return listing(rest[:limit], call.path, has_more=len(rest) > limit)
    if before is not None:
        rest = chosen[: _place(chosen, before, "ending_before")]
        return listing(rest[-limit:], call.path, has_more=len(rest) > limit)
    return listing(chosen[:limit], call.path, has_more=len(chosen) > limit)


def paged_by_store(call: Call, kind: str, tests: Sequence[Condition]) -> Document:
    """As ``paged``, of documents of which there may be thousands: read a page at a time."""
    limit = limit_of(call)
    after, before = _cursors(call)
    chosen = [*tests, *_made_within(call.params.get("created"))]
    for identifier, param, sign in ((after, "starting_after", "<"), (before, "ending_before", ">")):
        if identifier is not None:
            place = call.books.store.sequence(kind, identifier)
            if place is None:
                raise no_such("object", identifier, param, 400)
            chosen.append(Condition(f"seq {sign} ?", (place,)))
    oldest = before is not None
    found = call.books.store.find_some(kind, chosen, limit + 1, oldest=oldest)
    page = found[-limit:] if oldest else found[:limit]
    return listing(page, call.path, has_more=len(found) > limit)


def _cursors(call: Call) -> tuple[str | None, str | None]:
    """The ids that a page begins after, or ends before: one of them at most."""
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    if after is not None and before is not None:
        raise invalid("You may only specify one of these parameters: starting_after, ending_before")
    return after, before


def limit_of(call: Call) -> int:
    """The page's size, 1 to 100; 10 unless told."""
    limit = int(call.params.get("limit", 10))
    if not 1 <= limit <= _MOST:
        message = f"This value must be between 1 and {_MOST}"
        raise invalid(message, "limit", "parameter_invalid_integer")
    return limit


def _place(documents: Sequence[Document], identifier: str, param: str) -> int:
    for place, one in enumerate(documents):
        if one["id"] == identifier:
            return place
    raise no_such("object", identifier, param, 400)


def _created_within(document: Document, wanted: Any) -> bool:
    created = document.get("created", 0)
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return bool(created == wanted)
    checks = {
        "gt": created.__gt__,
        "gte": created.__ge__,
        "lt": created.__lt__,
        "lte": created.__le__,
    }
    return all(checks[name](value) for name, value in wanted.items())


def _made_within(wanted: Any) -> list[Condition]:
    """As ``_created_within``, in SQL."""
    bounds = {"gte": wanted, "lte": wanted} if isinstance(wanted, int) else wanted or {}
    return [
        Condition(f"json_extract(body, '$.created') {_SIGNS[name]} ?", (value,), few=name[0] == "g")
        for name, value in bounds.items()
    ]


def expanded(books: Books, document: Document, paths: Iterable[str]) -> Document:
    """What the caller sees of ``document``, ids on ``paths`` replaced by their objects."""
    tree: dict[str, Any] = {}
    for path in paths:
        steps = path.split(".")
        depth = len(steps) - (1 if steps[0] == "data" else 0)
        if depth > _DEEPEST:
            message = f"You cannot expand more than {_DEEPEST} levels of a property: {path}"
            raise invalid(message, "expand")
        below = tree
        for step in steps:
            below = below.setdefault(step, {})
    return _shown(books, document, tree, "")


def _shown(books: Books, document: Document, tree: Mapping[str, Any], path: str) -> Document:
    shown = public(document)
    for name, below in tree.items():
        here = f"{path}.{name}" if path else name
        value = document.get(name)
        if name in includable(document):
            value = _included(books, document, name)
        elif name not in shown:
            raise _unexpandable(here)
        shown[name] = _shown_value(books, value, below, here)
    return shown


def _shown_value(books: Books, value: Any, below: Mapping[str, Any], path: str) -> Any:
    if value is None:
        return None
    if isinstance(value, dict):
        return _shown(books, value, below, path)
    if isinstance(value, list):
        return [_shown_value(books, item, below, path) for item in value]
    found = books.store.get(value) if isinstance(value, str) else None
    if found is None:
        raise _unexpandable(path)
    return _shown(books, found, below, path)


def _unexpandable(path: str) -> Exception:
    return invalid(f"This property cannot be expanded ({path}).", "expand")


def _included(books: Books, document: Document, name: str) -> Document:
    store, identifier = books.store, document["id"]
    match name:
        case "line_items":
            url = f"/v1/checkout/sessions/{identifier}/line_items"
            return listing(document["_items"], url)
        case "subscriptions":
            found = store.find("subscription", customer=identifier)
            running = [one for one in found if one["status"] != "canceled"]
            return listing(running, f"/v1/customers/{identifier}/subscriptions")
        case "payments":
            found = store.find("invoice_payment", invoice=identifier)
            return listing(found, f"/v1/invoice_payments?invoice={identifier}")
        case "refunds":
            found = store.find("refund", charge=identifier)
            return listing(found, f"/v1/charges/{identifier}/refunds")
        case _:
            return listing([], f"/v1/customers/{identifier}/{name}")
