"""Documents in one SQLite file: Stripe objects, deliveries and remembered idempotency keys."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from shimmy_sandbox.simulation.state_file import Layout, StateFile

Document: TypeAlias = dict[str, Any]

_LAYOUT = 7401
_SCHEMA = """
CREATE TABLE objects (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
  due INTEGER, clock TEXT, body TEXT NOT NULL);
CREATE INDEX objects_of_kind ON objects (kind, seq);
CREATE INDEX objects_due ON objects (due) WHERE due IS NOT NULL;
CREATE TABLE deliveries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, endpoint TEXT NOT NULL,
  due REAL NOT NULL, first REAL NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  last_status INTEGER, last_problem TEXT);
CREATE INDEX deliveries_waiting ON deliveries (state, due);
CREATE INDEX deliveries_of_event ON deliveries (event);
CREATE TABLE replies (
  key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
  request TEXT NOT NULL, created INTEGER NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""
# By what lists are asked for when there are many: without, each reads all objects of its kind.
_LISTED_BY = (
    *("created", "customer", "subscription", "invoice", "charge", "payment_intent"),
    *("parent.subscription_details.subscription", "payment.payment_intent"),
)
_INDEXES = tuple(
    f"CREATE INDEX IF NOT EXISTS objects_by_{name.replace('.', '_')}"
    f" ON objects (kind, json_extract(body, '$.{name}'))"
    for name in _LISTED_BY
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of SQL's on an object, and the values of its question marks.

    ``few`` pass it, by an index of its own: quicker than going through all in their order.
    """

    sql: str
    values: tuple[Any, ...] = ()
    few: bool = False


def matching(**fields: Any) -> list[Condition]:
    """That ``fields`` have these values; a double underscore stands for the dot of a path."""
    return [
        Condition(f"json_extract(body, '$.{name.replace('__', '.')}') = ?", (value,), few=True)
        for name, value in fields.items()
    ]


class Store(StateFile):
    """One connection under one lock: requests, pages and deliveries take turns.

    A document's keys that begin with ``_`` are ours and never leave the sandbox. ``_due`` (Unix
    seconds) is when something happens to it by itself, ``_clock`` the test clock it lives by.
    """

    def __init__(self, path: Path | str) -> None:
        """StateError when the file at ``path`` holds something else."""
        super().__init__(path, Layout(_LAYOUT, _SCHEMA, _INDEXES))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: what the block did is undone when it raises."""
        self._connection.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO attempt")
            self._connection.execute("RELEASE attempt")
            raise
        self._connection.execute("RELEASE attempt")

    def get(self, identifier: str) -> Document | None:
        """The document with this id."""
        found = self.rows("SELECT body FROM objects WHERE id = ?", identifier)
        return json.loads(found[0]["body"]) if found else None

    def save(self, document: Mapping[str, Any]) -> None:
        """Insert or replace ``document``; a replaced one keeps its place in lists."""
        columns = (document["object"], document.get("_due"), document.get("_clock"))
        body = json.dumps(document, separators=(",", ":"))
        self.execute(
            "INSERT INTO objects (id, kind, due, clock, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT "
            "(id) DO UPDATE SET kind=excluded.kind, due=excluded.due, clock=excluded.clock, "
            "body=excluded.body",
            document["id"],
            *columns,
            body,
        )

    def find(self, kind: str, **fields: Any) -> list[Document]:
        """Documents of ``kind`` whose ``fields`` have these values (``matching``), newest first."""
        return self._select(kind, matching(**fields), "DESC")

    def find_some(
        self, kind: str, tests: Sequence[Condition], most: int, *, oldest: bool = False
    ) -> list[Document]:
        """At most so many documents of ``kind`` that pass all ``tests``, the newest or oldest ones,
        newest first. Others are not even parsed.
        """
        way = "ASC" if oldest else "DESC"
        found = self._select(kind, tests, f"{way} LIMIT {most:d}")
        return found[::-1] if oldest else found

    def _select(self, kind: str, tests: Sequence[Condition], way: str) -> list[Document]:
        # The plus keeps SQLite from choosing the index that has the order already.
        order = f"+seq {way}" if any(one.few for one in tests) else f"seq {way}"
        wanted = "".join(f" AND {one.sql}" for one in tests)
        values = [value for one in tests for value in one.values]
        sql = f"SELECT body FROM objects WHERE kind = ?{wanted} ORDER BY {order}"  # noqa: S608 - our names
        return [json.loads(row["body"]) for row in self.rows(sql, kind, *values)]

    def sequence(self, kind: str, identifier: str) -> int | None:
        """The place of a document of ``kind`` in the order of creation."""
        found = self.rows("SELECT seq FROM objects WHERE id = ? AND kind = ?", identifier, kind)
        return found[0]["seq"] if found else None

    def next_due(self, until: int, clock: str | None) -> Document | None:
        """The first document to which something happens at ``until`` or before, by its clock."""
        found = self.rows(
            "SELECT body FROM objects WHERE due <= ? AND clock IS ? ORDER BY due, seq LIMIT 1",
            until,
            clock,
        )
        return json.loads(found[0]["body"]) if found else None

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Every row of a SELECT."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; the number of rows it changed."""
        with self._lock:
            return self._connection.execute(sql, values).rowcount

    def setting(self, name: str, default: Any) -> Any:
        """A value the controls set, or ``default``."""
        found = self.rows("SELECT value FROM settings WHERE name = ?", name)
        return json.loads(found[0]["value"]) if found else default

    def set_setting(self, name: str, value: Any) -> None:
        """Keep ``value`` across restarts."""
        self.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, json.dumps(value))
