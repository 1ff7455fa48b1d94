"""Support finds customers by whatever they quote, and says what to do."""

from __future__ import annotations

import io
import json

import pytest
from bought_customers import buyer, settle
from operated_town import OperatedTown

from shimmy_ops.domain.customers.key_masks import mask_key

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_a_customer_is_found_by_everything_that_names_them(
    operated: OperatedTown,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada = buyer(operated, "developer", "Ada@example.com", machine="a" * 40)
    bob = buyer(operated, "lifetime", "bob@example.com")
    sdk = operated.town.sdk.v1
    (session,) = sdk.checkout.sessions.list({"customer": ada.customer}).data
    (subscription,) = sdk.subscriptions.list({"customer": ada.customer}).data
    groups = ada.key.split("-")
    quoted = f"{groups[0].lower()}…{groups[-2]} {groups[-1]}"
    for what in (
        "ada@EXAMPLE.com",
        ada.customer,
        session.id,
        subscription.id,
        ada.licence,
        quoted,
        f"*{groups[2]}*",
        mask_key(ada.key),
    ):
        found = operated.town.run(capsys, "support", "lookup", what, "--json")
        assert found.code == 0, found.err
        (named,) = json.loads(found.out)["customers"]
        assert named["customer"] == ada.customer, what
        assert ada.key not in found.out
    masked = operated.town.run(capsys, "support", "lookup", ada.customer, "--json")
    (one,) = json.loads(masked.out)["customers"]
    assert one["addresses"] == ["A***@example.com"]
    (licence,) = one["licences"]
    assert (licence["plan"], licence["access"], licence["machine_limit"]) == ("developer", True, 1)
    assert licence["machines"] == ["linux aaaaaaaa…"]
    assert [each["code"] for each in one["advice"]] == ["machines-full"]
    assert one["billing"]["subscriptions"][0]["status"] == "active"
    assert one["store"]["plan"] == "developer"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{bob.key}\n"))
    whole = operated.town.run(capsys, "support", "lookup", "-", "--show-address")
    assert whole.code == 0
    assert "bob@example.com" in whole.out
    assert "plan lifetime" in whole.out
    assert "[nothing-wrong]" in whole.out
    assert "licences read" in whole.err
    refused = operated.town.run(capsys, "support", "lookup", bob.key)
    assert refused.code == 1
    assert "[key-in-arguments]" in refused.err
    assert bob.key not in refused.out + refused.err
    unknown = operated.town.run(capsys, "support", "lookup", "nobody@example.com")
    assert (unknown.code, "[customer-unknown]" in unknown.err) == (1, True)
    # Whom the store is just settling by itself, nobody else settles.
    operated.store.town.keep_unheard()
    for charge in sdk.charges.list({"customer": bob.customer}).data:
        sdk.refunds.create({"charge": charge.id})
    healed = operated.town.run(capsys, "support", "lookup", bob.customer, "--heal")
    operated.store.town.let_hear()
    settle(operated, bob.customer)
    assert "[refunded]" in healed.out, healed.out + healed.err
    assert "settled now: settled\n" in healed.out


def test_a_mask_that_fits_two_licences_shows_both_and_a_lost_licence_is_healed(
    operated: OperatedTown, capsys: pytest.CaptureFixture[str]
) -> None:
    ada = buyer(operated, "developer", "ada@example.com")
    made = operated.town.admin.post(
        "licenses",
        json={
            "data": {
                "type": "licenses",
                "attributes": {"key": f"{ada.key[:13]}-FFFFFF-FFFFFF-FFFFFF-V3"},
                "relationships": {
                    "policy": {
                        "data": {
                            "type": "policies",
                            "id": operated.store.settings.policies["developer"],
                        }
                    }
                },
            }
        },
    )
    assert made.status_code == 201, made.text
    both = operated.town.run(capsys, "support", "lookup", f"{ada.key[:9]}…")
    assert both.code == 0
    assert "2 customers fit" in both.out
    assert "[licence-of-nobody]" in both.out
    assert ada.customer in both.out
    assert operated.town.admin.delete(f"licenses/{ada.licence}").status_code == 204
    lost = operated.town.run(capsys, "support", "lookup", ada.customer)
    assert "[paid-no-licence]" in lost.out
    healed = operated.town.run(capsys, "support", "lookup", ada.customer, "--heal")
    assert ada.licence in healed.out
    assert "[paid-no-licence]" not in healed.out
