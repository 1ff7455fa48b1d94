"""One customer's data is handed out whole and to nobody else, and is forgotten everywhere."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stripe
from bought_customers import Buyer, buyer, hear, licence_now, machines_now, settle
from operated_town import OperatedTown
from visiting import offer_of_merge

from shimmy_ops.adapters.accounts.stripe_customers import StripeCustomers
from shimmy_ops.domain.customers.erasing import EraseStep, PersonFound
from shimmy_ops.domain.customers.receipts import ErasureReceipt
from shimmy_ops.domain.customers.sought import SoughtAddress
from shimmy_ops.errors import BillingError
from shimmy_ops.use_cases.erase_customer import EraseOrder, erase_customer
from shimmy_ops.use_cases.find_candidates import Sources
from shimmy_ops.wiring.accounts import fresh_secret
from shimmy_ops.wiring.customers import erasure_records, open_sources, utc_now
from shimmy_sandbox.simulation.faults import Fault

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
Say = Callable[[str], None]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_an_export_has_everything_of_one_customer_and_nothing_of_another(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], say: Say, tmp_path: Path
) -> None:
    ada = buyer(operated, "developer", "ada@example.com", machine="adas-machine")
    bob = buyer(operated, "lifetime", "bob@example.com", machine="bobs-machine")
    out = tmp_path / "ada.json"
    say("ADA@example.com\n")
    ran = operated.town.run(capsys, "export-customer", "--email-stdin", "--out", str(out))
    assert ran.code == 0, ran.err
    assert out.stat().st_mode & 0o777 == 0o600
    text = out.read_text()
    document = json.loads(text)
    assert document["customer"] == ada.customer
    counts = {line["section"]: line["count"] for line in document["contents"]}
    stripe = f"stripe.{ada.customer}"
    for section in (
        "store.tables.customers",
        "store.tables.events",
        "store.tables.outbox",
        f"{stripe}.customer",
        f"{stripe}.subscriptions",
        f"{stripe}.invoices",
        f"{stripe}.charges",
        f"{stripe}.sessions",
        f"{stripe}.payment_methods",
        "keygen.licences",
        "keygen.machines",
    ):
        assert counts[section] >= 1, section
    assert all(line["read"] for line in document["contents"])
    assert document["keygen"]["licences"][0]["key"] == ada.key
    assert document["keygen"]["machines"][0]["fingerprint"] == "adas-machine"
    for foreign in (bob.email, bob.customer, bob.key, bob.licence, "bobs-machine"):
        assert foreign not in text
    again = operated.town.run(capsys, "export-customer", ada.customer, "--out", str(out))
    assert (again.code, "[file-exists]" in again.err) == (1, True)
    assert out.read_text() == text
    nobody = tmp_path / "nobody.json"
    none = operated.town.run(capsys, "export-customer", "cus_nobody", "--out", str(nobody))
    assert (none.code, "[customer-unknown]" in none.err) == (1, True)
    assert not nobody.exists()
    neither = operated.town.run(capsys, "export-customer", "--out", str(nobody))
    assert (neither.code, "[person-not-given]" in neither.err) == (1, True)


def test_an_address_of_two_customers_is_refused_with_their_ids(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = buyer(operated, "developer", "ada@example.com")
    second = buyer(operated, "startup", "ada@example.com")
    out = str(tmp_path / "ada.json")
    ran = operated.town.run(capsys, "export-customer", "ada@example.com", "--out", out)
    assert (ran.code, "[customer-ambiguous]" in ran.err) == (1, True)
    assert first.customer in ran.err
    assert second.customer in ran.err
    assert not Path(out).exists()


def test_erasing_asks_ends_everything_and_leaves_no_name(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], say: Say
) -> None:
    ada = buyer(operated, "developer", "ada@example.com", machine="adas-machine")
    bob = buyer(operated, "lifetime", "bob@example.com", machine="bobs-machine")
    noted = {"name": "Ada Lovelace", "metadata": {**_metadata(operated, ada), "phone": "0123"}}
    _patch(operated, ada, noted)
    running = operated.town.run(capsys, "erase-customer", ada.customer, "--yes")
    assert (running.code, "[customer-still-served]" in running.err) == (1, True)
    once = operated.town.run(capsys, "erase-customer", bob.customer, "--yes")
    assert (once.code, "[customer-still-served]" in once.err) == (1, True)
    order = ("erase-customer", ada.customer, "--end-subscriptions")
    say("cus_somebody\n")
    refused = operated.town.run(capsys, *order)
    assert (refused.code, "[erasure-not-confirmed]" in refused.err) == (1, True)
    assert "without a refund" in refused.out
    assert "tax" in refused.out
    assert not licence_now(operated, ada)["attributes"]["suspended"]
    say(f"{ada.customer}\n")
    done = operated.town.run(capsys, *order)
    assert done.code == 0, done.out + done.err
    _assert_forgotten(operated, ada)
    attributes = licence_now(operated, ada)["attributes"]
    assert (attributes["name"], attributes["metadata"].get("phone")) == (None, None)
    (path,) = (operated.folder / operated.profile().state_folder / "erasures").iterdir()
    receipt = json.loads(path.read_text())
    assert receipt["finished"]
    assert receipt["stays"]["charges"] == 1
    assert receipt["salt"] == receipt["address"] == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert "ada" not in path.read_text().casefold()
    # What Stripe tells afterwards (the subscription's end, the deletion) brings nothing back.
    hear(operated, ada.customer, "customer.deleted")
    assert operated.town.run(capsys, *order).code == 0
    _assert_forgotten(operated, ada)
    assert not licence_now(operated, bob)["attributes"]["suspended"]
    assert len(machines_now(operated, bob)) == 1
    looked = operated.town.run(capsys, "support", "lookup", ada.customer)
    assert "[erased]" in looked.out
    gone = operated.town.run(capsys, "erase-customer", "ada@example.com", "--yes")
    assert (gone.code, "[customer-unknown]" in gone.err) == (1, True)


def test_erasing_that_is_cut_off_after_every_step_ends_the_same(operated: OperatedTown) -> None:
    ada = buyer(operated, "startup", "ada@example.com", machine="adas-machine")
    _patch(operated, ada, {"name": "Ada Lovelace"})
    taken: list[str] = []
    # What Stripe tells meanwhile the store might do itself, and no step would be left for it.
    operated.store.town.keep_unheard()
    for _ in range(20):
        try:
            receipt = _erase(operated, ada.email, taken)
            break
        except _CutOffError:
            continue
    assert receipt.finished
    _assert_forgotten(operated, ada)
    # While the store remembers the customer it may give access back for what was paid.
    assert list(dict.fromkeys(one.split()[0] for one in taken)) == [
        "cancel",
        "suspend",
        "remove_machine",
        "describe",
        "delete_customer",
        "erase",
    ]
    operated.store.town.let_hear()
    settle(operated, ada.customer)
    _assert_forgotten(operated, ada)


def test_an_erasure_that_was_begun_ends_nothing_new_that_was_not_agreed_to(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    ada = buyer(operated, "developer", "ada@example.com")
    # The store does not hear yet that the subscription ended.
    operated.store.town.keep_unheard()
    with pytest.raises(_CutOffError):
        _erase(operated, ada.email, [])
    # What was ended is ended; the licence still gives access, and may be somebody's of now.
    again = operated.town.run(capsys, "erase-customer", ada.customer, "--yes")
    assert (again.code, "[customer-still-served]" in again.err) == (1, True)
    assert not licence_now(operated, ada)["attributes"]["suspended"]
    operated.store.town.let_hear()
    order = ("erase-customer", ada.customer, "--yes", "--end-subscriptions")
    assert operated.town.run(capsys, *order).code == 0
    _assert_forgotten(operated, ada)


def test_two_erasures_at_once_do_not_share_receipts(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    bob = buyer(operated, "lifetime", "bob@example.com")
    order = ("erase-customer", bob.customer, "--yes", "--end-subscriptions")
    with erasure_records(operated.profile(), operated.folder).alone():
        busy = operated.town.run(capsys, *order)
    assert (busy.code, "[another-at-work]" in busy.err) == (75, True)
    assert not licence_now(operated, bob)["attributes"]["suspended"]
    assert operated.town.run(capsys, *order).code == 0


def test_lists_that_stripe_gives_of_nobody_deleted_are_empty(operated: OperatedTown) -> None:
    class Refusing:
        def list(self, _asked: Any) -> Any:
            missing: Any = stripe.InvalidRequestError
            raise missing("Nobody", "customer", code="resource_missing", http_status=404)

    sdk = operated.town.sdk
    customer = sdk.v1.customers.create({"email": "ada@example.com"}).id
    refusing = Refusing()
    names = ("charges", "subscriptions", "invoices", "payment_intents", "refunds", "disputes")
    lists: dict[str, Any] = dict.fromkeys(names, refusing)
    checkout = SimpleNamespace(sessions=refusing)
    v1 = SimpleNamespace(customers=sdk.v1.customers, checkout=checkout, **lists)
    customers = StripeCustomers(SimpleNamespace(v1=v1))  # type: ignore[arg-type]
    with pytest.raises(BillingError):
        customers.read(customer)
    sdk.v1.customers.delete(customer)
    found = customers.read(customer)
    assert found is not None
    assert (found.deleted, found.subscriptions, found.charges) == (True, (), ())


def test_a_lifetime_licence_stays_ended_though_it_is_paid_for(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    bob = buyer(operated, "lifetime", "bob@example.com", machine="bobs-machine")
    order = ("erase-customer", bob.customer, "--yes", "--end-subscriptions")
    lost = Fault("no-reply", method="DELETE", path="machines")
    operated.town.keygen.controls.faults.add(lost)
    cut_off = operated.town.run(capsys, *order)
    assert (cut_off.code, "[licensing-unreachable]" in cut_off.err) == (75, True)
    assert operated.town.run(capsys, *order).code == 0
    # An event that comes late looks at the payment once more, and it is still paid.
    (charge,) = operated.town.sdk.v1.charges.list({"customer": bob.customer}).data
    operated.town.sdk.v1.refunds.create({"charge": charge.id, "amount": 100})
    hear(operated, bob.customer, "charge.refunded")
    _assert_forgotten(operated, bob)


def test_who_was_merged_is_erased_with_the_other_and_not_alone(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = buyer(operated, "developer", "ada@example.com")
    kept = buyer(operated, "startup", "ada@example.com")
    visitor = operated.store.visitor()
    visitor.open(offer_of_merge(operated.store, "ada@example.com"))
    visitor.submit("/merge")
    for one in (gone, kept):
        settle(operated, one.customer)
    seen = operated.town.run(capsys, "support", "lookup", gone.customer)
    assert "[merged]" in seen.out
    assert kept.customer in seen.out
    assert f"merged into this one: {gone.customer}" in (
        operated.town.run(capsys, "support", "lookup", kept.customer).out
    )
    alone = operated.town.run(capsys, "erase-customer", gone.customer, "--yes")
    assert (alone.code, "[customer-merged]" in alone.err) == (1, True)
    assert kept.customer in alone.err
    out = tmp_path / "both.json"
    assert (
        operated.town.run(capsys, "export-customer", "ada@example.com", "--out", str(out)).code == 0
    )
    document = json.loads(out.read_text())
    assert (document["customer"], document["merged"]) == (kept.customer, [gone.customer])
    assert {one["key"] for one in document["keygen"]["licences"]} == {gone.key, kept.key}
    order = ("erase-customer", "ada@example.com", "--yes", "--end-subscriptions")
    done = operated.town.run(capsys, *order)
    assert done.code == 0, done.err
    for one in (gone, kept):
        settle(operated, one.customer)
        _assert_forgotten(operated, one)


class _CutOffError(Exception):
    """The process ends here."""


class _Cut:
    """Every write is done and never heard of: the process ends after it."""

    _WRITES: dict[str, str] = {  # noqa: RUF012
        "end_subscription": "cancel",
        "suspend": "suspend",
        "remove_machine": "remove_machine",
        "describe": "describe",
        "delete_customer": "delete_customer",
        "erase": "erase",
    }

    def __init__(self, port: Any, taken: list[str]) -> None:
        self._port, self._taken = port, taken

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name not in self._WRITES:
            return method

        def cut(*args: Any) -> None:
            method(*args)
            self._taken.append(f"{self._WRITES[name]} {args[0]}")
            raise _CutOffError

        return cut


def _erase(operated: OperatedTown, email: str, taken: list[str]) -> ErasureReceipt:
    profile = operated.profile()

    def agreed(_: PersonFound) -> None:
        """Somebody did."""

    def told(_: EraseStep) -> None:
        """Nobody listens."""

    order = EraseOrder(
        SoughtAddress(email),
        profile.name,
        end_subscriptions=True,
        agreed=agreed,
        told=told,
        now=utc_now,
        fresh=fresh_secret,
    )
    with open_sources(profile, operated.folder) as found:
        cut = [_Cut(one, taken) for one in (found.desk, found.billing, found.licensing)]
        return erase_customer(order, Sources(*cut), erasure_records(profile, operated.folder))


def _assert_forgotten(operated: OperatedTown, one: Buyer) -> None:
    """The three sources, each asked directly."""
    customer = operated.town.sdk.v1.customers.retrieve(one.customer).to_dict()
    assert customer == {"id": one.customer, "object": "customer", "deleted": True}
    subscriptions = operated.town.sdk.v1.subscriptions.list(
        {"customer": one.customer, "status": "all"}
    ).data
    assert all(each.status == "canceled" for each in subscriptions)
    assert licence_now(operated, one)["attributes"]["suspended"] is True
    assert machines_now(operated, one) == []
    with closing(sqlite3.connect(operated.folder / "ledger.sqlite")) as ledger:
        tables = [
            row[0] for row in ledger.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            for row in ledger.execute(f"SELECT * FROM {table}"):  # noqa: S608
                assert one.email.casefold() not in repr(row).casefold(), (table, row)


def _metadata(operated: OperatedTown, one: Buyer) -> dict[str, Any]:
    return dict(licence_now(operated, one)["attributes"]["metadata"])


def _patch(operated: OperatedTown, one: Buyer, attributes: dict[str, Any]) -> None:
    data = {"type": "licenses", "attributes": attributes}
    reply = operated.town.admin.patch(f"licenses/{one.licence}", json={"data": data})
    assert reply.status_code == 200, reply.text
