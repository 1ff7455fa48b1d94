"""Who may do what: keys, tokens, products, nobody; and credentials that are wrong."""

from __future__ import annotations

import base64
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

LICENCE = "licenses/{licence}"
POLICY_DATA = {"type": "policies", "id": "{policy}"}
# What a licence may ask with its key (or token), and what it hears.
BY_KEY = [
    ("GET", "me", {}, 200),
    ("GET", LICENCE, {}, 200),
    ("GET", "licenses/{key}", {}, 200),
    ("GET", f"{LICENCE}/actions/validate", {}, 200),
    ("POST", f"{LICENCE}/actions/validate", {}, 200),
    ("POST", f"{LICENCE}/actions/increment-usage", {}, 200),
    ("POST", f"{LICENCE}/actions/check-out", {}, 200),
    ("GET", f"{LICENCE}/actions/check-out", {}, 200),
    ("GET", f"{LICENCE}/entitlements", {}, 200),
    ("GET", f"{LICENCE}/machines", {}, 200),
    ("GET", "machines", {}, 200),
    ("GET", "machines/{machine}", {}, 200),
    ("GET", "machines/{machine}/license", {}, 200),
    ("POST", "machines/{machine}/actions/ping", {}, 200),
    ("POST", "machines/{machine}/actions/check-out", {}, 200),
    ("GET", "entitlements", {}, 200),
    ("GET", "licenses", {}, 403),
    ("POST", "licenses", {"data": {"type": "licenses"}}, 403),
    ("PATCH", LICENCE, {"data": {"type": "licenses", "attributes": {"name": "x"}}}, 403),
    ("DELETE", LICENCE, {}, 403),
    ("POST", f"{LICENCE}/actions/decrement-usage", {}, 403),
    ("POST", f"{LICENCE}/actions/reset-usage", {}, 403),
    ("POST", f"{LICENCE}/actions/suspend", {}, 403),
    ("POST", f"{LICENCE}/actions/reinstate", {}, 403),
    ("POST", f"{LICENCE}/actions/renew", {}, 403),
    ("DELETE", f"{LICENCE}/actions/revoke", {}, 403),
    ("PUT", f"{LICENCE}/policy", {"data": POLICY_DATA}, 403),
    ("PUT", f"{LICENCE}/owner", {"data": None}, 403),
    ("GET", f"{LICENCE}/policy", {}, 403),
    ("GET", f"{LICENCE}/owner", {}, 403),
    ("GET", f"{LICENCE}/product", {}, 403),
    ("GET", f"{LICENCE}/tokens", {}, 403),
    ("POST", f"{LICENCE}/tokens", {}, 403),
    ("POST", "machines/{machine}/actions/reset-heartbeat", {}, 403),
    ("GET", "policies", {}, 403),
    ("GET", "policies/{policy}", {}, 403),
    ("GET", "products", {}, 403),
    ("GET", "users", {}, 403),
    ("GET", "", {}, 403),
    ("POST", "entitlements", {"data": {"type": "entitlements"}}, 403),
    ("POST", "policies/{policy}/entitlements", {"data": []}, 403),
    ("GET", "licenses/{other}", {}, 404),
    ("POST", "licenses/{other}/actions/suspend", {}, 404),
    ("GET", "machines/{others_machine}", {}, 404),
    ("DELETE", "machines/{others_machine}", {}, 404),
    ("POST", "machines/{others_machine}/actions/check-out", {}, 404),
]


def world(office: Any) -> dict[str, str]:
    """Two licences of one policy with a machine each."""
    policy = office.policy(floating=True)
    licence, other = office.licence(policy), office.licence(policy)
    return {
        "policy": policy,
        "licence": licence["id"],
        "key": licence["attributes"]["key"],
        "other": other["id"],
        "machine": office.activate(licence, "mine").json()["data"]["id"],
        "others_machine": office.activate(other, "theirs").json()["data"]["id"],
    }


def filled(document: Any, names: dict[str, str]) -> Any:
    if isinstance(document, dict):
        return {name: filled(value, names) for name, value in document.items()}
    return document.format(**names) if isinstance(document, str) else document


@pytest.mark.parametrize("means", ["key", "token", "basic"])
def test_what_a_licence_may_do(office: Any, means: str) -> None:
    names = world(office)
    if means == "token":
        path = f"licenses/{names['licence']}/tokens"
        made = office.ask("POST", path, "admin").json()["data"]["attributes"]
        assert made["kind"] == "activation-token"
        bearer = f"Bearer {made['token']}"
    elif means == "basic":
        said = base64.b64encode(f"license:{names['key']}".encode()).decode()
        bearer = f"Basic {said}"
    else:
        bearer = f"License {names['key']}"
    heard, expected = {}, {}
    for method, path, sent, status in BY_KEY:
        reply = office.ask(method, path.format(**names), bearer, **filled(sent, names))
        heard[method, path] = reply.status_code
        expected[method, path] = status
    assert heard == expected


def test_nobody_may_do_nothing_but_validate(office: Any, codes: Any) -> None:
    names = world(office)
    for method, path, sent, _ in BY_KEY:
        reply = office.ask(method, path.format(**names), **filled(sent, names))
        assert (reply.status_code, codes(reply)) == (401, [("TOKEN_MISSING", None)]), path
        assert reply.headers["www-authenticate"] == 'Bearer realm="keygen"'
    assert office.ask(
        "POST", "licenses/actions/validate-key", meta={"key": names["key"]}
    ).is_success


def test_a_product_sees_its_own_and_no_more(office: Any) -> None:
    names, product = world(office), office.product()
    token = office.ask("POST", f"products/{product}/tokens", "admin").json()["data"]
    bearer = f"Bearer {token['attributes']['token']}"
    office.made.clear()
    stranger = office.licence()
    listed = office.ask("GET", "licenses", bearer).json()["data"]
    assert {one["id"] for one in listed} == {names["licence"], names["other"]}
    assert len(office.ask("GET", "licenses", "admin").json()["data"]) == 3
    for path, status in (
        (f"licenses/{names['licence']}/actions/suspend", 200),
        (f"licenses/{names['licence']}/actions/reset-usage", 200),
        (f"licenses/{stranger['id']}/actions/suspend", 404),
        ("entitlements", 403),
        ("products", 403),
        (f"products/{product}/tokens", 403),
    ):
        assert office.ask("POST", path, bearer, data={}).status_code == status, path
    policy = stranger["relationships"]["policy"]["data"]["id"]
    related = {"policy": ("policies", policy)}
    data = {"type": "licenses", "relationships": office.relations(related)}
    assert office.ask("POST", "licenses", bearer, data=data).status_code == 403
    assert office.ask("GET", f"policies/{policy}", bearer).status_code == 404
    me = office.ask("GET", "me", bearer).json()
    assert (me["data"]["id"], me["included"][0]["id"]) == (product, token["id"])
    assert office.ask("DELETE", f"tokens/{token['id']}", "admin").status_code == 204
    assert office.ask("GET", "me", bearer).status_code == 401


def said(office: Any, codes: Any, authorization: str) -> tuple[int, str]:
    reply = office.ask("GET", "me", authorization)
    return reply.status_code, codes(reply)[0][0]


def test_wrong_credentials(office: Any, codes: Any) -> None:
    assert said(office, codes, "License nobody has this") == (401, "LICENSE_INVALID")
    assert said(office, codes, "Bearer nobody-has-this") == (401, "TOKEN_INVALID")
    assert said(office, codes, "Bearer 56e72fd8-1f0a-5437-bf22-1cebce5340eb") == (
        401,
        "TOKEN_FORMAT_INVALID",
    )
    assert said(office, codes, "Basic %%%") == (401, "TOKEN_INVALID")
    assert said(office, codes, "Digest x") == (401, "TOKEN_MISSING")


def test_a_key_is_no_good_while_suspended_but_a_token_is(office: Any, codes: Any) -> None:
    licence = office.licence()
    bearer = f"License {licence['attributes']['key']}"
    made = office.ask("POST", f"licenses/{licence['id']}/tokens", "admin").json()["data"]
    office.ask("POST", f"licenses/{licence['id']}/actions/suspend", "admin")
    assert said(office, codes, bearer) == (403, "LICENSE_SUSPENDED")
    meta = {"key": licence["attributes"]["key"]}
    refused = office.ask("POST", "licenses/actions/validate-key", bearer, meta=meta)
    assert (refused.status_code, codes(refused)[0][0]) == (403, "LICENSE_SUSPENDED")
    token = made["attributes"]["token"]
    assert office.ask("GET", "me", f"Bearer {token}").status_code == 200


def test_expiry_and_strategies_close_doors(office: Any, codes: Any) -> None:
    past = "2020-01-01T00:00:00.000Z"
    revoked = office.licence(office.policy(expirationStrategy="REVOKE_ACCESS"), expiry=past)
    bearer = f"License {revoked['attributes']['key']}"
    assert said(office, codes, bearer) == (403, "LICENSE_EXPIRED")
    restricted = office.licence(expiry=past)
    assert office.ask("GET", "me", f"License {restricted['attributes']['key']}").is_success
    by_token = office.licence(office.policy(authenticationStrategy="TOKEN"))
    bearer = f"License {by_token['attributes']['key']}"
    assert said(office, codes, bearer) == (403, "LICENSE_NOT_ALLOWED")
    by_key = office.licence(office.policy(authenticationStrategy="LICENSE"))
    made = office.ask("POST", f"licenses/{by_key['id']}/tokens", "admin").json()["data"]
    bearer = f"Bearer {made['attributes']['token']}"
    assert said(office, codes, bearer) == (403, "TOKEN_NOT_ALLOWED")


def test_tokens_expire(office: Any, codes: Any) -> None:
    licence, clock = office.licence(), office.server.controls.clock
    clock.freeze(datetime(2030, 1, 1, tzinfo=UTC))
    data = {"type": "tokens", "attributes": {"expiry": "2030-01-01T01:00:00Z", "name": "short"}}
    path = f"licenses/{licence['id']}/tokens"
    made = office.ask("POST", path, "admin", data=data).json()["data"]["attributes"]
    assert office.ask("GET", "me", f"Bearer {made['token']}").is_success
    clock.advance(timedelta(hours=2))
    assert said(office, codes, f"Bearer {made['token']}") == (401, "TOKEN_EXPIRED")


@pytest.mark.parametrize("word", ["admin", "prod", "activ", "env", "user"])
def test_real_keygen_tokens_are_refused_loudly(
    office: Any, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = f"{word}-{'0123456789abcdef' * 4}v3"
    with caplog.at_level(logging.WARNING):
        reply = office.ask("GET", "me", f"Bearer {token}")
    problem = reply.json()["errors"][0]
    assert (reply.status_code, problem["code"]) == (401, "TOKEN_INVALID")
    assert "THIS IS A SANDBOX, NOT KEYGEN" in problem["detail"]
    assert "THIS IS A SANDBOX, NOT KEYGEN" in caplog.text
    assert token not in reply.text + caplog.text


def test_a_licence_with_a_key_cannot_ask_about_another(office: Any) -> None:
    one, other = office.licence(), office.licence()
    bearer = f"License {one['attributes']['key']}"
    meta = {"key": other["attributes"]["key"]}
    assert office.ask("POST", "licenses/actions/validate-key", bearer, meta=meta).status_code == 403
    assert office.validate(one, bearer)["valid"]


def test_a_products_token_may_what_it_was_given_by_name(office: Any, codes: Any) -> None:
    names, product = world(office), office.product()
    path = f"products/{product}/tokens"
    data: dict[str, Any] = {"type": "tokens"}
    data["attributes"] = {"permissions": ["license.read", "license.suspend"]}
    made = office.ask("POST", path, "admin", data=data).json()["data"]
    bearer = f"Bearer {made['attributes']['token']}"
    licence = f"licenses/{names['licence']}"
    assert office.ask("GET", licence, bearer).status_code == 200
    assert office.ask("POST", f"{licence}/actions/suspend", bearer).status_code == 200
    assert office.ask("POST", f"{licence}/actions/reinstate", bearer).status_code == 403
    listed = office.ask("GET", path, "admin").json()["data"][0]["attributes"]
    assert listed["permissions"] == ["license.read", "license.suspend"]
    data["attributes"]["permissions"] = ["license.eat"]
    refused = office.ask("POST", path, "admin", data=data)
    where = {"pointer": "/data/attributes/permissions"}
    assert (refused.status_code, codes(refused)) == (422, [("PERMISSIONS_NOT_ALLOWED", where)])
