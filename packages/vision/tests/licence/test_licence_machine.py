"""A customer's machine against the licence server, through faults, restarts and clock moves.

Hypothesis chooses what happens; a small model knows what is true; after every step the promises
must hold: nobody unlicensed gets in, no customer in good standing is kept out, and the server's
count of pages is the number of analyses that succeeded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from licence_world import Customer, Shop, Sold, open_shop

from shimmy_vision.domain.licence.certificate import DEFAULT_GRACE
from shimmy_vision.domain.licence.contact import (
    CONFIRM_EVERY,
    RETRY_WHILE_GRANTED,
    RETRY_WHILE_REFUSED,
)
from shimmy_vision.domain.licence.metering import SETTLE_WAIT
from shimmy_vision.domain.licence.response_signature import DATE_TOLERANCE
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import Admission, admit_pages
from shimmy_vision.use_cases.read_standing import read_standing
from shimmy_vision.use_cases.refresh_licence import refresh_licence
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
CAP = 40
EXAMPLES = 120
PAUSE = RETRY_WHILE_REFUSED + timedelta(seconds=1)
DOWN = ("no-request", "status", "busy", "status-after", "no-reply")


class PowerCut(BaseException):
    """The process ends here."""


class LicenceJourney(RuleBasedStateMachine):
    """The system, and beside it what is true."""

    shop: Shop

    @initialize(minutes=st.sampled_from([0, 0, 3, -3]))
    def buy(self, minutes: int) -> None:
        shop = self.shop
        shop.heal()
        shop.clock.freeze(START)
        self.sold: Sold = shop.sell("developer")
        shop.change(self.sold, maxUses=CAP, expiry="2027-12-01T00:00:00.000Z")
        self.everything = ExitStack()
        folder = Path(self.everything.enter_context(tempfile.TemporaryDirectory()))
        self.customer = Customer(
            shop, folder, self.sold.id, skew=timedelta(minutes=minutes), opened=self.everything
        )
        self.process: Licensing = self.customer.licensing()
        activate_licence(self.sold.key, self.process)
        with self.process.state.session(self.sold.key) as session:
            self.certificate = session.record.certificate
        self.up = self.activated = True
        self.up_since = START - timedelta(hours=1)
        self.suspended = self.heard_no = False
        self.expiry = datetime(2027, 12, 1, tzinfo=UTC)
        self.confirmed, self.known_expiry = START, self.expiry
        self.set_back = timedelta(0)
        self.committed = self.stuck = 0

    def teardown(self) -> None:
        """In the end everything is well again, and every page is counted once."""
        if not hasattr(self, "everything"):
            return
        self._server_is_up(up=True)
        self.customer.skew = timedelta(0)
        if self.suspended:
            self.shop.act(self.sold, "reinstate")
        self.shop.change(self.sold, expiry="2028-12-01T00:00:00.000Z")
        activate_licence(self.sold.key, self.process)
        sync_pages(self.sold.key, self.process, force=True)
        self.shop.clock.advance(SETTLE_WAIT)
        outcome = sync_pages(self.sold.key, self.process, force=True)
        assert (outcome, self.shop.uses(self.sold)) == ("counted", self.committed)
        self.everything.close()

    # What happens in the world

    @rule(step=st.sampled_from([1, 10, 70, 600, 1400, 3000]))
    def time_passes(self, step: int) -> None:
        self.shop.clock.advance(timedelta(minutes=step))

    @rule(minutes=st.sampled_from([0, 0, 3, -3, 150, -150, -600, 1800]))
    def the_clock_is_set(self, minutes: int) -> None:
        skew = timedelta(minutes=minutes)
        self.set_back += max(self.customer.skew - skew, timedelta(0))
        self.customer.skew = skew

    @rule(fault=st.sampled_from(DOWN))
    def the_server_fails(self, fault: str) -> None:
        self._server_is_up(up=False)
        if fault == "busy":
            self.shop.fault("status", times=-1, status=429, retry_after=30)
        else:
            self.shop.fault(fault, times=-1, status=503)

    @rule()
    def the_server_works_again(self) -> None:
        self._server_is_up(up=True)

    @rule(minutes=st.sampled_from([30, 200, 1430, 1500, 2800]))
    def a_customer_travels(self, minutes: int) -> None:
        self.the_server_fails("no-request")
        self.time_passes(minutes)
        self.analyse(1, succeeds=True)

    @precondition(lambda self: self.up)
    @rule()
    def a_licence_ends_on_the_road(self) -> None:
        self.the_expiry_moves(3)
        self.refresh()
        self.a_customer_travels(200)

    @precondition(lambda self: self.up and not self.suspended)
    @rule(minutes=st.sampled_from([0, 70, 400]))
    def a_suspension_comes_and_goes(self, minutes: int) -> None:
        self.the_shop_acts("suspend")
        self.time_passes(minutes)
        if minutes:
            self.analyse(1, succeeds=True)
        else:
            self.refresh()
        self.the_shop_acts("reinstate")
        self.analyse(1, succeeds=True)

    @rule()
    def the_process_restarts(self) -> None:
        self.process = self.customer.licensing()

    @precondition(lambda self: self.up)
    @rule(name=st.sampled_from(["suspend", "reinstate"]))
    def the_shop_acts(self, name: str) -> None:
        if self.suspended == (name == "reinstate"):
            self.shop.act(self.sold, name)
            self.suspended = not self.suspended

    @precondition(lambda self: self.up)
    @rule(hours=st.sampled_from([-1, 3, 30, 9000]))
    def the_expiry_moves(self, hours: int) -> None:
        self.expiry = self.shop.clock.now() + timedelta(hours=hours)
        self.shop.change(self.sold, expiry=self.expiry.isoformat().replace("+00:00", "Z"))

    @precondition(lambda self: self.up and self.activated)
    @rule()
    def the_owner_removes_this_machine(self) -> None:
        path = f"machines/{self.customer.fingerprint}"
        assert self.shop.admin.delete(path).status_code == 204
        self.activated = False

    # What the customer does

    @rule(pages=st.integers(1, 6), succeeds=st.booleans())
    def analyse(self, pages: int, succeeds: bool) -> None:
        admission = self._admit(pages)
        if admission is not None:
            settle_pages(admission, self.process, done=succeeds)
            self.committed += pages if succeeds else 0
            assert self._uses() <= self.committed

    @rule(pages=st.integers(1, 3))
    def the_power_goes_while_analysing(self, pages: int) -> None:
        admission = self._admit(pages)
        if admission is not None:
            self.stuck += pages
            self.process = self.customer.licensing()

    @rule()
    def report_pages(self) -> None:
        sync_pages(self.sold.key, self.process, force=True)
        assert self._uses() <= self.committed

    @precondition(lambda self: self.up)
    @rule(fault=st.sampled_from(DOWN), minutes=st.sampled_from([0, 6]))
    def a_report_gets_no_answer(self, fault: str, minutes: int) -> None:
        self.analyse(2, succeeds=True)
        status = 429 if fault == "busy" else 503
        kind = "status" if fault == "busy" else fault
        self.shop.fault(kind, path="increment-usage", status=status)
        self.report_pages()
        self.shop.heal()
        self.time_passes(minutes)
        self.report_pages()

    @rule(after=st.booleans())
    def the_power_goes_while_reporting(self, after: bool) -> None:
        with _power_cut(self.process, after=after):
            sync_pages(self.sold.key, self.process, force=True)
        self.process = self.customer.licensing()
        assert self._uses() <= self.committed

    @rule()
    def refresh(self) -> None:
        self.shop.clock.advance(PAUSE)
        if not self._hearable():
            with pytest.raises(LicenceError):
                refresh_licence(self.sold.key, self.process)
        elif self._in_order():
            refresh_licence(self.sold.key, self.process)
            self.learn()
        else:
            with pytest.raises(LicenceError):
                refresh_licence(self.sold.key, self.process)
            assert self._refused_from_now_on()

    @precondition(lambda self: self.up)
    @rule()
    def activate(self) -> None:
        try:
            activate_licence(self.sold.key, self.process)
        except LicenceError:
            assert not (self._hearable() and self._good())
        # An expired licence may take its place; it only does not let in.
        path = f"machines/{self.customer.fingerprint}"
        self.activated = self.shop.admin.get(path).status_code == 200

    # What must hold

    def _admit(self, pages: int) -> Admission | None:
        self.shop.clock.advance(PAUSE)
        must_enter, must_not_enter = self._must_enter(), self._must_not_enter()
        try:
            admission = admit_pages(pages, self.process)
        except LicenceError as refused:
            self.learn()
            if refused.code == "page-cap-reached":
                assert self.committed + self.stuck + pages > CAP
                return None
            assert not must_enter, refused
            return None
        self.learn()
        assert not must_not_enter
        assert self.committed + pages <= CAP
        since = self.shop.clock.now() - self.confirmed
        assert since <= DEFAULT_GRACE + self.set_back + DATE_TOLERANCE
        return admission

    def _refused_from_now_on(self) -> bool:
        self.learn()
        return self.heard_no

    def _must_enter(self) -> bool:
        """In order and within reach, or confirmed less than the grace ago on an honest clock."""
        if self._hearable():
            return self._in_order()
        now, end = self.customer.now(), self.confirmed + DEFAULT_GRACE
        honest = self.set_back == timedelta(0) and abs(self.customer.skew) < DATE_TOLERANCE
        in_time = now < min(end, self.known_expiry) if not self.heard_no else False
        return honest and in_time and self.confirmed <= now

    def _must_not_enter(self) -> bool:
        """The server said no and cannot be heard to say yes, or says no now for all one knows."""
        if self.heard_no and not (self._hearable() and self._in_order()):
            return True
        if not self._hearable() and self.customer.now() >= self.known_expiry:
            return True
        now = self.shop.clock.now()
        stale = now - self.confirmed > CONFIRM_EVERY + DATE_TOLERANCE
        # After a failed attempt whoever may go on is not held up by another one for a while.
        tried = now - self.up_since < RETRY_WHILE_GRANTED + DATE_TOLERANCE
        return self._hearable() and not self._in_order() and stale and not tried

    def _good(self) -> bool:
        return not self.suspended and self.shop.clock.now() < self.expiry

    def _in_order(self) -> bool:
        return self._good() and self.activated

    def _hearable(self) -> bool:
        return self.up and abs(self.customer.skew) <= DATE_TOLERANCE

    @invariant()
    def learn(self) -> None:
        """What the machine has heard must have been true when it was said, so now."""
        if not hasattr(self, "everything"):
            return
        with self.process.state.session(self.sold.key) as session:
            now = self.customer.now()
            proof = read_standing(session, self.sold.key, self.process, now).evidence.proof
            denied = session.record.denial is not None
            certificate = session.record.certificate
        assert proof is not None
        if denied != self.heard_no:
            assert self._hearable()
            assert self._in_order() != denied
            self.heard_no = denied
        if certificate != self.certificate:
            self.certificate = certificate
            assert self._hearable()
            assert self._in_order()
            assert proof.issued <= self.shop.clock.now()
            self.confirmed, self.known_expiry = proof.issued, self.expiry
            self.set_back = timedelta(0)

    def _uses(self) -> int:
        waiting = self.shop.server.controls.faults.waiting()
        self.shop.heal()
        uses = self.shop.uses(self.sold)
        self.shop.server.controls.faults.add(*waiting)
        return uses

    def _server_is_up(self, *, up: bool) -> None:
        self.shop.heal()
        if up and not self.up:
            self.up_since = self.shop.clock.now()
        self.up = up


@contextmanager
def _power_cut(process: Licensing, *, after: bool) -> Iterator[None]:
    """The next increment ends the process before or after the server did it."""
    increment = process.server.increment

    def cut(key: str, licence: str, pages: int) -> None:
        if after:
            with suppress(LicenceError):
                increment(key, licence, pages)
        raise PowerCut

    process.server.increment = cut  # type: ignore[method-assign,assignment]
    with suppress(PowerCut):
        yield


def test_the_promises_hold_whatever_happens() -> None:
    with open_shop() as opened:

        class Journey(LicenceJourney):
            shop = opened

        # Without the phase that explains a failure: it runs everything again under a tracer.
        phases = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
        chosen = settings(max_examples=EXAMPLES, stateful_step_count=30, phases=phases)
        run_state_machine_as_test(Journey, settings=chosen)
