"""From Stripe to Keygen: what customers do there, and the licence they have afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from d1_server import BridgedD1
from town import DISPUTED, Fuse, Town, open_town

from shimmy_sandbox.simulation.faults import Fault
from shimmy_store.domain.fulfilment import Alarm

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


# Hundreds of purchases: D1 has power cuts of its own, in test_d1_ledger.py. Faults of the other two
# are the same to every ledger.
_LONG_ON_D1 = {
    "test_a_power_cut_at_any_step_changes_nothing_in_the_end",
    "test_faults_on_either_side_only_delay",
}


@pytest.fixture(params=["file", "d1"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    with open_town(tmp_path / "ledger.sqlite") as opened:
        if request.param == "d1":
            every = os.environ.get("SHIMMY_TEST_D1") == "all"
            if not every and request.node.originalname in _LONG_ON_D1:
                pytest.skip("long on D1: SHIMMY_TEST_D1=all runs it")
            address = request.getfixturevalue("d1").create_database()
            opened.connect = lambda: BridgedD1(address)
        yield opened


def test_a_purchase_is_one_licence_and_one_mail_whatever_is_repeated(town: Town) -> None:
    bought = town.buy("startup", town.customer())
    for seed in range(3):
        assert town.work(seed=seed).waiting == 0
    licence = town.licence(bought.subscription)
    assert (licence.plan, licence.suspended) == ("startup", False)
    assert licence.expiry is not None
    assert licence.expiry - town.now() == timedelta(days=31 + 3)
    assert town.count_licences() == 1
    assert town.messages(bought.customer) == [f"licence/{licence.id}"]
    if town.connect is None:
        assert licence.key.encode() not in town.ledger.read_bytes(), "the key lies in no outbox"
    assert town.ask("take_stock").oldest_event is None


def test_a_plan_bought_once(town: Town) -> None:
    bought = town.buy("lifetime", town.customer())
    town.work()
    licence = town.licence(bought.payment_intent)
    assert (licence.plan, licence.expiry, licence.suspended) == ("lifetime", None, False)


def test_months_come_and_go(town: Town) -> None:
    bought = town.buy("developer", town.customer())
    town.work()
    first = town.licence(bought.subscription)
    town.pass_time(days=31, hours=2)
    town.work()
    second = town.licence(bought.subscription)
    assert second.key == first.key
    assert first.expiry is not None and second.expiry is not None
    assert second.expiry > first.expiry
    starts = [str(one.metadata["pages_period_start"]) for one in (first, second)]
    assert starts[0] < starts[1]
    town.sdk.v1.subscriptions.update(bought.subscription, {"cancel_at_period_end": True})
    town.work()
    ending = town.licence(bought.subscription)
    assert ending.expiry == second.expiry - timedelta(days=3)
    town.pass_time(days=32)
    town.work()
    assert town.licence(bought.subscription).suspended


def test_lifetime_is_there_when_the_month_of_a_cancelled_plan_ends(town: Town) -> None:
    """No event tells of that moment: the store looks by itself."""
    customer = town.customer()
    once = town.buy("lifetime", customer)
    town.pass_time(days=1)
    monthly = town.buy("startup", customer)
    town.work()
    assert town.licence(once.payment_intent).plan == "startup"
    town.sdk.v1.subscriptions.cancel(monthly.subscription)
    town.work()
    assert town.licence(once.payment_intent).plan == "startup", "its month is paid for"
    town.pass_time(days=32)
    assert town.ask("take_stock").oldest_event is None
    assert town.work(listen=False).settled == 1
    licence = town.licence(once.payment_intent)
    assert (licence.plan, licence.expiry, licence.suspended) == ("lifetime", None, False)


def test_money_that_goes_back_takes_access_with_it(town: Town) -> None:
    bought = town.buy("lifetime", town.customer())
    town.work()
    town.sdk.v1.refunds.create({"payment_intent": bought.payment_intent, "amount": 1000})
    town.work()
    assert not town.licence(bought.payment_intent).suspended
    (charge,) = town.sdk.v1.charges.list({"limit": 1}).data
    assert Alarm("partial-refund", f"{charge.id}/1000") in town.ask("open_alarms")
    town.sdk.v1.refunds.create({"payment_intent": bought.payment_intent})
    town.work()
    assert town.licence(bought.payment_intent).suspended


def test_a_dispute_suspends(town: Town) -> None:
    bought = town.buy("lifetime", town.customer(), DISPUTED)
    town.work()
    assert town.licence(bought.payment_intent).suspended
    (dispute,) = town.sdk.v1.disputes.list({"limit": 1}).data
    assert Alarm("dispute-open", dispute.id) in town.ask("open_alarms")


def test_a_second_subscription_takes_the_place_of_the_first(town: Town) -> None:
    customer = town.customer()
    first = town.buy("developer", customer)
    town.work()
    key = town.licence(first.subscription).key
    town.pass_time(days=2)
    second = town.buy("professional", customer)
    assert town.work().waiting == 0
    licence = town.licence(first.subscription)
    assert (licence.plan, licence.key, licence.suspended) == ("professional", key, False)
    assert town.sdk.v1.subscriptions.retrieve(first.subscription).status == "canceled"
    assert town.sdk.v1.subscriptions.retrieve(second.subscription).status == "active"
    assert Alarm("double-purchase", first.subscription) in town.ask("open_alarms")
    assert town.sdk.v1.customers.retrieve(customer).balance < -1000, "what was not used is credit"
    town.work(seed=1)
    assert town.count_licences() == 1


def test_a_price_that_was_superseded_goes_on_being_its_plan(town: Town) -> None:
    bought = town.buy("developer", town.customer())
    town.work()
    dearer = {
        "product": "developer",
        "currency": "usd",
        "unit_amount": 1500,
        "recurring": {"interval": "month"},
        "lookup_key": "developer",
        "transfer_lookup_key": True,
    }
    town.sdk.v1.prices.create(dearer)
    assert town.sdk.v1.prices.retrieve(town.prices["developer"]).lookup_key is None
    town.pass_time(days=31, hours=2)
    town.work()
    licence = town.licence(bought.subscription)
    assert (licence.plan, licence.suspended) == ("developer", False)
    assert licence.expiry is not None
    assert licence.expiry > town.now()


def test_lifetime_paid_twice_is_one_licence_and_an_alarm(town: Town) -> None:
    customer = town.customer()
    first = town.buy("lifetime", customer)
    town.pass_time(minutes=1)
    second = town.buy("lifetime", customer)
    town.work()
    assert not town.licence(first.payment_intent).suspended
    assert town.count_licences() == 1
    assert town.ask("open_alarms") == [Alarm("double-purchase", second.payment_intent)]


@pytest.mark.parametrize("side", ["payments", "keygen"])
@pytest.mark.parametrize("kind", ["status", "status-after", "no-reply", "no-request"])
def test_faults_on_either_side_only_delay(town: Town, side: str, kind: str) -> None:
    bought = town.buy("developer", town.customer())
    town.work(rounds=0)
    faults = getattr(town, side).controls.faults
    faults.add(Fault(kind, path="/v1/", times=3, status=503))  # type: ignore[arg-type]
    assert town.work(rounds=30, listen=False).waiting == 0
    licence = town.licence(bought.subscription)
    assert (licence.plan, licence.suspended, town.count_licences()) == ("developer", False, 1)


@pytest.mark.parametrize("after", [False, True])
def test_a_power_cut_at_any_step_changes_nothing_in_the_end(town: Town, after: bool) -> None:
    """The hardest case: a second subscription, so that something is cancelled on the way."""
    number, blew = 0, True
    while blew:
        number += 1
        customer = town.customer(f"{number}@example.com")
        first = town.buy("developer", customer)
        town.work()
        town.pass_time(days=1)
        second = town.buy("startup", customer)
        fuse = Fuse(number, after)
        town.work(fuse=fuse)
        blew = fuse.blown
        town.pass_time(minutes=3)  # A dead worker's lease runs out.
        assert town.work(listen=False, rounds=3).waiting == 0
        licence = town.licence(first.subscription)
        assert (licence.plan, licence.suspended) == ("startup", False)
        assert town.sdk.v1.subscriptions.retrieve(first.subscription).status == "canceled"
        assert town.sdk.v1.subscriptions.retrieve(second.subscription).status == "active"
        assert Alarm("double-purchase", first.subscription) in town.ask("open_alarms")
        mails = [one.partition("/")[0] for one in town.messages(customer)]
        assert mails == ["licence", "licence", "plan-changed"], "the second buyer has a key, too"
        assert town.count_licences() == number
    assert number > 8
