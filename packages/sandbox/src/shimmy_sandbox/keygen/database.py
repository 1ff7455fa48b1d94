"""The tables of the licence server and the few statements everything is made of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from shimmy_sandbox.simulation.state_file import Layout, StateFile

Row: TypeAlias = dict[str, Any]

_LAYOUT = 2
_SCHEMA = """
CREATE TABLE accounts (id TEXT PRIMARY KEY, slug TEXT UNIQUE, created TEXT, updated TEXT);
CREATE TABLE products (
  id TEXT PRIMARY KEY, name TEXT, code TEXT UNIQUE, url TEXT, platforms TEXT,
  distribution_strategy TEXT, metadata TEXT, created TEXT, updated TEXT);
CREATE TABLE policies (
  id TEXT PRIMARY KEY, product_id TEXT NOT NULL REFERENCES products ON DELETE CASCADE,
  settings TEXT, metadata TEXT, created TEXT, updated TEXT);
CREATE TABLE entitlements (
  id TEXT PRIMARY KEY, name TEXT, code TEXT UNIQUE COLLATE NOCASE, metadata TEXT,
  created TEXT, updated TEXT);
CREATE TABLE policy_entitlements (
  id TEXT PRIMARY KEY, policy_id TEXT NOT NULL REFERENCES policies ON DELETE CASCADE,
  entitlement_id TEXT NOT NULL REFERENCES entitlements ON DELETE CASCADE,
  created TEXT, updated TEXT, UNIQUE (policy_id, entitlement_id));
CREATE TABLE users (
  id TEXT PRIMARY KEY, email TEXT UNIQUE, first_name TEXT, last_name TEXT, metadata TEXT,
  created TEXT, updated TEXT);
CREATE TABLE licences (
  id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE,
  policy_id TEXT NOT NULL REFERENCES policies ON DELETE CASCADE,
  owner_id TEXT REFERENCES users ON DELETE CASCADE, name TEXT, expiry TEXT,
  suspended INTEGER NOT NULL DEFAULT 0, protected INTEGER NOT NULL,
  uses INTEGER NOT NULL DEFAULT 0 CHECK (uses >= 0),
  max_machines INTEGER, max_uses INTEGER, metadata TEXT,
  last_validated TEXT, last_check_in TEXT, last_check_out TEXT, created TEXT, updated TEXT);
CREATE INDEX licences_of_policy ON licences (policy_id);
CREATE TABLE licence_entitlements (
  id TEXT PRIMARY KEY, licence_id TEXT NOT NULL REFERENCES licences ON DELETE CASCADE,
  entitlement_id TEXT NOT NULL REFERENCES entitlements ON DELETE CASCADE,
  created TEXT, updated TEXT, UNIQUE (licence_id, entitlement_id));
CREATE TABLE machines (
  id TEXT PRIMARY KEY, licence_id TEXT NOT NULL REFERENCES licences ON DELETE CASCADE,
  fingerprint TEXT NOT NULL, name TEXT, hostname TEXT, platform TEXT, ip TEXT,
  cores INTEGER, memory INTEGER, disk INTEGER, metadata TEXT,
  last_heartbeat TEXT, last_check_out TEXT, created TEXT, updated TEXT,
  UNIQUE (licence_id, fingerprint));
CREATE TABLE tokens (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, bearer_id TEXT NOT NULL,
  name TEXT, expiry TEXT, permissions TEXT, created TEXT, updated TEXT);
"""


class Database(StateFile):
    """The licence server's tables; a request is one transaction."""

    def __init__(self, path: Path | str) -> None:
        """StateError when the file at ``path`` holds something else."""
        super().__init__(path, Layout(_LAYOUT, _SCHEMA))

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """Every row of a SELECT, JSON columns read."""
        return [_read(row) for row in self._connection.execute(sql, values)]

    def one(self, sql: str, *values: Any) -> Row | None:
        """The first row of a SELECT, if any."""
        rows = self.rows(sql, *values)
        return rows[0] if rows else None

    def by_id(self, table: str, identifier: str | None) -> Row | None:
        """The row of ``table`` with this id."""
        return self.one(f"SELECT * FROM {table} WHERE id = ?", identifier)  # noqa: S608 - our names

    def newest(self, table: str) -> list[Row]:
        """Every row of ``table``, newest first."""
        # Tables are named by literals of ours.
        return self.rows(f"SELECT * FROM {table} ORDER BY created DESC, rowid DESC")  # noqa: S608

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        """Add ``row``; its keys are column names of ours."""
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        self._connection.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608 - our names
            [_write(value) for value in row.values()],
        )

    def update(self, table: str, identifier: str, changes: Mapping[str, Any]) -> None:
        """Set ``changes`` on the row with this id."""
        sets = ", ".join(f"{column} = ?" for column in changes)
        self._connection.execute(
            f"UPDATE {table} SET {sets} WHERE id = ?",  # noqa: S608 - our names
            [*(_write(value) for value in changes.values()), identifier],
        )

    def delete(self, table: str, identifier: str) -> None:
        """Remove the row with this id and what hangs on it."""
        # Tables are named by literals of ours.
        self._connection.execute(f"DELETE FROM {table} WHERE id = ?", [identifier])  # noqa: S608


_JSON_COLUMNS = {"metadata": "{}", "settings": "{}", "platforms": "null", "permissions": "null"}
_FLAG_COLUMNS = ("suspended", "protected")


def _read(row: sqlite3.Row) -> Row:
    read = dict(row)
    for column, absent in _JSON_COLUMNS.items():
        if column in read:
            read[column] = json.loads(read[column] or absent)
    for column in _FLAG_COLUMNS:
        if column in read:
            read[column] = bool(read[column])
    return read


def _write(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
