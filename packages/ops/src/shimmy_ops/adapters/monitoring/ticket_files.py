"""The ``TicketBooks`` port: a CSV table, or a mailbox as programs for mail export it."""

from __future__ import annotations

import csv
import mailbox
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path

from shimmy_ops.domain.monitoring.tickets import Letter, Ticket, parse_rows, threads_of
from shimmy_ops.errors import MonitorError

_ID = re.compile(r"<[^<>\s]+>")
_MBOX = b"From "


class TicketFiles:
    """``domain`` is that of our own addresses: letters from there are replies."""

    def __init__(self, path: Path | None, domain: str) -> None:
        self._path = path
        self._domain = domain.lower()

    def tickets(self) -> Sequence[Ticket] | None:
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                letters = file.read(len(_MBOX)) == _MBOX
            return threads_of(self._letters(self._path)) if letters else _rows(self._path)
        except (OSError, UnicodeError, csv.Error) as error:
            raise MonitorError(
                "tickets-unreadable",
                f"{self._path} cannot be read: {type(error).__name__}.",
                hint="tickets_file in the profile names a CSV or mbox file.",
            ) from error

    def _letters(self, path: Path) -> Iterator[Letter]:
        with closing(mailbox.mbox(path, create=False)) as box:
            for number, message in enumerate(box):
                letter = self._letter(message, number)
                if letter is not None:
                    yield letter

    def _letter(self, message: Message, number: int) -> Letter | None:
        """None where it says no time: it cannot be put in order."""
        try:
            sent = parsedate_to_datetime(str(message["Date"]))
        except (ValueError, TypeError):
            return None
        sent = sent.replace(tzinfo=UTC) if sent.tzinfo is None else sent.astimezone(UTC)
        named = _ID.findall(str(message["Message-ID"] or "")) or [f"<{number}@unnamed>"]
        before = f"{message['References'] or ''} {message['In-Reply-To'] or ''}"
        senders = [address.lower() for _, address in getaddresses([str(message["From"] or "")])]
        ours = bool(self._domain) and any(one.endswith(f"@{self._domain}") for one in senders)
        return Letter(named[0], tuple(_ID.findall(before)), sent, ours)


def _rows(path: Path) -> Sequence[Ticket]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return parse_rows(csv.DictReader(file))
