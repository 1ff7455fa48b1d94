"""Support's tickets, from a table and from a mailbox."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from sampled_store import NOW, ago

from shimmy_ops.adapters.monitoring.ticket_files import TicketFiles
from shimmy_ops.domain.monitoring.tickets import Ticket, support_of
from shimmy_ops.errors import MonitorError

TABLE = """\
opened,first_reply,closed,customer
2026-11-26T09:00:00Z,2026-11-26T10:00:00Z,2026-11-26T11:00:00Z,cus_1
2026-11-26T09:00:00+01:00,2026-11-26T11:00:00Z,,
2026-11-26T10:00:00,,,
2026-11-20T10:00:00Z,,2026-11-20T11:00:00Z,
"""


def test_a_table_says_how_many_and_how_soon(tmp_path: Path) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text(TABLE)
    tickets = TicketFiles(file, "shimmy.example").tickets()
    assert tickets is not None
    found = support_of(tickets, 50, ago(hours=24), NOW)
    assert (found.opened, found.answered, found.unanswered) == (3, 2, 1)
    assert found.per_100_customers == 6
    assert (found.median_seconds, found.p95_seconds) == (3600, 3 * 3600)
    # Closed without a reply does not wait any more.
    assert found.oldest_unanswered_seconds == 2 * 3600


def test_without_customers_or_tickets_there_is_no_rate() -> None:
    found = support_of([Ticket(ago(hours=1), None)], None, ago(hours=24), NOW)
    assert (found.per_100_customers, found.median_seconds) == (None, None)
    assert support_of([], 0, ago(hours=24), NOW).per_100_customers is None


def _letter(name: str, sender: str, hours_ago: float, answers: str = "", more: str = "") -> str:
    sent = format_datetime(NOW - timedelta(hours=hours_ago))
    lines = [f"From {sender}", f"Message-ID: <{name}@mail>", f"From: Somebody <{sender}>",
             f"Date: {sent}", more, "", "Text.", ""]  # fmt: skip
    if answers:
        lines[4] = f"In-Reply-To: <{answers}@mail>"
    return "\n".join(one for n, one in enumerate(lines) if one or n > 4) + "\n"


def test_a_mailbox_is_put_into_threads(tmp_path: Path) -> None:
    file = tmp_path / "support.mbox"
    file.write_text(
        # Answered after an hour; the customer writes again, which is no new ticket.
        _letter("b", "help@SHIMMY.example", 9, "a")
        + _letter("a", "ada@other.example", 10)
        + _letter("c", "ada@other.example", 8, "b")
        # Never answered, but for a second letter of the same person.
        + _letter("d", "bob@other.example", 5)
        + _letter("e", "bob@other.example", 4, "d")
        # Begun by us, and answers to a letter that is not there.
        + _letter("f", "help@shimmy.example", 3)
        + _letter("g", "eve@other.example", 2, "gone")
        + _letter("h", "help@shimmy.example", 1, "gone")
        # One whose address only ends like ours.
        + _letter("i", "x@evilshimmy.example", 1, "d")
    )
    tickets = TicketFiles(file, "shimmy.example").tickets()
    assert tickets is not None
    waited = sorted(
        (one.opened, one.replied and (one.replied - one.opened).total_seconds() / 3600)
        for one in tickets
    )
    assert waited == [(ago(hours=10), 1), (ago(hours=5), None), (ago(hours=2), 1)]


@pytest.mark.parametrize("row", ["yesterday,,", ",2026-11-26T10:00:00Z,", "2026-11-26,soon,"])
def test_a_row_without_a_time_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text(f"opened,first_reply,closed\n2026-11-26T09:00:00Z,,\n{row}\n")
    with pytest.raises(MonitorError) as refused:
        TicketFiles(file, "").tickets()
    assert refused.value.code == "tickets-malformed"
    assert "Line 3" in refused.value.message


def test_a_file_that_is_not_there_is_said_and_none_is_no_error(tmp_path: Path) -> None:
    assert TicketFiles(None, "").tickets() is None
    with pytest.raises(MonitorError) as refused:
        TicketFiles(tmp_path / "none.csv", "").tickets()
    assert refused.value.code == "tickets-unreadable"
    (tmp_path / "binary.csv").write_bytes(b"opened\n\xff\xfe\n")
    with pytest.raises(MonitorError, match="binary"):
        TicketFiles(tmp_path / "binary.csv", "").tickets()
