"""The gate as customers meet it: in, out, and why."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from licence_world import MakeCustomer, Shop, Sold

from shimmy_sandbox.keygen import shop as keygen_shop
from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.domain.licence.metering import SETTLE_WAIT
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.server.status_codes import status_of
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import Admission, admit_pages
from shimmy_vision.use_cases.deactivate_machine import deactivate_machine
from shimmy_vision.use_cases.refresh_licence import refresh_licence
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

HOUR = timedelta(hours=1)
OUTAGES: list[dict[str, Any]] = [
    {"kind": "no-request"},
    {"kind": "no-reply"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "retry_after": 60},
    {"kind": "status", "status": 403},  # Unsigned: a proxy on the way, not the licence server.
    {"kind": "status", "status": 200},
]


def refusal(licensing: Licensing, count: int = 1) -> LicenceError:
    with pytest.raises(LicenceError) as refused:
        admit_pages(count, licensing)
    error = refused.value
    assert licensing.licensor.pricing_url in error.hint
    return error


def use(licensing: Licensing, count: int = 1) -> Admission:
    admission = admit_pages(count, licensing)
    settle_pages(admission, licensing, done=True)
    return admission


def codes(admission: Admission) -> set[str]:
    return {one.code for one in admission.granted.notices}


def take_offline(shop: Shop) -> None:
    shop.fault("no-request", times=-1)


def test_a_bought_key_lets_in_and_every_result_says_sandbox(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    proof = activate_licence(shop.sell("developer").key, licensing)
    assert (proof.facts.plan, proof.facts.max_uses) == ("developer", 2500)
    admission = admit_pages(1, licensing)
    assert admission.granted.plan == "developer"
    assert "licence-sandbox" in codes(admission)


def test_no_key_no_access_and_no_request(shop: Shop, customer: MakeCustomer) -> None:
    before = len(shop.asked())
    error = refusal(customer().licensing())
    assert (error.code, status_of(error)) == ("licence-missing", 401)
    assert "shimmy license activate KEY" in error.hint
    assert len(shop.asked()) == before


def test_a_key_from_the_environment_activates_itself_once(
    shop: Shop, customer: MakeCustomer
) -> None:
    container = customer(given_key=shop.sell("developer").key)
    admit_pages(1, container.licensing())
    asked = len(shop.asked())
    admit_pages(1, container.licensing())
    assert len(shop.asked()) == asked, "the second process should not have asked"
    assert container.licensing().state.kept_key() is None


def test_asking_goes_validate_activate_validate_check_out(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer(given_key=shop.sell("developer").key).licensing()
    before = len(shop.asked())
    admit_pages(1, licensing)
    assert shop.asked()[before:] == [
        "POST validate-key",
        "POST machines",
        "POST validate-key",
        "POST check-out",
    ]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda one: f"{one['kind']}-{one.get('status')}")
def test_an_outage_is_covered_for_a_day_and_no_longer(
    shop: Shop, customer: MakeCustomer, outage: dict[str, Any]
) -> None:
    licensing = customer().licensing()
    activate_licence(shop.sell("developer").key, licensing)
    shop.fault(times=-1, **outage)
    shop.clock.advance(23 * HOUR)
    assert "licence-offline" in codes(admit_pages(1, licensing))
    shop.clock.advance(HOUR)
    error = refusal(licensing)
    assert error.code == "licence-unconfirmed"
    assert "every 24 hours" in error.message
    shop.heal()
    shop.clock.advance(timedelta(seconds=11))
    assert "licence-offline" not in codes(admit_pages(1, licensing))


@pytest.mark.parametrize("hours", [2, 72])
def test_the_policy_sets_the_grace(shop: Shop, customer: MakeCustomer, hours: int) -> None:
    licensing = customer().licensing()
    sold = shop.sell("startup", metadata={"offline_grace_hours": hours})
    activate_licence(sold.key, licensing)
    take_offline(shop)
    shop.clock.advance(hours * HOUR - timedelta(minutes=1))
    admit_pages(1, licensing)
    shop.clock.advance(timedelta(minutes=1))
    assert refusal(licensing).code == "licence-unconfirmed"


def test_a_signed_no_ends_access_at_once_and_for_good(shop: Shop, customer: MakeCustomer) -> None:
    machine = customer()
    licensing = machine.licensing()
    sold = shop.sell("developer")
    activate_licence(sold.key, licensing)
    shop.act(sold, "suspend")
    admit_pages(1, licensing)  # Nothing has been heard yet, and the last word was a yes.
    with pytest.raises(LicenceError, match="suspended"):
        refresh_licence(sold.key, licensing)
    take_offline(shop)
    error = refusal(machine.licensing())
    assert (error.code, status_of(error)) == ("licence-suspended", 402)
    assert licensing.licensor.portal_url in error.hint


def test_a_suspension_is_noticed_within_the_hour_and_its_end_at_once(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    sold = shop.sell("developer")
    activate_licence(sold.key, licensing)
    shop.act(sold, "suspend")
    shop.clock.advance(HOUR)
    assert refusal(licensing).code == "licence-suspended"
    shop.act(sold, "reinstate")
    shop.clock.advance(timedelta(seconds=11))
    admit_pages(1, licensing)


def test_expiry_says_the_day(shop: Shop, customer: MakeCustomer) -> None:
    licensing = customer().licensing()
    end = shop.clock.now() + 2 * HOUR
    sold = shop.sell("developer", expiry=end)
    activate_licence(sold.key, licensing)
    take_offline(shop)
    shop.clock.advance(2 * HOUR)
    error = refusal(licensing)
    assert (error.code, status_of(error)) == ("licence-expired", 402)
    assert f"{end:%Y-%m-%d}" in error.message
    shop.heal()
    shop.clock.advance(timedelta(seconds=11))
    assert refusal(licensing).code == "licence-expired"


def test_the_machine_limit_names_the_machines_and_the_command(
    shop: Shop, customer: MakeCustomer
) -> None:
    sold = shop.sell("developer")
    activate_licence(sold.key, customer("office").licensing())
    laptop = customer("laptop").licensing()
    with pytest.raises(LicenceError) as refused:
        activate_licence(sold.key, laptop)
    error = refused.value
    assert (error.code, status_of(error)) == ("machine-limit-reached", 403)
    assert "1 machine" in error.message
    assert "name of office" in error.message
    command = error.hint.partition("shimmy license deactivate ")[2].split()[0]
    deactivate_machine(command, sold.key, laptop)
    activate_licence(sold.key, laptop)
    admit_pages(1, laptop)


def test_a_machine_removed_elsewhere_is_out_and_stays_out_until_activated(
    shop: Shop, customer: MakeCustomer
) -> None:
    sold = shop.sell("developer")
    office, laptop = customer("office").licensing(), customer("laptop").licensing()
    activate_licence(sold.key, office)
    with pytest.raises(LicenceError):
        activate_licence(sold.key, laptop)
    deactivate_machine("name of office", sold.key, laptop)
    shop.clock.advance(HOUR)
    error = refusal(office)
    assert error.code == "machine-not-activated"
    assert "shimmy license activate" in error.hint
    shop.clock.advance(HOUR)
    assert refusal(office).code == "machine-not-activated", "it must not take the place back"
    activate_licence(sold.key, office)
    admit_pages(1, office)


def test_deactivating_this_machine_forgets_the_key(shop: Shop, customer: MakeCustomer) -> None:
    sold = shop.sell("developer")
    licensing = customer().licensing()
    activate_licence(sold.key, licensing)
    use(licensing, 3)
    deactivate_machine(None, sold.key, licensing)
    assert shop.uses(sold) == 3
    assert refusal(licensing).code == "licence-missing"
    assert sold.key.encode() not in customer().state_file.read_bytes()


def test_a_key_of_another_product_is_told_apart(shop: Shop, customer: MakeCustomer) -> None:
    licensing = customer(given_key=_sell_other_product(shop).key).licensing()
    error = refusal(licensing)
    assert (error.code, status_of(error)) == ("licence-wrong-product", 403)


def _sell_other_product(shop: Shop) -> Sold:
    def make(kind: str, attributes: dict[str, Any], **related: tuple[str, str]) -> Any:
        relationships = {
            name: {"data": {"type": type_, "id": identifier}}
            for name, (type_, identifier) in related.items()
        }
        data = {"type": kind, "attributes": attributes, "relationships": relationships}
        reply = shop.admin.post(
            kind, json={"data": data}, headers={"Content-Type": "application/vnd.api+json"}
        )
        assert reply.status_code == 201, reply.text
        return reply.json()["data"]

    product = make("products", {"name": "Other"})["id"]
    settings = {"name": "Other", "authenticationStrategy": "MIXED", "strict": True}
    policy = make("policies", settings, product=("products", product))["id"]
    licence = make("licenses", {}, policy=("policies", policy))
    return Sold(licence["id"], licence["attributes"]["key"])


def test_a_plan_without_the_entitlement_is_told_apart(shop: Shop, customer: MakeCustomer) -> None:
    path = f"policies/{keygen_shop.policy_id('developer')}/entitlements"
    data = [{"type": "entitlements", "id": keygen_shop.entitlement_id("vision")}]
    reply = shop.admin.request(
        "DELETE", path, json={"data": data}, headers={"Content-Type": "application/vnd.api+json"}
    )
    assert reply.status_code == 204, reply.text
    licensing = customer(given_key=shop.sell("developer").key).licensing()
    assert refusal(licensing).code == "licence-lacks-entitlement"


def test_an_unknown_key_is_refused_and_not_kept(customer: MakeCustomer) -> None:
    licensing = customer().licensing()
    with pytest.raises(LicenceError) as refused:
        activate_licence("NO-SUCH-KEY", licensing)
    assert (refused.value.code, status_of(refused.value)) == ("licence-unknown", 401)
    assert licensing.state.kept_key() is None


def test_the_cap_warns_refuses_with_the_day_and_lifts_with_a_larger_plan(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    sold = shop.sell("developer")
    shop.change(sold, maxUses=100)
    activate_licence(sold.key, licensing)
    assert not {code for code in codes(use(licensing, 79)) if code.startswith("pages")}
    assert "pages-80-percent" in codes(use(licensing, 1))
    assert "pages-95-percent" in codes(use(licensing, 15))
    assert "pages-95-percent" in codes(use(licensing, 5))
    error = refusal(licensing)
    assert (error.code, status_of(error)) == ("page-cap-reached", 402)
    assert "100 of 100 pages" in error.message
    assert shop.attributes(sold)["metadata"]["pagesPeriodEnd"][:10] in error.message
    shop.change(sold, maxUses=200)
    shop.clock.advance(timedelta(seconds=11))
    use(licensing, 1)
    sync_pages(sold.key, licensing, force=True)
    assert shop.uses(sold) == 101


def test_pages_in_progress_count_against_the_cap(shop: Shop, customer: MakeCustomer) -> None:
    licensing = customer().licensing()
    sold = shop.sell("developer")
    shop.change(sold, maxUses=10)
    activate_licence(sold.key, licensing)
    running = admit_pages(8, licensing)
    assert "2 left, 3 needed" in refusal(licensing, 3).message
    settle_pages(running, licensing, done=False)
    use(licensing, 10)
    assert refusal(licensing).code == "page-cap-reached"


@pytest.mark.parametrize("reported", [False, True])
def test_pages_that_come_again_under_their_key_are_counted_once(
    shop: Shop, customer: MakeCustomer, reported: bool
) -> None:
    machine = customer()
    licensing = machine.licensing()
    sold = shop.sell("developer")
    shop.change(sold, maxUses=1)
    activate_licence(sold.key, licensing)
    first = admit_pages(1, licensing, "job/1")
    # The process died: what it had reserved is nobody's, and there is no other page.
    first = admit_pages(1, licensing, "job/1")
    settle_pages(first, licensing, done=True)
    if reported:
        assert sync_pages(sold.key, licensing, force=True) == "counted"
    for done in (True, False, True):
        settle_pages(admit_pages(1, machine.licensing(), "job/1"), licensing, done=done)
    assert refusal(licensing).code == "page-cap-reached"
    sync_pages(sold.key, licensing, force=True)
    with licensing.state.session(sold.key) as session:
        record = session.record
    assert (record.total, record.reserved, record.waiting) == (1, 0, 0)
    assert shop.uses(sold) == 1


def test_without_a_cap_pages_that_come_again_are_added_up_once(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    sold = shop.sell("enterprise")
    activate_licence(sold.key, licensing)
    for key in ("job/1", "job/1", "job/2", "", ""):
        settle_pages(admit_pages(1, licensing, key), licensing, done=True)
    with licensing.state.session(sold.key) as session:
        assert session.record.total == 4


def test_a_new_month_starts_afresh_also_while_the_server_is_away(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    sold = shop.sell("developer", metadata={"offline_grace_hours": 48})
    shop.change(sold, maxUses=10)
    activate_licence(sold.key, licensing)
    use(licensing, 10)
    shop.clock.set(shop.clock.now() + timedelta(days=29, hours=22))
    shop.clock.advance(_until_month_end(shop, sold) - 2 * HOUR)
    refresh_licence(sold.key, licensing)
    assert refusal(licensing).code == "page-cap-reached"
    take_offline(shop)
    shop.clock.advance(3 * HOUR)
    use(licensing, 6)
    assert refusal(licensing, 5).code == "page-cap-reached"
    shop.heal()
    keygen_shop.renew(shop.server, sold.key)
    assert refresh_licence(sold.key, licensing) == "in-doubt", "the reset may still be on its way"
    # Signed dates are whole seconds, cut off.
    shop.clock.advance(SETTLE_WAIT + timedelta(seconds=1))
    assert refresh_licence(sold.key, licensing) == "counted"
    assert shop.uses(sold) == 6


def _until_month_end(shop: Shop, sold: Sold) -> timedelta:
    end = datetime.fromisoformat(shop.attributes(sold)["metadata"]["pagesPeriodEnd"])
    return end - shop.clock.now()


def test_unlimited_plans_reserve_nothing_and_report_nothing(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    sold = shop.sell("lifetime")
    activate_licence(sold.key, licensing)
    for _ in range(30):
        use(licensing)
    assert sync_pages(sold.key, licensing, force=True) == "counted"
    assert "POST increment-usage" not in shop.asked()
    with licensing.state.session(sold.key) as session:
        assert (session.record.total, session.record.waiting) == (30, 0)


def test_a_clock_set_far_back_asks_to_confirm_and_deletes_nothing(
    shop: Shop, customer: MakeCustomer
) -> None:
    machine = customer()
    licensing = machine.licensing()
    activate_licence(shop.sell("developer").key, licensing)
    take_offline(shop)
    machine.skew = -timedelta(hours=3)
    admit_pages(1, licensing)
    machine.skew = -timedelta(hours=5)
    error = refusal(licensing)
    assert error.code == "clock-rolled-back"
    assert "shimmy license refresh" in error.hint
    machine.skew = timedelta(0)
    admit_pages(1, licensing)


def test_a_clock_that_ran_ahead_is_forgiven_once_the_server_confirms(
    shop: Shop, customer: MakeCustomer
) -> None:
    machine = customer()
    licensing = machine.licensing()
    activate_licence(shop.sell("developer").key, licensing)
    machine.skew = timedelta(hours=20)
    admit_pages(1, licensing)
    machine.skew = timedelta(0)
    admit_pages(1, licensing)
    take_offline(shop)
    admit_pages(1, licensing)


def test_a_wrong_clock_is_told_with_how_wrong_it_is(shop: Shop, customer: MakeCustomer) -> None:
    machine = customer(skew=timedelta(minutes=61))
    with pytest.raises(LicenceError) as refused:
        activate_licence(shop.sell("developer").key, machine.licensing())
    assert "61 minutes ahead of" in refused.value.message
    assert "Set date and time" in refused.value.hint


def test_another_build_accepts_nothing_of_this_one(shop: Shop, customer: MakeCustomer) -> None:
    sold = shop.sell("developer")
    machine = customer(given_key=sold.key)
    admit_pages(1, machine.licensing())
    machine.licensor = replace(PINNED, public_key="ab" * 32)
    error = refusal(machine.licensing())
    assert error.code == "licence-unconfirmed"


def test_a_copied_state_opens_no_second_machine(shop: Shop, customer: MakeCustomer) -> None:
    sold = shop.sell("developer")
    original, copy = customer("original"), customer("copy")
    with original.process() as licensing:
        activate_licence(sold.key, licensing)
    shutil.copytree(original.folder, copy.folder)
    before = len(shop.asked())
    error = refusal(copy.licensing())
    assert (error.code, status_of(error)) == ("machine-changed", 403)
    assert len(shop.asked()) == before, "it takes no place by itself"
    admit_pages(1, original.licensing())


def test_offline_by_wish_never_touches_the_network(shop: Shop, customer: MakeCustomer) -> None:
    machine = customer()
    sold = shop.sell("developer")
    activate_licence(sold.key, machine.licensing())
    machine.offline = True
    before = len(shop.asked())
    shop.clock.advance(2 * HOUR)
    admission = admit_pages(1, machine.licensing())
    assert "licence-offline" in codes(admission)
    assert len(shop.asked()) == before


def test_a_busy_server_is_not_asked_again_at_every_page(shop: Shop, customer: MakeCustomer) -> None:
    licensing = customer().licensing()
    activate_licence(shop.sell("developer").key, licensing)
    shop.fault("status", times=-1, status=503)
    shop.clock.advance(2 * HOUR)
    before = len(shop.asked())
    for _ in range(10):
        use(licensing)
    assert shop.asked()[before:].count("POST validate-key") == 1


def test_a_refused_second_key_does_not_take_the_place_of_the_first(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    good, bad = shop.sell("developer"), shop.sell("startup")
    activate_licence(good.key, licensing)
    shop.act(bad, "suspend")
    with pytest.raises(LicenceError, match="stays in use"):
        activate_licence(bad.key, licensing)
    assert admit_pages(1, licensing).granted.plan == "developer"


def test_a_machine_without_a_lasting_id_takes_no_place(shop: Shop, customer: MakeCustomer) -> None:
    """Each start would be another machine to the licence, until it is full."""
    sold = shop.sell("startup")
    machine = customer("passing", given_key=sold.key)
    machine.folder.parent.joinpath("passing").write_text("a file where the folder should be")
    passing = replace(machine.licensing(), own_id=False)
    error = refusal(passing)
    assert error.code == "machine-id-passing"
    assert "SHIMMY_MACHINE_ID" in error.hint
    assert admit_pages(1, machine.licensing()).granted.plan == "startup"


def test_nothing_is_activated_where_it_cannot_be_kept(shop: Shop, customer: MakeCustomer) -> None:
    sold = shop.sell("developer")
    machine = customer("diskless")
    machine.folder.parent.joinpath("diskless").write_text("a file where the folder should be")
    with pytest.raises(LicenceError) as refused:
        activate_licence(sold.key, machine.licensing())
    assert refused.value.code == "licence-not-kept"
    activate_licence(sold.key, customer("other").licensing())


def test_pages_of_a_copied_folder_are_reported_by_one_of_them(
    shop: Shop, customer: MakeCustomer
) -> None:
    sold = shop.sell("developer")
    machine = customer()
    with machine.process() as licensing:
        activate_licence(sold.key, licensing)
        use(licensing, 3)
    for number in range(3):
        copy = replace(machine, folder=machine.folder.with_name(f"backup-{number}"))
        shutil.copytree(machine.folder, copy.folder)
        with copy.process() as licensing:
            sync_pages(sold.key, licensing, force=True)
            use(licensing, 1)
            sync_pages(sold.key, licensing, force=True)
    with machine.process() as licensing:
        sync_pages(sold.key, licensing, force=True)
    assert shop.uses(sold) == 6


def test_another_process_that_hangs_over_the_licence_locks_nobody_out(
    shop: Shop, customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shimmy_vision.use_cases.admit_pages.OTHERS_WAIT", 0.2)
    machine = customer(given_key=shop.sell("developer").key)
    with machine.process() as hung, hung.state.alone(1) as alone:
        assert alone
        admit_pages(1, machine.licensing())
        shop.clock.advance(2 * HOUR)
        before = len(shop.asked())
        admit_pages(1, machine.licensing())
        assert len(shop.asked()) == before, "whoever may go on does not wait, nor ask twice"


def test_a_full_disk_refuses_nobody(shop: Shop, customer: MakeCustomer) -> None:
    machine, sold = customer(), shop.sell("developer")
    licensing = machine.licensing()
    activate_licence(sold.key, licensing)
    licensing.state._connection.execute("PRAGMA max_page_count=1")  # type: ignore[attr-defined]
    last = [use(licensing) for _ in range(40)][-1]
    assert not licensing.state.durable
    assert "licence-not-on-disk" in codes(last)
    state = licensing.state
    assert isinstance(state, SqliteLicenceState)
    assert state._left is not None
    state._left.again = 0.0
    assert "licence-not-on-disk" not in codes(use(licensing)), "there is room again"
    assert state.durable
    with machine.process() as other, other.state.session(sold.key) as session:
        assert session.record.total == 41, "and nothing is forgotten"


def test_a_revoked_licence_is_not_taken_for_a_typing_error(
    shop: Shop, customer: MakeCustomer
) -> None:
    licensing = customer().licensing()
    sold = shop.sell("developer")
    activate_licence(sold.key, licensing)
    assert shop.admin.delete(f"licenses/{sold.id}").status_code == 204
    shop.clock.advance(HOUR)
    assert refusal(licensing).code == "licence-revoked"


def test_the_command_that_frees_a_machine_never_names_this_one(
    shop: Shop, customer: MakeCustomer
) -> None:
    sold = shop.sell("startup")
    first, second = customer("first").licensing(), customer("second").licensing()
    activate_licence(sold.key, first)
    activate_licence(sold.key, second)
    shop.change(sold, maxMachines=1)
    shop.clock.advance(HOUR)
    error = refusal(first)
    assert error.code == "machine-limit-reached"
    assert "this machine" in error.message
    command = error.hint.partition("shimmy license deactivate ")[2].split()[0]
    deactivate_machine(command, sold.key, first)
    shop.clock.advance(timedelta(seconds=11))
    admit_pages(1, first)
