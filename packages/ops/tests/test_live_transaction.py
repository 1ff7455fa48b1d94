"""The lowest plan is bought, used, paid back and ended; nothing is left."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bought_customers import until_delivered
from operated_town import OperatedTown
from store_server import eventually
from transaction_town import (
    DECLINED,
    MAILBOX,
    Cut,
    FusedReceipts,
    InProcessPayer,
    StandInMachine,
    journey,
    open_transaction_town,
)

from shimmy_ops.adapters.transaction.file_receipts import FileReceipts
from shimmy_ops.domain.transaction.receipt import STEPS, Receipt, StepRecord, check_receipt
from shimmy_ops.errors import BillingError, DeskError, TransactionError
from shimmy_ops.ports.transaction import Journey, Patience
from shimmy_ops.use_cases.advance_transaction import advance_transaction
from shimmy_ops.use_cases.begin_transaction import begin_transaction
from shimmy_ops.use_cases.find_open_transaction import find_open_transaction

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SHORT = Patience(payment=0.3, step=0.4, between=0.02)
KEPT = timedelta(hours=1)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedTown]:
    with (
        pytest.MonkeyPatch.context() as patch,
        open_transaction_town(tmp_path_factory.mktemp("town"), patch) as opened,
    ):
        yield opened


@dataclass
class Operator:
    """One transaction's: a folder of receipts, a payer, a machine."""

    town: OperatedTown
    name: str
    receipts: FileReceipts
    payer: InProcessPayer
    machine: StandInMachine

    def run(self, **changes: Any) -> Receipt:
        """A new one, to its end."""
        with self._way(changes) as way:
            return advance_transaction(begin_transaction(self.name, "sandbox", "0", way), way)

    def resume(self, **changes: Any) -> Receipt:
        with self._way(changes) as way:
            return advance_transaction(find_open_transaction(self.receipts), way)

    def abandon(self, **changes: Any) -> Receipt:
        left = replace(find_open_transaction(self.receipts), way="abandoned")
        self.receipts.save(left)
        return self.resume(**changes)

    def _way(self, changes: dict[str, Any]) -> Any:
        own = {"receipts": self.receipts, "payer": self.payer, "machine": self.machine}
        return journey(self.town, self.name, **{**own, **changes})

    def cut(self, blows: Callable[[Receipt], bool]) -> FusedReceipts:
        return FusedReceipts(self.receipts, blows)

    @property
    def kept(self) -> Receipt:
        return self.receipts.listed()[-1]


@pytest.fixture
def operator(town: OperatedTown, tmp_path: Path) -> Iterator[Operator]:
    yield _operator(town, tmp_path)
    # The town is shared: one that failed in the middle holds nothing back from the next one.
    town.store.town.let_hear()


def _operator(town: OperatedTown, folder: Path) -> Operator:
    name = f"t{datetime.now(UTC):%H%M%S%f}"
    keygen = town.town.keygen
    place = f"{keygen.url}/v1/accounts/{keygen.account}/"
    return Operator(
        town,
        name,
        FileReceipts(folder / "transactions", "sandbox"),
        InProcessPayer(f"{name}@shimmy.example"),
        StandInMachine(place, f"shimmy-ops-{name}"),
    )


def _assert_undone(town: OperatedTown, receipt: Receipt, *, licences: int = 1) -> None:
    """One charge and one refund ever, nothing that runs, no access, no machine, no alarm."""
    customer, sdk = receipt.text("paid", "customer"), town.town.sdk
    if receipt.way != "whole":
        # Whoever abandons waits for no webhook: those of the end are still under way.
        _until_quiet(town, customer)
    (charge,) = sdk.v1.charges.list({"customer": customer}).data
    (refund,) = sdk.v1.refunds.list({"charge": charge.id}).data
    assert (charge.amount, refund.amount, refund.status) == (1200, 1200, "succeeded")
    (subscription,) = sdk.v1.subscriptions.list({"customer": customer, "status": "all"}).data
    assert subscription.status == "canceled"
    found = _licences(town, customer)
    assert [one["attributes"]["suspended"] for one in found] == [True] * licences
    for one in found:
        assert not town.town.admin.get(f"licenses/{one['id']}/machines").json()["data"]
    with town.desk() as desk:
        for heard in desk.find_customers(customer=customer):
            assert {one["state"] for one in heard["events"]} <= {"done", "unknown"}
            assert {one["state"] for one in heard["messages"]} <= {"sent"}
            assert all(one["acknowledged"] for one in heard["alarms"])


def _licences(town: OperatedTown, customer: str) -> list[dict[str, Any]]:
    path = f"licenses?metadata[customer]={customer}&limit=100"
    return list(town.town.admin.get(path).json()["data"])


def test_it_is_bought_used_paid_back_and_nothing_is_left(operator: Operator) -> None:
    told: list[StepRecord] = []
    ended = operator.run(told=told.append)
    assert [one.id for one in ended.steps] == list(STEPS)
    assert {one.outcome for one in ended.steps} == {"held"}
    assert [one.id for one in told if one.outcome == "held"] == list(STEPS)
    assert (ended.outcome, ended.plan, ended.amount) == ("held", "developer", 1200)
    _assert_undone(operator.town, ended)
    mails = operator.town.store.mails(operator.payer.email)
    (key,) = [
        one["attributes"]["key"] for one in _licences(operator.town, ended.text("paid", "customer"))
    ]
    assert any(key in one["text"] for one in mails)
    assert ended.seconds_to_licence is not None and ended.seconds_to_licence < 10
    assert ended.seconds_to_mail is not None and ended.seconds_to_mail < 10
    assert check_receipt(ended, datetime.now(UTC), KEPT).whole
    assert operator.receipts.listed() == [ended]
    assert not operator.machine.folder


def test_a_receipt_tells_nobody_a_key_an_address_or_a_link(operator: Operator) -> None:
    ended = operator.run()
    (path,) = operator.receipts._folder.glob("*.json")
    text = path.read_text()
    assert path.name == f"{ended.name}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (licence,) = _licences(operator.town, ended.text("paid", "customer"))
    for private in (licence["attributes"]["key"], "@", "://", *operator.town.town.secrets()):
        assert private not in text
    assert ended.text("paid", "charge") in text


def test_the_command_uses_the_real_program_and_model_on_a_machine_of_its_own(
    town: OperatedTown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran_commands: list[list[str]] = []
    real = subprocess.run

    def watched(command: Any, **given: Any) -> Any:
        ran_commands.append(list(command))
        return real(command, **given)

    monkeypatch.setattr(subprocess, "run", watched)
    monkeypatch.setenv("SHIMMY_LICENSE_KEY", "of-somebody-else")
    # Threads that spin for one another are slow where other tests run beside these.
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    ran = town.town.run(capsys, "live-transaction", "--json")
    assert ran.code == 0, ran.err
    kept = json.loads(ran.out)
    analysed = next(one for one in kept["steps"] if one["id"] == "analysed")
    assert (analysed["facts"]["model"], analysed["facts"]["synthetic"]) == ("4.6", True)
    suspended = next(one for one in kept["steps"] if one["id"] == "suspended")
    assert suspended["facts"]["refusal"] == "licence-suspended"
    customer = next(one for one in kept["steps"] if one["id"] == "paid")["facts"]["customer"]
    (licence,) = _licences(town, customer)
    said = " ".join(word for command in ran_commands for word in command)
    for text in (said, ran.out, ran.err):
        assert licence["attributes"]["key"] not in text
    assert MAILBOX not in ran.out + ran.err
    folder = town.folder / "state" / "transactions"
    assert sorted(one.suffix for one in folder.iterdir()) == ["", ".json"]
    verified = town.town.run(capsys, "live-transaction", "verify", "--json")
    assert (verified.code, json.loads(verified.out)["whole"]) == (0, True)
    shown = town.town.run(capsys, "live-transaction", "status")
    assert (shown.code, len(shown.out.splitlines())) == (0, len(STEPS) + 3)
    late = town.town.run(capsys, "live-transaction", "verify", "--max-age-hours", "0.000001")
    assert (late.code, "it is older" in late.out) == (1, True)
    again = town.town.run(capsys, "live-transaction", "resume")
    assert (again.code, "transaction-none-open" in again.err) == (1, True)


@pytest.mark.parametrize("step", STEPS)
def test_cut_off_where_a_step_is_done_and_not_written_down_it_goes_on(
    operator: Operator, step: str
) -> None:
    def blows(receipt: Receipt) -> bool:
        return any(one.id == step and one.outcome == "held" for one in receipt.steps)

    with pytest.raises(Cut):
        operator.run(receipts=operator.cut(blows))
    kept = operator.kept.steps[-1]
    assert (kept.id, kept.outcome) == (step, "waiting")
    ended = operator.resume()
    assert {one.outcome for one in ended.steps} == {"held"}
    assert [one.attempts for one in ended.steps] == [1] * len(STEPS)
    assert check_receipt(ended, datetime.now(UTC), KEPT).whole
    _assert_undone(operator.town, ended)
    assert len(operator.payer.paid) == 1


def test_cut_off_after_every_single_line_it_still_ends(operator: Operator) -> None:
    def once() -> Callable[[Receipt], bool]:
        saved = iter([False])
        return lambda _: next(saved, True)

    with pytest.raises(Cut):
        operator.run(receipts=operator.cut(once()))
    cuts = 1
    while operator.kept.outcome == "open":
        with suppress(Cut):
            operator.resume(receipts=operator.cut(once()))
        cuts += 1
    assert cuts > 2 * len(STEPS)
    assert check_receipt(operator.kept, datetime.now(UTC), KEPT).whole
    _assert_undone(operator.town, operator.kept)
    assert len(operator.payer.paid) == 1


def test_a_second_run_is_refused_while_one_is_open(operator: Operator) -> None:
    with pytest.raises(Cut):
        operator.run(receipts=operator.cut(lambda one: one.fact("paid", "charge") is not None))
    with pytest.raises(TransactionError) as refused:
        operator.run()
    assert refused.value.code == "transaction-open"
    with (
        operator.receipts.alone(),
        pytest.raises(TransactionError) as locked,
        operator.receipts.alone(),
    ):
        raise AssertionError
    assert locked.value.code == "transaction-open"
    ended = operator.abandon()
    assert ended.outcome == "abandoned"
    _assert_undone(operator.town, ended)


def test_a_declined_card_fails_and_abandoning_closes_the_page(operator: Operator) -> None:
    operator.payer.card = DECLINED
    with pytest.raises(TransactionError) as refused:
        operator.run()
    assert refused.value.code == "transaction-step-failed"
    assert operator.kept.outcome == "open"
    ended = operator.abandon()
    assert (ended.outcome, ended.fact("paid", "paid")) == ("abandoned", False)
    session = ended.text("checkout-opened", "session")
    assert operator.town.town.sdk.v1.checkout.sessions.retrieve(session).status == "expired"
    assert not check_receipt(ended, datetime.now(UTC), KEPT).whole


def test_another_card_pays_after_one_was_declined(operator: Operator) -> None:
    operator.payer.card = DECLINED
    with pytest.raises(TransactionError):
        operator.run()
    operator.payer.card = "4242424242424242"
    ended = operator.resume()
    paid = ended.step("paid")
    assert paid is not None and (paid.outcome, paid.attempts) == ("held", 2)
    _assert_undone(operator.town, ended)


def test_nobody_who_pays_is_waited_for_and_may_still_pay_later(operator: Operator) -> None:
    class Nobody:
        def ask(self, _session: Any) -> None:
            return None

    with pytest.raises(TransactionError) as late:
        operator.run(payer=Nobody(), patience=SHORT)
    assert (late.value.code, late.value.retryable) == ("transaction-step-late", True)
    assert operator.resume().outcome == "held"


def test_a_webhook_that_never_comes_fails_clearly_and_abandoning_undoes_it(
    operator: Operator,
) -> None:
    town = operator.town.store.town
    town.keep_unheard()
    try:
        with pytest.raises(TransactionError, match="has not heard of the payment"):
            operator.run(patience=SHORT)
        ended = operator.abandon(patience=SHORT)
        assert ended.outcome == "abandoned"
        assert ended.fact("paid", "amount") == 1200
    finally:
        town.let_hear()
    customer = ended.text("paid", "customer")
    # What arrives late makes no licence that anybody could use.
    eventually(lambda: _licences(operator.town, customer))
    _assert_undone(operator.town, ended)


def _until_quiet(town: OperatedTown, customer: str) -> None:
    """Until everything was delivered, and the store has nothing left to do."""
    until_delivered(town)
    eventually(lambda: _idle(town, customer))


def _idle(town: OperatedTown, customer: str) -> bool:
    with town.desk() as desk:
        found = desk.find_customers(customer=customer)
    waits = [one for heard in found for one in heard["messages"] if one["state"] != "sent"]
    pending = [one for heard in found for one in heard["events"] if one["state"] == "pending"]
    return not waits and not pending


def test_a_licence_of_another_plan_is_found_out(operator: Operator) -> None:
    town = operator.town

    def plant(record: StepRecord) -> None:
        if (record.id, record.outcome) == ("webhook-delivered", "held"):
            customer = operator.kept.text("paid", "customer")
            # An event that comes later would put the licence right again.
            _until_quiet(town, customer)
            (licence,) = _licences(town, customer)
            policy = {"type": "policies", "id": town.store.settings.policies["professional"]}
            place = f"licenses/{licence['id']}/policy"
            headers = {"Content-Type": "application/vnd.api+json"}
            done = town.town.admin.put(place, json={"data": policy}, headers=headers)
            assert done.status_code == 200, done.text

    with pytest.raises(TransactionError, match="its policy is another plan's"):
        operator.run(told=plant)
    _assert_undone(town, operator.abandon())


def test_a_store_that_is_down_begins_nothing(operator: Operator) -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            raise DeskError("desk-unreachable", "The store was not reached.", retryable=True)

    with pytest.raises(DeskError):
        operator.run(desk=Down())
    with pytest.raises(TransactionError) as refused:
        operator.run(front=Down())
    assert refused.value.retryable
    assert [one.outcome for one in operator.receipts.listed()] == ["failed"]
    assert operator.run().outcome == "held"


def test_money_goes_back_whatever_else_fails(operator: Operator) -> None:
    operator.machine.broken = "analyse"
    with pytest.raises(TransactionError, match="does not analyse"):
        operator.run()
    real = operator.town.desk

    class Deaf:
        def __getattr__(self, name: str) -> Any:
            raise DeskError("desk-not-allowed", "The store does not let us.")

    operator.machine.broken = "deactivate"
    with pytest.raises(TransactionError, match="nothing-left"):
        operator.abandon(desk=Deaf())
    kept = operator.kept
    assert (kept.outcome, kept.fact("deactivated", "by")) == ("open", "admin")
    outcomes = {one.id: one.outcome for one in kept.steps}
    assert [outcomes[one] for one in ("refunded", "ended", "suspended")] == ["held"] * 3
    with real() as desk:
        assert operator.resume(desk=desk).outcome == "abandoned"
    _assert_undone(operator.town, operator.kept)


def test_a_suspension_that_no_webhook_brings_is_asked_for_and_said(operator: Operator) -> None:
    town = operator.town.store.town

    def hold(record: StepRecord) -> None:
        if (record.id, record.outcome) == ("deactivated", "held"):
            town.keep_unheard()
        if (record.id, record.outcome) == ("suspended", "held"):
            town.let_hear()

    def begins(step: str) -> Callable[[Receipt], bool]:
        return lambda receipt: any(one.id == step for one in receipt.steps)

    with pytest.raises(Cut):
        operator.run(told=hold, receipts=operator.cut(begins("suspended")))
    with pytest.raises(Cut):
        operator.resume(
            told=hold,
            receipts=operator.cut(begins("nothing-left")),
            patience=replace(SHORT, step=2),
        )
    ended = operator.resume()
    assert ended.fact("suspended", "needed_look") is True
    assert check_receipt(ended, datetime.now(UTC), KEPT).notes
    _assert_undone(operator.town, ended)


def test_only_its_own_alarms_are_acknowledged(operator: Operator, tmp_path: Path) -> None:
    town = operator.town
    other = _operator(town, tmp_path / "other")
    with pytest.raises(Cut):
        other.run(receipts=other.cut(lambda one: one.step("ended") is not None))
    with town.desk() as desk:
        desk.look(other.kept.text("paid", "customer"))

        def look(record: StepRecord) -> None:
            if (record.id, record.outcome) == ("refunded", "held"):
                desk.look(operator.kept.text("paid", "customer"))

        ended = operator.run(told=look)
        assert ended.fact("nothing-left", "acknowledged") == "reversed-still-billed"
        (left,) = desk.alarms()
        assert left["subject"] == other.kept.text("paid", "subscription")
        assert other.resume().outcome == "held"
        assert not desk.alarms()


def test_without_an_analysis_it_is_no_proof_unless_that_is_allowed(operator: Operator) -> None:
    ended = operator.run(analysis=False)
    now = datetime.now(UTC)
    assert check_receipt(ended, now, KEPT).problems == ("analysed is skipped",)
    assert check_receipt(ended, now, KEPT, allow_skipped=True).whole


def test_a_failed_refund_is_tried_under_another_key(operator: Operator) -> None:
    attempts: list[int] = []

    class Refusing:
        def __init__(self, way: Any) -> None:
            self._way = way

        def __getattr__(self, name: str) -> Any:
            return getattr(self._way, name)

        def refund(self, charge: str, attempt: int) -> None:
            attempts.append(attempt)
            if attempt == 1:
                raise BillingError("billing-refused", "Stripe refuses.")
            self._way.refund(charge, attempt)

    way: Journey
    with journey(operator.town, operator.name) as way, pytest.raises(TransactionError):
        operator.run(till=Refusing(way.till))
    with journey(operator.town, operator.name) as way:
        ended = operator.resume(till=Refusing(way.till))
    assert attempts == [1, 2]
    _assert_undone(operator.town, ended)


def test_abandoning_without_stripe_calls_nothing_undone(operator: Operator) -> None:
    with pytest.raises(Cut):
        operator.run(receipts=operator.cut(lambda one: one.fact("paid", "charge") is not None))

    class Unreachable:
        def __getattr__(self, name: str) -> Any:
            raise BillingError("billing-unreachable", "Stripe was not reached.", retryable=True)

    with pytest.raises(TransactionError, match="paid") as late:
        operator.abandon(till=Unreachable(), patience=SHORT)
    assert late.value.retryable
    assert [one.id for one in operator.kept.steps if one.outcome == "held"] == ["checkout-opened"]
    assert operator.resume().outcome == "abandoned"
    _assert_undone(operator.town, operator.kept)


@pytest.mark.parametrize("cut", ["activated", "ended"])
def test_months_that_were_billed_meanwhile_go_back_too(operator: Operator, cut: str) -> None:
    """Cut off before the refund, or between it and the end; and forgotten for a month."""
    with pytest.raises(Cut):
        operator.run(receipts=operator.cut(lambda one: one.step(cut) is not None))  # type: ignore[arg-type]
    customer, stripe = operator.kept.text("paid", "customer"), operator.town.town.sdk.v1
    stand = operator.town.store.town
    stand.control("clock", {"advance_seconds": 32 * 86400})
    try:
        stand.control("tick")
        stand.control("tick")
        assert [one.paid for one in stripe.charges.list({"customer": customer})] == [True, True]
        with suppress(TransactionError):
            # The licence ends when the second month is back.
            operator.abandon(patience=SHORT)
        ended = operator.kept if operator.kept.outcome == "abandoned" else operator.resume()
    finally:
        stand.control("clock", {"reset": True})
    assert ended.outcome == "abandoned"
    for charge in stripe.charges.list({"customer": customer}):
        assert (charge.amount, charge.amount_refunded) == (1200, 1200)
    assert [one["attributes"]["suspended"] for one in _licences(operator.town, customer)] == [True]


def test_while_a_refund_is_under_way_nothing_is_billed(operator: Operator) -> None:
    """A new account's balance does not cover it at once: then Stripe takes its time."""
    operator.payer.card = "4000000000007726"
    # All before the refund takes as long as it takes.
    with pytest.raises(Cut):
        operator.run(receipts=operator.cut(lambda one: one.step("refunded") is not None))
    with pytest.raises(TransactionError, match="under way") as late:
        operator.resume(patience=SHORT)
    assert late.value.retryable
    kept, stripe = operator.kept, operator.town.town.sdk.v1
    assert stripe.subscriptions.retrieve(kept.text("paid", "subscription")).status == "canceled"
    stand = operator.town.store.town
    stand.control("clock", {"advance_seconds": 7 * 86400})
    try:
        stand.control("tick")
        assert operator.resume().outcome == "held"
    finally:
        stand.control("clock", {"reset": True})
    _assert_undone(operator.town, operator.kept)
