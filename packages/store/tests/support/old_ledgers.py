"""Ledgers as earlier versions left them: ``tests/ledgers/schema-N.json``, kept for good.

``scripts/make_ledger_sample.py`` wrote each with the version's own code. ``steps`` made its tables,
``batches`` are all that it wrote and asked with, ``rows`` what was in the tables then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shimmy_store.adapters.ledger_schema import _NUMBER, _TABLE
from shimmy_store.ports.database import Database, Row, Statement

_FOLDER = Path(__file__).resolve().parents[1] / "ledgers"
# What whoever is at work changes; bodies are emptied after a month.
_OF_WORK = {"lease_token", "lease_until", "known_to", "attempts", "again", "body"}

# How its rows can be told from a later version's.
_NAMES = ("evt_old", "cus_old", "sub_old", "licence/old")


@dataclass(frozen=True)
class OldLedger:
    """What one version left."""

    schema: int
    steps: tuple[tuple[str, ...], ...]
    batches: tuple[tuple[Statement, ...], ...]
    rows: Mapping[str, Mapping[str, Any]]

    async def make(self, database: Database) -> None:
        """Its tables with its rows, in an empty database."""
        numbered = _NUMBER[database.dialect]
        await database.batch([Statement(_TABLE)])
        for number, step in enumerate(self.steps, 1):
            note = Statement("INSERT INTO migrations (number) VALUES (?)", (number,))
            made = [Statement(one.replace("{number}", numbered)) for one in step]
            await database.batch([note, *made])
        for table, kept in self.rows.items():
            names = ", ".join(kept["columns"])
            marks = ", ".join("?" for _ in kept["columns"])
            sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - ours
            for row in kept["rows"]:
                await database.batch([Statement(sql, tuple(row))])

    async def replay(self, database: Database) -> None:
        """All that the version ever asks a database, as a host of it would."""
        for one in self.batches:
            await database.batch(one)

    async def read(self, database: Database, table: str) -> Sequence[Row]:
        """Its own rows, in the columns it knows, without those that change with every look."""
        names = [one for one in self.rows[table]["columns"] if one not in _OF_WORK]
        key = self.rows[table]["columns"][0]
        (found,) = await database.batch(
            [Statement(f"SELECT {', '.join(names)} FROM {table} ORDER BY {key}")]  # noqa: S608 - ours
        )
        return [tuple(row) for row in found if any(str(one).startswith(_NAMES) for one in row)]

    def kept(self, table: str) -> Sequence[Row]:
        """As ``read`` gives them, from the file."""
        columns = self.rows[table]["columns"]
        shown = [at for at, one in enumerate(columns) if one not in _OF_WORK]
        return sorted(tuple(row[at] for at in shown) for row in self.rows[table]["rows"])


def old_ledger(schema: int) -> OldLedger:
    """That of the version whose newest step was ``schema``."""
    data = json.loads((_FOLDER / f"schema-{schema}.json").read_text(encoding="utf-8"))
    batches = tuple(
        tuple(Statement(sql, tuple(values)) for sql, values in one) for one in data["batches"]
    )
    steps = tuple(tuple(one) for one in data["steps"])
    return OldLedger(schema, steps, batches, data["rows"])


def kept_schemas() -> list[int]:
    """Of all files."""
    return sorted(int(one.stem.partition("-")[2]) for one in _FOLDER.glob("schema-*.json"))
