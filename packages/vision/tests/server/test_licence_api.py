"""``/api/license`` against a real licence server: what is known, and what it says now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from licence_world import Customer, Shop, open_shop
from serving import PlayedAnalyst, serve

from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import OpenLicences, ServerOptions
from shimmy_vision.server.guard import GuardRules, digest_key
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages

USAGE, VALIDATE = "/api/license/usage", "/api/license/validate"
FIELDS = {
    "valid", "code", "message", "hint", "plan", "expires", "good_without_server_until",
    "machines_allowed", "notices", "sandbox",
}  # fmt: skip


@pytest.fixture(scope="module")
def stocked() -> Iterator[Shop]:
    with open_shop() as opened:
        yield opened


@pytest.fixture
def shop(stocked: Shop) -> Shop:
    stocked.forget()
    return stocked


@pytest.fixture
def customer(shop: Shop, tmp_path: Path) -> Iterator[Customer]:
    with ExitStack() as opened:
        yield Customer(shop, tmp_path, opened=opened)


class Api:
    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def usage(self) -> dict[str, Any]:
        response = self.client.get(USAGE)
        assert response.status_code == 200, response.text
        told: dict[str, Any] = response.json()
        return told

    def validate(self, *, refresh: bool = False) -> dict[str, Any]:
        arguments: dict[str, Any] = {"json": {"refresh": True}} if refresh else {}
        response = self.client.post(VALIDATE, **arguments)
        assert response.status_code == 200, response.text
        told: dict[str, Any] = response.json()
        assert set(told) == FIELDS
        assert told["valid"] is (told["code"] is None)
        return told


OpenApi = Callable[..., Api]


@pytest.fixture
def open_api() -> Iterator[OpenApi]:
    with ExitStack() as opened:

        def opening(licences: OpenLicences | None, **options: Any) -> Api:
            analyst = PlayedAnalyst(lambda *_: None)
            app = create_app(analyst, ServerOptions(**options), lambda: None, licences=licences)
            url = opened.enter_context(serve(app))
            return Api(opened.enter_context(httpx.Client(base_url=url, timeout=30)))

        yield opening


def _activate(customer: Customer, key: str) -> None:
    with customer.process() as licensing:
        activate_licence(key, licensing)


def test_a_good_licence_is_described(open_api: OpenApi, customer: Customer, shop: Shop) -> None:
    sold = shop.sell("developer")
    _activate(customer, sold.key)
    api = open_api(customer.process)
    shop.server.controls.seen.clear()
    told = api.validate()
    assert (told["valid"], told["plan"], told["sandbox"]) == (True, "developer", True)
    assert (told["message"], told["hint"]) == (None, None)
    assert [one["code"] for one in told["notices"]] == ["licence-sandbox"]
    assert told["machines_allowed"] == 1
    assert told["expires"].endswith("Z")
    assert f"{shop.clock.now():%Y-%m}" <= told["good_without_server_until"][:7]
    used = api.usage()
    assert (used["plan"], used["pages_used"], used["pages_allowed"]) == ("developer", 0, 2500)
    assert (used["not_yet_counted"], used["analysed_on_this_machine"]) == (0, 0)
    assert (used["refused"], used["sandbox"]) == (None, True)
    assert used["resets"] > used["confirmed"]
    assert shop.asked() == [], "nobody was asked for that"
    assert sold.key not in str(told) + str(used)


def test_a_machine_without_a_licence_hears_so(open_api: OpenApi, customer: Customer) -> None:
    api = open_api(customer.process)
    for refresh in (False, True):
        told = api.validate(refresh=refresh)
        assert (told["valid"], told["code"]) == (False, "licence-missing")
        assert "shimmy license activate" in told["hint"]
        assert (told["plan"], told["notices"], told["sandbox"]) == (None, [], True)
    response = api.client.get(USAGE)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "licence-missing")


def test_only_a_refresh_hears_what_happened_meanwhile(
    open_api: OpenApi, customer: Customer, shop: Shop
) -> None:
    sold = shop.sell("developer")
    _activate(customer, sold.key)
    api = open_api(customer.process)
    shop.act(sold, "suspend")
    assert api.validate()["valid"] is True
    told = api.validate(refresh=True)
    assert (told["valid"], told["code"]) == (False, "licence-suspended")
    assert api.validate()["code"] == "licence-suspended", "it is kept"
    assert api.usage()["refused"]["code"] == "licence-suspended"
    shop.act(sold, "reinstate")
    assert api.validate()["valid"] is False
    assert api.validate(refresh=True)["valid"] is True


def test_an_expired_licence_says_so(open_api: OpenApi, customer: Customer, shop: Shop) -> None:
    sold = shop.sell("developer")
    _activate(customer, sold.key)
    api = open_api(customer.process)
    past = shop.clock.now() - timedelta(days=1)
    shop.change(sold, expiry=past.isoformat(timespec="seconds").replace("+00:00", "Z"))
    told = api.validate(refresh=True)
    assert (told["valid"], told["code"]) == (False, "licence-expired")
    assert api.client.get("/health").status_code == 200


def test_where_the_server_cannot_be_heard_what_was_kept_stands(
    open_api: OpenApi, customer: Customer, shop: Shop
) -> None:
    _activate(customer, shop.sell("developer").key)
    api = open_api(customer.process)
    shop.fault("status", status=500)
    told = api.validate(refresh=True)
    assert told["valid"] is True
    assert [one["code"] for one in told["notices"]] == ["licence-sandbox", "licence-offline"]
    shop.clock.advance(timedelta(days=4))
    told = api.validate()
    assert (told["valid"], told["code"]) == (False, "licence-unconfirmed")
    assert told["good_without_server_until"] is None
    shop.heal()
    assert api.validate(refresh=True)["valid"] is True


def test_used_up_pages_are_no_validity(open_api: OpenApi, customer: Customer, shop: Shop) -> None:
    sold = shop.sell("developer")
    shop.change(sold, maxUses=1)
    _activate(customer, sold.key)
    api = open_api(customer.process)
    assert api.validate()["valid"] is True
    with customer.process() as licensing:
        settle_pages(admit_pages(1, licensing), licensing, done=True)
    told = api.validate()
    assert (told["valid"], told["code"]) == (False, "page-cap-reached")
    used = api.usage()
    assert (used["pages_used"], used["refused"]["code"]) == (1, "page-cap-reached")
    assert (used["not_yet_counted"], used["analysed_on_this_machine"]) == (1, 1)


def test_a_key_from_the_environment_is_confirmed_by_a_refresh(
    open_api: OpenApi, customer: Customer, shop: Shop
) -> None:
    customer.given_key = shop.sell("startup").key
    api = open_api(customer.process)
    assert api.validate()["code"] == "licence-not-activated"
    assert api.validate(refresh=True)["valid"] is True
    customer.given_key = "NO-SUCH-KEY"
    assert api.validate(refresh=True)["code"] == "licence-unknown"


def test_a_plan_without_limits_says_unlimited(
    open_api: OpenApi, customer: Customer, shop: Shop
) -> None:
    _activate(customer, shop.sell("enterprise").key)
    api = open_api(customer.process)
    used = api.usage()
    assert (used["pages_allowed"], used["pages_used"]) == ("unlimited", None)
    assert api.validate()["machines_allowed"] == "unlimited"


def test_a_damaged_state_is_an_error_and_no_answer(
    open_api: OpenApi, customer: Customer, shop: Shop
) -> None:
    _activate(customer, shop.sell("developer").key)
    for left in customer.folder.glob("licence.sqlite*"):
        left.write_bytes(b"noise" * 1000)
    api = open_api(customer.process)
    for response in (api.client.get(USAGE), api.client.post(VALIDATE)):
        assert (response.status_code, response.json()["error"]["code"]) == (
            503,
            "licence-state-damaged",
        )


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"json": {"key": "SOME-KEY"}}, 422, "fields-invalid"),
        ({"json": {"refresh": "perhaps"}}, 422, "fields-invalid"),
        ({"json": [1]}, 422, "fields-invalid"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "json-malformed"),
        ({"content": b"{}"}, 415, "media-type-unsupported"),
    ],
)
def test_a_wrong_question_is_refused(
    open_api: OpenApi, customer: Customer, arguments: dict[str, Any], status: int, code: str
) -> None:
    response = open_api(customer.process).client.post(VALIDATE, **arguments)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_it_is_nobodys_business_without_a_key(open_api: OpenApi, customer: Customer) -> None:
    api = open_api(customer.process, rules=GuardRules(api_keys=(digest_key("alpha"),)))
    assert api.client.get(USAGE).json()["error"]["code"] == "api-key-missing"
    assert api.client.post(VALIDATE).json()["error"]["code"] == "api-key-missing"


def test_a_server_that_knows_nothing_of_licences_says_so(open_api: OpenApi) -> None:
    api = open_api(None)
    assert api.client.get(USAGE).status_code == 404
    assert api.client.post(VALIDATE).status_code == 404


def test_every_answer_is_as_the_description_says(
    open_api: OpenApi, customer: Customer, shop: Shop
) -> None:
    api = open_api(customer.process)
    described = api.client.get("/openapi.json").json()

    def check(method: str, path: str, status: int = 200) -> None:
        response = api.client.request(method, path)
        assert response.status_code == status
        answer = described["paths"][path][method.lower()]["responses"][str(status)]
        schema = answer["content"]["application/json"]["schema"]
        jsonschema.validate(response.json(), {**schema, "components": described["components"]})

    check("POST", VALIDATE)
    check("GET", USAGE, 401)
    limited, unlimited = shop.sell("developer"), shop.sell("enterprise")
    for sold in (limited, unlimited):
        _activate(customer, sold.key)
        check("POST", VALIDATE)
        check("GET", USAGE)
    shop.act(unlimited, "suspend")
    api.validate(refresh=True)
    check("POST", VALIDATE)
    check("GET", USAGE)
    assert api.usage()["refused"] is not None
