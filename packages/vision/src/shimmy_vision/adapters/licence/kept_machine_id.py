"""An id for machines that have none of their own, kept in the licence state."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid

from shimmy_vision.adapters.licence.licence_tables import damaged

_ID_DIGITS, _CHECK_DIGITS = 24, 8


def keep_machine_id(connection: sqlite3.Connection, wanted: str | None) -> str:
    """The id kept, which is ``wanted`` or a new one if there was none."""
    fresh = wanted or new_machine_id()
    connection.execute("INSERT OR IGNORE INTO machine VALUES (1, ?)", (fresh,))
    row = connection.execute("SELECT id FROM machine").fetchone()
    if row is None or not is_machine_id(row[0]):
        raise damaged()
    return str(row[0])


def new_machine_id() -> str:
    """Random digits and their check: an altered id would be another machine, not a refusal."""
    digits = uuid.uuid4().hex[:_ID_DIGITS]
    return digits + _check_digits(digits)


def is_machine_id(found: object) -> bool:
    """Whether the digits fit their check."""
    return isinstance(found, str) and found[_ID_DIGITS:] == _check_digits(found[:_ID_DIGITS])


def _check_digits(digits: str) -> str:
    return hashlib.sha256(f"machine {digits}".encode()).hexdigest()[:_CHECK_DIGITS]
