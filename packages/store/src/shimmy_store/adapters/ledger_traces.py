"""Which of the ledger's rows are about one person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shimmy_store.ports.database import Row, Statement


@dataclass(frozen=True, slots=True)
class Traces:
    """``names``: the customer and those merged into it.

    ``events`` (ids) and ``messages`` (keys) name no customer but hold an address of theirs;
    ``links`` are those that name one of them.
    """

    names: tuple[str, ...]
    events: tuple[str, ...]
    messages: tuple[str, ...]
    links: tuple[str, ...]


def ask_group(customer: str) -> Statement:
    """Names and addresses of all who are one person's."""
    return Statement(
        "SELECT customer, email FROM customers WHERE customer = ? OR merged_into = ?"
        " ORDER BY customer",
        (customer, customer),
    )


def ask_loose(needles: Sequence[str]) -> list[Statement]:
    """Events of nobody with any of these in them; all requests to sign in; all links."""
    return [
        *(
            Statement(
                "SELECT id FROM events WHERE customer = '' AND body <> ''"
                " AND replace(lower(body), lower(?), '') <> lower(body)",
                (one,),
            )
            for one in needles
        ),
        Statement("SELECT key, facts FROM outbox WHERE customer = ''"),
        Statement("SELECT id, customers FROM links"),
    ]


def needles_of(names: Iterable[str], emails: Iterable[str]) -> list[str]:
    """Ids and addresses as they stand in a body of JSON, quoted."""
    spelled = {json.dumps(one, ensure_ascii=way) for one in emails if one for way in (True, False)}
    return sorted({json.dumps(name) for name in names} | spelled)


def find_traces(
    names: Sequence[str], emails: Sequence[str], answers: Sequence[Sequence[Row]]
) -> Traces:
    """From the answers to ``ask_loose``."""
    *events, requests, links = answers
    folded = {one.casefold() for one in emails if one}
    return Traces(
        tuple(names),
        tuple(sorted({row[0] for rows in events for row in rows})),
        tuple(key for key, facts in requests if _names_one_of(folded, facts)),
        tuple(name for name, customers in links if set(customers.split()) & set(names)),
    )


def _names_one_of(folded: set[str], facts: str) -> bool:
    typed = json.loads(facts)
    return any(str(typed.get(one, "")).strip().casefold() in folded for one in ("email", "mailbox"))
