"""Reporting pages through everything that can go wrong: each is counted once, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from licence_world import Customer, MakeCustomer, Shop, Sold
from stranger import Heard, relay, signed, strangers
from threads import until

from shimmy_sandbox.keygen import shop as keygen_shop
from shimmy_vision.domain.licence.metering import BATCH_WAIT, LARGEST_BATCH, SETTLE_WAIT
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licence_state import LicenceRecord
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.refresh_licence import refresh_licence
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

ONE_SHOP = True

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
READ, INCREMENT = "/me", "increment-usage"
TIMEOUT = 1.0


class PowerCut(BaseException):
    """The process ends here."""


def use(licensing: Licensing, *counts: int) -> None:
    for pages in counts:
        settle_pages(admit_pages(pages, licensing), licensing, done=True)


def sync(licensing: Licensing) -> str:
    return sync_pages(licensing.key() or "", licensing, force=True)


def record(licensing: Licensing) -> LicenceRecord:
    with licensing.state.session(licensing.key() or "") as session:
        return session.record


def report_in_the_end(shop: Shop, sold: Sold, *machines: Licensing) -> None:
    """As many reports as doubts take, with the time between them that they take."""
    shop.heal()
    for licensing in machines:
        for _ in range(4):
            if sync(licensing) == "counted":
                break
            shop.clock.advance(SETTLE_WAIT)
        assert (record(licensing).waiting, record(licensing).reserved) == (0, 0)


def increments(shop: Shop) -> int:
    return shop.asked().count("POST increment-usage")


@pytest.fixture
def sold(shop: Shop) -> Sold:
    shop.clock.freeze(NOON)
    return shop.sell("startup")


@pytest.fixture
def machine(sold: Sold, customer: MakeCustomer) -> Licensing:
    activate_licence(sold.key, customer().licensing())
    return customer().licensing()


TOO_SLOW = "slower than one waits"
FAULTS: Mapping[str, dict[str, Any]] = {
    "no request": {"kind": "no-request"},
    "no reply": {"kind": "no-reply"},
    "500": {"kind": "status", "status": 500},
    "500 after the work": {"kind": "status-after", "status": 500},
    "503 after the work": {"kind": "status-after", "status": 503},
    "429": {"kind": "status", "status": 429, "retry_after": 30},
    "unsigned yes": {"kind": "status", "status": 200},
    "unsigned yes after the work": {"kind": "status-after", "status": 200},
    "unsigned conflict after the work": {"kind": "status-after", "status": 409},
    "unsigned no": {"kind": "status", "status": 403},
    "late": {"kind": "late", "seconds": 0.1},
    # By far, so that no busy machine takes it for in time.
    TOO_SLOW: {"kind": "slow", "seconds": TIMEOUT + 2.0},
}


@pytest.mark.parametrize("step", [READ, INCREMENT])
@pytest.mark.parametrize("name", FAULTS)
def test_whatever_fails_at_any_step_every_page_is_counted_once(
    shop: Shop, sold: Sold, machine: Licensing, customer: MakeCustomer, step: str, name: str
) -> None:
    use(machine, 3, 4)
    shop.fault(path=step, **FAULTS[name])
    hasty = customer(timeout=TIMEOUT).licensing() if name == TOO_SLOW else machine
    assert sync(hasty) == "unheard"
    assert shop.uses(sold) in (0, 7)
    assert record(machine).waiting == 7
    use(machine, 2)
    sync(machine)  # At once, while what is late may still be on its way.
    assert shop.uses(sold) <= 9
    if step == INCREMENT and FAULTS[name].get("seconds"):
        until(lambda: shop.uses(sold) >= 7)
    report_in_the_end(shop, sold, machine)
    assert (shop.uses(sold), record(machine).total, record(machine).uncounted) == (9, 9, 0)


@contextmanager
def meddled(
    shop: Shop, customer: Customer, alter: Callable[[Heard, bytes], bytes]
) -> Iterator[Licensing]:
    """A process of ``customer`` behind something that alters the server's replies."""
    with (
        strangers(relay(shop.server.url, alter)) as between,
        replace(customer, api_url=between.url).process() as licensing,
    ):
        yield licensing


def altering(step: str, alter: Callable[[bytes], bytes]) -> Callable[[Heard, bytes], bytes]:
    return lambda heard, reply: alter(reply) if step in heard.target else reply


FORGERIES: Mapping[str, Callable[[bytes], bytes]] = {
    "another count": lambda reply: reply.replace(b'"uses":', b'"uses":9'),
    "no signature": lambda reply: reply.replace(b"keygen-signature", b"x-signature"),
    "cut off": lambda reply: reply[:-20],
    "nothing": lambda _reply: b"",
    "another status": lambda reply: reply.replace(b"200", b"422", 1),
    "the status of a conflict": lambda reply: reply.replace(b"200", b"409", 1),
    "the status of something missing": lambda reply: reply.replace(b"200", b"404", 1),
}


@pytest.mark.parametrize("step", [READ, INCREMENT])
@pytest.mark.parametrize("name", FORGERIES)
def test_a_reply_altered_on_the_way_counts_nothing_twice(
    shop: Shop, sold: Sold, machine: Licensing, customer: MakeCustomer, step: str, name: str
) -> None:
    """The status is not part of what is signed: the body alone says what happened."""
    use(machine, 7)
    with meddled(shop, customer(), altering(step, FORGERIES[name])) as cheated:
        for _ in range(3):
            assert sync(cheated) in ("unheard", "in-doubt", "counted")
            assert shop.uses(sold) <= 7
        with cheated.state.session(sold.key) as session:
            assert session.record.denial is None
    report_in_the_end(shop, sold, machine)
    assert shop.uses(sold) == 7


def test_a_reply_of_an_earlier_report_stands_for_no_other(
    shop: Shop, sold: Sold, machine: Licensing, customer: MakeCustomer
) -> None:
    """Everything in it is genuine, only old. Pages it is taken for go uncounted, never twice."""
    said: list[bytes] = []

    def replay(heard: Heard, reply: bytes) -> bytes:
        if INCREMENT not in heard.target:
            return reply
        said.append(reply)
        return said[0]

    with meddled(shop, customer(), replay) as cheated:
        use(cheated, 5)
        assert sync(cheated) == "counted"
        use(cheated, 6)
        assert sync(cheated) == "counted"
    report_in_the_end(shop, sold, machine)
    assert shop.uses(sold) == 11


def test_a_request_that_did_not_go_out_is_sent_again_at_once(
    shop: Shop, sold: Sold, machine: Licensing, customer: MakeCustomer
) -> None:
    use(machine, 7)
    with strangers() as between:

        def leave(_heard: Heard, reply: bytes) -> bytes:
            between.go_away()
            return reply

        between.answer = relay(shop.server.url, leave)
        with replace(customer(), api_url=between.url).process() as refused:
            assert sync(refused) == "unheard"
            with refused.state.session(sold.key) as session:
                assert session.batch() is None
    assert increments(shop) == 0
    assert sync(machine) == "counted"
    assert shop.uses(sold) == 7


@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_ends_around_its_report_leaves_it_to_be_settled(
    shop: Shop, sold: Sold, customer: MakeCustomer, machine: Licensing, after: bool
) -> None:
    use(machine, 7)
    increment = machine.server.increment

    def cut(*args: Any) -> None:
        if after:
            increment(*args)
        raise PowerCut

    machine.server.increment = cut  # type: ignore[method-assign,assignment]
    with pytest.raises(PowerCut):
        sync(machine)
    assert shop.uses(sold) == (7 if after else 0)
    next_process = customer().licensing()
    assert sync(next_process) == ("counted" if after else "in-doubt")
    report_in_the_end(shop, sold, next_process)
    assert (shop.uses(sold), increments(shop)) == (7, 1)


def test_what_is_not_due_asks_nobody(shop: Shop, sold: Sold, machine: Licensing) -> None:
    asked = len(shop.asked())
    assert sync_pages(sold.key, machine) == "nothing-due"
    use(machine, *[1] * 19)
    shop.clock.advance(BATCH_WAIT - timedelta(seconds=1))
    assert sync_pages(sold.key, machine) == "nothing-due"
    assert len(shop.asked()) == asked
    shop.clock.advance(timedelta(seconds=1))
    assert sync_pages(sold.key, machine) == "counted"
    assert shop.uses(sold) == 19
    use(machine, *[1] * 20)
    assert sync_pages(sold.key, machine) == "counted"
    assert (shop.uses(sold), increments(shop)) == (39, 2)


@pytest.mark.parametrize("plan", ["enterprise", "lifetime"])
def test_unlimited_plans_count_here_and_never_ask_the_server_to(
    shop: Shop, customer: MakeCustomer, plan: str
) -> None:
    sold, licensing = shop.sell(plan), customer().licensing()
    activate_licence(sold.key, licensing)
    asked = len(shop.asked())
    use(licensing, *[50] * 30)
    assert sync(licensing) == "counted"
    assert record(licensing).total == 1500
    assert len(shop.asked()) == asked
    assert shop.uses(sold) == 0


def test_one_report_is_bounded_and_one_large_analysis_is_one_report(
    shop: Shop, sold: Sold, machine: Licensing
) -> None:
    for pages in (300, 300, LARGEST_BATCH + 200, 100, 100):
        use(machine, pages)
        shop.clock.advance(timedelta(seconds=1))
    before = increments(shop)
    assert sync(machine) == "counted"
    assert shop.uses(sold) == 1500
    assert increments(shop) - before == 4


def test_a_licence_suspended_before_a_report_is_refused_at_once(
    shop: Shop, sold: Sold, machine: Licensing
) -> None:
    use(machine, 7)
    shop.act(sold, "suspend")
    assert sync(machine) == "denied"
    with pytest.raises(LicenceError) as refused:
        admit_pages(1, machine)
    assert refused.value.code == "licence-suspended"
    assert (record(machine).waiting, increments(shop)) == (7, 0)
    shop.act(sold, "reinstate")
    assert refresh_licence(sold.key, machine) == "counted"
    assert shop.uses(sold) == 7
    use(machine)


def test_a_licence_suspended_within_a_report_loses_no_page(
    shop: Shop, sold: Sold, machine: Licensing, customer: MakeCustomer
) -> None:
    use(machine, 7)

    def suspend(heard: Heard, reply: bytes) -> bytes:
        if heard.target.endswith(READ):
            shop.act(sold, "suspend")
        return reply

    with meddled(shop, customer(), suspend) as licensing:
        assert sync(licensing) == "denied"
        with licensing.state.session(sold.key) as session:
            assert session.batch() is None
    with pytest.raises(LicenceError, match="suspended"):
        admit_pages(1, machine)
    shop.act(sold, "reinstate")
    assert refresh_licence(sold.key, machine) == "counted"
    assert shop.uses(sold) == 7


def test_a_conflict_that_the_server_signed_is_tried_again(
    shop: Shop, sold: Sold, machine: Licensing, customer: MakeCustomer
) -> None:
    use(machine, 7)
    errors = json.dumps({"errors": [{"title": "Conflict", "detail": "stale"}]}).encode()
    ahead = relay(shop.server.url, lambda _heard, reply: reply)

    with strangers() as between:
        conflict = signed(409, errors, at=NOON)
        between.answer = lambda connection, heard: (
            conflict(connection, heard)
            if heard.target.endswith(INCREMENT)
            else ahead(connection, heard)
        )
        with replace(customer(), api_url=between.url).process() as licensing:
            assert sync(licensing) == "busy"
    assert sync(machine) == "counted"
    assert shop.uses(sold) == 7


def test_one_process_reports_while_the_others_find_it_busy(
    shop: Shop, sold: Sold, machine: Licensing, customer: MakeCustomer
) -> None:
    use(machine, 7)
    other = customer().licensing()
    with other.state.alone(0) as alone:
        assert alone
        asked = len(shop.asked())
        assert sync(machine) == "busy"
        assert len(shop.asked()) == asked
    assert sync(machine) == "counted"


def test_what_does_not_fit_waits_for_the_month_to_end_and_goes_uncounted_then(
    shop: Shop, sold: Sold, customer: MakeCustomer
) -> None:
    shop.change(sold, maxUses=10)
    first, second = customer("machine-1").licensing(), customer("machine-2").licensing()
    for licensing in (first, second):
        activate_licence(sold.key, licensing)
        use(licensing, *[1] * 8)  # Neither has heard of the other's.
    assert sync(first) == "counted"
    assert sync(second) == "no-room"
    assert (shop.uses(sold), record(second).waiting) == (10, 6)
    with pytest.raises(LicenceError) as refused:
        admit_pages(1, second)
    assert refused.value.code == "page-cap-reached"
    shop.clock.freeze(datetime(2026, 12, 25, 12, 0, 1, tzinfo=UTC))
    keygen_shop.renew(shop.server, sold.key)
    shop.change(sold, maxUses=10)
    for licensing in (first, second):
        refresh_licence(sold.key, licensing)
    shop.clock.advance(SETTLE_WAIT)
    use(second, 3)
    report_in_the_end(shop, sold, first, second)
    assert (record(first).uncounted, record(second).uncounted) == (0, 6)
    assert (shop.uses(sold), record(second).total) == (3, 11)
