"""A run that is cut off at any request, done and never answered: the next run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from provisioning_town import ProvisioningTown, open_provisioning_town, shapes

from shimmy_ops.errors import OpsError
from shimmy_ops.use_cases.apply_provision import apply_provision
from shimmy_ops.wiring.accounts import open_accounts
from shimmy_sandbox.simulation.faults import Fault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


def counted(town: ProvisioningTown) -> dict[str, int]:
    return {
        "keygen": len(town.keygen.controls.seen),
        "stripe": len(town.stripe.controls.seen),
    }


def everything(town: ProvisioningTown) -> object:
    """Also the prices that are sold no more: none may have been made in vain."""
    prices = town.sdk.v1.prices.list({"limit": 100}).data
    sold = sorted((one.product, one.active, one.lookup_key or "") for one in prices)
    return shapes(town.look()), sold


@pytest.mark.parametrize("name", ["keygen", "stripe"])
def test_cut_off_at_any_request_and_run_again_it_ends_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_provisioning_town(tmp_path, monkeypatch) as town:
        town.apply()
        requests = counted(town)[name]
        wanted = everything(town)
    assert requests > 20
    for place in range(1, requests + 1):
        folder = tmp_path / str(place)
        folder.mkdir()
        with open_provisioning_town(folder, monkeypatch) as town:
            server = town.keygen if name == "keygen" else town.stripe
            town.cut(server, place)
            with pytest.raises(OpsError) as stopped:
                town.apply()
            assert stopped.value.retryable, stopped.value.code
            town.heal()
            town.apply()
            assert town.left().steps == (), place
            assert everything(town) == wanted, place


def test_a_request_that_stripe_answers_late_is_asked_again_under_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_provisioning_town(tmp_path, monkeypatch) as town:
        fault = Fault("no-reply", method="POST", path="/v1/webhook_endpoints")
        town.stripe.controls.faults.add(fault)
        desired = town.desired()
        with open_accounts(desired.profile, town.folder, retries=1) as accounts:
            apply_provision(desired, accounts, "fresh", lambda step: None)
        posts = [
            one
            for one in town.stripe.controls.seen
            if (one["method"], one["path"]) == ("POST", "/v1/webhook_endpoints")
        ]
        assert len(posts) == 2
        assert len(town.sdk.v1.webhook_endpoints.list({}).data) == 1
        assert town.left().steps == ()
