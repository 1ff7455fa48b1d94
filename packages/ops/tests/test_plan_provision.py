"""The decision: from any state of the accounts the steps lead to what is desired, then to none."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from account_model import EVENTS, PLANS, Model, applied, desired
from hypothesis import given
from hypothesis import strategies as st

from shimmy_ops.domain.contracts import parse_offer
from shimmy_ops.domain.drift import drift
from shimmy_ops.domain.provisioning import plan_provision
from shimmy_ops.domain.steps import BillingFound, Found, LicensingFound, PriceOf, Step
from shimmy_ops.domain.store_env import store_environment
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import ContractError, ProvisionError

FINAL = applied(desired()).found()


def test_from_nothing_everything_is_made_and_then_nothing_is_left() -> None:
    assert plan_provision(desired(), FINAL).steps == ()
    assert plan_provision(desired(), FINAL).notes == ()
    assert len(FINAL.billing.prices) == len(FINAL.licensing.policies) == len(PLANS["plans"])


KINDS = ("product", "price", "portal", "endpoint", "licence-product", "policy", "token")
FOREIGN: Mapping[str, dict[str, Any]] = {
    "product": {"id": "prod_theirs", "active": True, "name": "Mug", "metadata": {}},
    "price": {
        "id": "price_special", "product": "startup", "currency": "usd", "unit_amount": 5,
        "recurring": None, "active": True, "lookup_key": None, "metadata": {},
    },
    "portal": {
        "id": "bpc_theirs", "active": True, "is_default": True, "created": 0, "metadata": {},
        "features": {},
    },
    "endpoint": {
        "id": "we_theirs", "url": "https://elsewhere.example", "enabled_events": ["*"],
        "status": "enabled", "created": 0, "api_version": "2020-01-01", "metadata": {"shimmy": "x"},
    },
    "licence-product": {"id": "p", "name": "Theirs", "code": "theirs", "metadata": {}},
    "policy": {
        "id": "q", "product": "p", "metadata": {"plan": "startup"}, "entitlements": (),
        "name": "Startup",
    },
    "token": {"id": "t", "name": "somebody's", "created": 0},
}  # fmt: skip


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [leaf for name, below in value.items() for leaf in _leaves(below, (*path, name))]
    return [path]


def _set(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        document = document[name]
    document[path[-1]] = value


# Keys that the accounts themselves keep apart or that never change once they are made.
_FIXED = {"id", "created", "is_default", "product", "scheme", "entitlements", "api_version", "code"}


@st.composite
def accounts(draw: st.DrawFn) -> Model:
    """What was provisioned once, with anything gone, changed, or made by others."""
    model = Model(FINAL)
    for kind in KINDS:
        listed = model.lists[kind]
        fate = draw(st.sampled_from(["gone", "changed", "as it was"]))
        one = listed[draw(st.integers(0, len(listed) - 1))] if listed else {}
        if one and fate == "gone":
            listed.remove(one)
        elif one and fate == "changed":
            paths = [path for path in _leaves(one) if path[0] not in _FIXED]
            wrong = st.sampled_from([None, "other", 7, False])
            _set(one, draw(st.sampled_from(paths)), draw(wrong))
        if draw(st.booleans()):
            listed.append(copy.deepcopy(FOREIGN[kind]))
    if draw(st.booleans()):
        model.held.clear()
    for policy in model.lists["policy"]:
        if draw(st.booleans()) and policy["id"] != "q":
            policy["entitlements"] = ()
    products = {one["id"] for one in model.lists["licence-product"]}
    model.lists["policy"] = [one for one in model.lists["policy"] if one["product"] in products]
    return model


@given(accounts())
def test_from_any_state_the_steps_lead_to_what_is_desired(model: Model) -> None:
    before = model.found()
    after = applied(desired(), before)
    assert plan_provision(desired(), after.found()).steps == ()
    for kind in KINDS:
        theirs = FOREIGN[kind]
        was = [one for one in model.lists[kind] if one["id"] == theirs["id"]]
        assert [one for one in after.lists[kind] if one["id"] == theirs["id"]] == was


@given(accounts(), st.data())
def test_cut_off_anywhere_the_next_run_comes_to_the_same_end(model: Model, data: Any) -> None:
    steps = plan_provision(desired(), model.found()).steps
    for step in steps[: data.draw(st.integers(0, len(steps)))]:
        model.take(step)
    if data.draw(st.booleans()):
        model.held.clear()
    after = applied(desired(), model.found())
    assert plan_provision(desired(), after.found()).steps == ()
    ours = [one for one in after.lists["price"] if one["active"] and one["id"] != "price_special"]
    assert sorted(str(one["lookup_key"]) for one in ours) == sorted(
        plan["id"] for plan in PLANS["plans"]
    )


@given(accounts())
def test_deciding_twice_decides_the_same(model: Model) -> None:
    assert plan_provision(desired(), model.found()) == plan_provision(desired(), model.found())


def dearer(plan: str, **changes: Any) -> Desired:
    plans = copy.deepcopy(PLANS)
    next(one for one in plans["plans"] if one["id"] == plan).update(changes)
    return desired(plans)


def said(steps: tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(step.action, step.kind, step.key) for step in steps]


def test_an_amount_is_superseded_and_the_portal_follows_before_the_old_one_ends() -> None:
    plan = plan_provision(dearer("startup", unit_amount=8000), FINAL)
    assert said(plan.steps) == [
        ("create", "price", "startup"),
        ("change", "portal", "store"),
        ("retire", "price", "startup"),
    ]
    made = plan.steps[0]
    assert made.attributes["lookup_key"] == "startup" and made.attributes["unit_amount"] == 8000
    assert [(one.path, one.before, one.after) for one in made.changes] == [
        ("unit_amount", 7900, 8000)
    ]
    after = applied(dearer("startup", unit_amount=8000), FINAL)
    old = [one for one in after.lists["price"] if one["unit_amount"] == 7900]
    assert [(one["active"], one["lookup_key"]) for one in old] == [(False, None)]


def test_a_price_that_the_product_names_as_its_default_is_let_go_first() -> None:
    model = Model(FINAL)
    price = next(one for one in model.lists["price"] if one["lookup_key"] == "startup")
    product = next(one for one in model.lists["product"] if one["id"] == "startup")
    product["default_price"] = price["id"]
    steps = plan_provision(dearer("startup", unit_amount=8000), model.found()).steps
    assert said(steps)[-2:] == [("change", "product", "startup"), ("retire", "price", "startup")]
    assert steps[-2].attributes == {"default_price": PriceOf("startup")}


def test_a_key_at_somebody_elses_product_is_taken_and_their_price_goes_on() -> None:
    theirs = {**FOREIGN["price"], "product": "prod_theirs", "lookup_key": "startup"}
    empty = BillingFound(prices=(theirs,))
    model = applied(desired(), Found(empty, LicensingFound()))
    assert model.lists["price"][0] == {**theirs, "lookup_key": None}


@pytest.mark.parametrize("change", [{"machines": 6}, {"pages_per_month": None}, {"machines": None}])
def test_a_changed_plan_changes_its_policy_and_nothing_else(change: Any) -> None:
    steps = plan_provision(dearer("startup", **change), FINAL).steps
    assert said(steps) == [("change", "policy", "startup")]


def test_machines_and_floating_are_sent_together() -> None:
    (step,) = plan_provision(dearer("startup", machines=1), FINAL).steps
    assert step.attributes == {"floating": False, "maxMachines": 1}


def test_metadata_that_others_wrote_on_a_policy_stays() -> None:
    model = Model(FINAL)
    policy = next(one for one in model.lists["policy"] if one["metadata"]["plan"] == "startup")
    policy["metadata"] |= {"theirs": 1, "offlineGraceHours": 1}
    (step,) = plan_provision(desired(), model.found()).steps
    assert step.attributes["metadata"]["theirs"] == 1
    assert step.attributes["metadata"]["offlineGraceHours"] == 24


def test_of_two_marked_portals_the_default_stays() -> None:
    model = Model(FINAL)
    other = {**copy.deepcopy(model.lists["portal"][0]), "id": "bpc_2", "is_default": False}
    model.lists["portal"].insert(0, other)
    steps = plan_provision(desired(), model.found()).steps
    assert [(one.action, one.kind, one.id) for one in steps] == [("retire", "portal", "bpc_2")]
    assert plan_provision(desired(), applied(desired(), model.found()).found()).steps == ()


def test_an_endpoint_of_another_api_version_is_replaced() -> None:
    model = Model(FINAL)
    model.lists["endpoint"][0]["api_version"] = "2020-08-27"
    plan = plan_provision(desired(), model.found())
    assert said(plan.steps) == [("create", "endpoint", "store"), ("retire", "endpoint", "store")]
    assert "API version" in plan.notes[0]


def test_without_its_secret_an_endpoint_or_token_is_replaced_and_said_so() -> None:
    plan = plan_provision(desired(), dataclasses.replace(FINAL, held=frozenset()))
    assert said(plan.steps) == [
        ("create", "token", "shimmy-store"),
        ("retire", "token", "shimmy-store"),
        ("create", "endpoint", "store"),
        ("retire", "endpoint", "store"),
    ]
    assert len(plan.notes) == 2 and all("secret" in note for note in plan.notes)
    # Otherwise Stripe would answer what it answered when the lost one was made.
    assert plan.steps[2].besides == (FINAL.billing.endpoints[0]["id"],)


def test_what_is_in_the_way_is_said_and_left_alone() -> None:
    model = Model(FINAL)
    url = model.lists["endpoint"][0]["url"]
    model.lists["endpoint"].append({**FOREIGN["endpoint"], "url": url})
    startup = next(one for one in model.lists["policy"] if one["metadata"]["plan"] == "startup")
    startup["entitlements"] = ("vision", "extra")
    startup["scheme"] = "ED25519_SIGN"
    plan = plan_provision(desired(), model.found())
    assert plan.steps == ()
    assert ["we_theirs" in n or "extra" in n or "scheme" in n for n in plan.notes] == [True] * 3


def _second_policy(model: Model) -> None:
    model.lists["policy"].append({**model.lists["policy"][0], "id": "again"})


REFUSED: list[tuple[str, Callable[[Model], None], dict[str, str]]] = [
    ("policy-ambiguous", _second_policy, {}),
    (
        "licence-product-missing",
        lambda model: None,
        {"keygen_product": "06afcbe1-c09e-54ec-95cc-52f980e8a3ee"},
    ),
]


@pytest.mark.parametrize(("code", "harm", "settings"), REFUSED, ids=[one[0] for one in REFUSED])
def test_what_a_person_must_decide_is_refused(
    code: str, harm: Callable[[Model], None], settings: dict[str, str]
) -> None:
    model = Model(FINAL)
    harm(model)
    with pytest.raises(ProvisionError) as refused:
        plan_provision(desired(**settings), model.found())
    assert refused.value.code == code


def test_the_product_that_the_profile_names_is_adopted() -> None:
    theirs = {"id": "06afcbe1-c09e-54ec-95cc-52f980e8a3ee", "name": "Shimmy Vision", "code": None}
    found = Found(BillingFound(), LicensingFound(products=(theirs,)))
    step = plan_provision(desired(keygen_product=theirs["id"]), found).steps[0]
    assert (step.action, step.id) == ("change", theirs["id"])
    assert step.attributes == {"code": "shimmy-vision"}


def test_the_stores_environment_wants_everything_there() -> None:
    known = store_environment(desired(), FINAL)
    assert known.plain["SHIMMY_STORE_MODE"] == "test"
    assert known.plain["SHIMMY_STORE_KEYGEN_POLICIES"].count("=") == len(PLANS["plans"])
    kept = ("WEBHOOK_SECRETS", "KEYGEN_TOKEN", "OPERATOR_TOKEN", "METRICS_TOKEN", "SECRET")
    assert set(known.kept) == {f"SHIMMY_STORE_{name}" for name in kept}
    with pytest.raises(ProvisionError) as refused:
        store_environment(desired(), dataclasses.replace(FINAL, held=frozenset()))
    assert refused.value.code == "not-provisioned"


def test_the_stores_environment_has_the_key_that_the_account_signs_with() -> None:
    name = "SHIMMY_STORE_KEYGEN_PUBLIC_KEY"
    assert name not in store_environment(desired(), FINAL).plain
    licensing = dataclasses.replace(FINAL.licensing, public_key="ab" * 32)
    known = store_environment(desired(), dataclasses.replace(FINAL, licensing=licensing))
    assert known.plain[name] == "ab" * 32


@pytest.mark.parametrize(
    ("plans", "code"),
    [
        (None, "contracts-invalid"),
        ({"currency": "usd"}, "contracts-invalid"),
        ({"currency": "usd", "plans": []}, "contracts-ambiguous"),
        ({**PLANS, "plans": PLANS["plans"] * 2}, "contracts-ambiguous"),
        ({**PLANS, "plans": [{**PLANS["plans"][0], "interval": "week"}]}, "contracts-invalid"),
    ],
)
def test_contracts_of_another_shape_are_refused(plans: Any, code: str) -> None:
    with pytest.raises(ContractError) as refused:
        parse_offer(plans, EVENTS)
    assert refused.value.code == code


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=2), below),
    max_leaves=6,
)


@given(VALUES, st.randoms())
def test_what_says_the_same_in_another_order_is_no_drift(value: Any, chance: Any) -> None:
    assert drift(_shuffled(value, chance), value) == ()


def _shuffled(value: Any, chance: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shuffled(below, chance) for name, below in value.items()}
    if isinstance(value, list):
        return chance.sample([_shuffled(one, chance) for one in value], len(value))
    return value


def test_drift_names_the_path_and_both_sides() -> None:
    found = {"a": {"b": [1, 2], "theirs": 1}, "c": None}
    (one, two) = drift(found, {"a": {"b": [1]}, "c": {"d": 1}})
    assert (one.path, one.before, one.after) == ("a.b", [1, 2], [1])
    assert (two.path, two.before, two.after) == ("c", None, {"d": 1})
