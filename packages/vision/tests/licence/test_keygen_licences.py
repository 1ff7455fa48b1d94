"""What the licence server's replies mean: yes, no, or nothing about the licence at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from licence_world import MakeCustomer, Shop, Sold, open_shop
from stranger import NOW, Stranger, signed, strangers

from shimmy_sandbox.keygen import shop as keygen_shop
from shimmy_vision.adapters.licence.keygen_licences import KeygenLicences
from shimmy_vision.adapters.licence.signed_exchange import SignedExchange
from shimmy_vision.domain.licence.licence_facts import Denial, Machine, Valid
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.errors import LicenceServerError
from shimmy_vision.ports.licence_server import LicenceServer, MachineToActivate, NotCounted, Reading

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = "C1B6DE-39A6E3-DE1529-8559A0-4AF593-V3"
CALLS: Mapping[str, Callable[[LicenceServer, str], object]] = {
    "validate": lambda server, key: server.validate(key, "f" * 64),
    "activate": lambda server, key: server.activate(key, machine_of("licence-id")),
    "machines": lambda server, key: server.machines(key),
    "deactivate": lambda server, key: server.deactivate(key, "machine-id"),
    "check_out": lambda server, key: server.check_out(key, "f" * 64, HOUR),
    "read": lambda server, key: server.read(key),
    "increment": lambda server, key: server.increment(key, "licence-id", 3),
}
AUTHENTICATED = sorted(set(CALLS) - {"validate"})


def machine_of(
    licence: str, fingerprint: str = "f" * 64, name: str = "a name"
) -> MachineToActivate:
    return MachineToActivate(licence, fingerprint, name, "Linux test")


@pytest.fixture(scope="module")
def open_for_all() -> Iterator[Shop]:
    with open_shop() as opened:
        yield opened


@pytest.fixture
def shop(open_for_all: Shop) -> Shop:
    """One server for all tests here, each with a licence of its own."""
    open_for_all.forget()
    open_for_all.clock.freeze(NOON)
    return open_for_all


@pytest.fixture
def server(customer: MakeCustomer) -> LicenceServer:
    return customer().licensing().server


def activated(found: object) -> Machine:
    assert isinstance(found, Machine)
    return found


def denied(found: object) -> str:
    assert isinstance(found, Denial)
    assert found.at == NOON
    return found.code


def change_policy(shop: Shop, plan: str, **settings: Any) -> None:
    data = {"type": "policies", "attributes": settings}
    reply = shop.admin.patch(
        f"policies/{keygen_shop.policy_id(plan)}",
        content=json.dumps({"data": data}),
        headers={"Content-Type": "application/vnd.api+json"},
    )
    assert reply.status_code == 200, reply.text


def add_machine(shop: Shop, sold: Sold, name: str, fingerprint: str) -> None:
    data = {
        "type": "machines",
        "attributes": {"fingerprint": fingerprint, "name": name},
        "relationships": {"license": {"data": {"type": "licenses", "id": sold.id}}},
    }
    reply = shop.admin.post("machines", json={"data": data})
    assert reply.status_code == 201, reply.text


def test_activating_twice_is_the_same_machine(shop: Shop, server: LicenceServer) -> None:
    sold = shop.sell("developer")
    first = activated(server.activate(sold.key, machine_of(sold.id)))
    assert (first.fingerprint, first.name, first.platform) == ("f" * 64, "a name", "Linux test")
    assert first.since == NOON
    assert activated(server.activate(sold.key, machine_of(sold.id, name="other"))) == first


def test_a_machine_of_another_licence_is_not_ours(shop: Shop, server: LicenceServer) -> None:
    change_policy(shop, "professional", machineUniquenessStrategy="UNIQUE_PER_ACCOUNT")
    first, second = shop.sell("professional"), shop.sell("professional")
    activated(server.activate(first.key, machine_of(first.id, "9" * 64)))
    refused = server.activate(second.key, machine_of(second.id, "9" * 64))
    assert denied(refused) == "FINGERPRINT_TAKEN"
    assert server.machines(second.key) == ()


def test_one_machine_too_many_is_told_as_such(shop: Shop, server: LicenceServer) -> None:
    sold = shop.sell("startup")
    for digit in "12345":
        activated(server.activate(sold.key, machine_of(sold.id, digit * 64, f"number {digit}")))
    assert denied(server.activate(sold.key, machine_of(sold.id))) == "TOO_MANY_MACHINES"
    # One of the five is taken and one too many at once; it is ours all the same.
    assert activated(server.activate(sold.key, machine_of(sold.id, "3" * 64))).name == "number 3"
    assert len(server.machines(sold.key)) == 5  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 201])
def test_every_machine_is_listed_oldest_first(
    shop: Shop, server: LicenceServer, count: int
) -> None:
    sold = shop.sell("enterprise")
    for number in range(count):
        shop.clock.advance(timedelta(milliseconds=10))
        add_machine(shop, sold, f"number {number}", f"{number:064x}")
    shop.server.controls.seen.clear()
    machines = server.machines(sold.key)
    assert isinstance(machines, tuple)
    assert [one.name for one in machines] == [f"number {number}" for number in range(count)]
    assert shop.asked() == ["GET machines"] * (count // 100 + 1)


def test_names_cannot_steer_a_terminal(shop: Shop, server: LicenceServer) -> None:
    sold = shop.sell("enterprise")
    add_machine(shop, sold, "\x1b[31mred\r\nnext\u202eline\x7f" + "x" * 100, "e" * 64)
    machines = server.machines(sold.key)
    assert isinstance(machines, tuple)
    assert machines[0].name == "?[31mred??next?line?" + "x" * 40


def test_a_machine_that_is_not_there_cannot_be_removed(shop: Shop, server: LicenceServer) -> None:
    mine, other = shop.sell("startup"), shop.sell("startup")
    machine = activated(server.activate(mine.key, machine_of(mine.id)))
    for wanted in ("00000000-0000-4000-8000-000000000000", "a/../b", "nobody's"):
        assert server.deactivate(mine.key, wanted) is False
    assert server.deactivate(other.key, machine.id) is False
    assert server.machines(mine.key) == (machine,)
    assert server.deactivate(mine.key, machine.id) is True
    assert server.deactivate(mine.key, machine.id) is False


def test_a_suspended_licence_is_denied_by_every_call(shop: Shop, server: LicenceServer) -> None:
    sold = shop.sell("startup")
    activated(server.activate(sold.key, machine_of(sold.id)))
    shop.act(sold, "suspend")
    for name in CALLS:
        assert denied(CALLS[name](server, sold.key)) == "SUSPENDED", name


def test_a_revoked_licence_is_denied_by_every_call(shop: Shop, server: LicenceServer) -> None:
    sold = shop.sell("startup")
    assert shop.admin.delete(f"licenses/{sold.id}/actions/revoke").status_code == 204
    for name in CALLS:
        assert denied(CALLS[name](server, sold.key)) == "NOT_FOUND", name


def test_an_expired_licence_is_denied_where_its_policy_says_so(
    shop: Shop, server: LicenceServer
) -> None:
    sold = shop.sell("startup")
    activated(server.activate(sold.key, machine_of(sold.id)))
    shop.change(sold, expiry="2026-11-25T11:59:59.000Z")
    verdict = server.validate(sold.key, "f" * 64)
    assert denied(verdict) == "EXPIRED"
    assert isinstance(verdict, Denial)
    assert (verdict.licence, verdict.expiry) == (sold.id, NOON - timedelta(seconds=1))
    # The policy restricts access: what was used before can still be reported.
    assert isinstance(server.read(sold.key), Reading)
    assert isinstance(server.increment(sold.key, sold.id, 3), Reading)
    change_policy(shop, "startup", expirationStrategy="REVOKE_ACCESS")
    for name in AUTHENTICATED:
        assert denied(CALLS[name](server, sold.key)) == "EXPIRED", name
    change_policy(shop, "startup", expirationStrategy="RESTRICT_ACCESS")


def test_a_policy_that_refuses_keys_is_our_failure_not_the_customers(
    shop: Shop, server: LicenceServer
) -> None:
    """A genuine, signed 403: it says something about our policy, nothing about the licence."""
    sold = shop.sell("startup")
    activated(server.activate(sold.key, machine_of(sold.id)))
    change_policy(shop, "startup", authenticationStrategy="TOKEN")
    for name in AUTHENTICATED:
        with pytest.raises(LicenceServerError) as raised:
            CALLS[name](server, sold.key)
        assert (raised.value.code, raised.value.sent) == ("licence-server-refuses", True)
    change_policy(shop, "startup", authenticationStrategy="MIXED")
    assert isinstance(server.validate(sold.key, "f" * 64), Valid)


def test_counting_tells_counted_from_full(shop: Shop, server: LicenceServer) -> None:
    sold = shop.sell("developer", metadata={"pages_period_start": "2026-11-01T00:00:00Z"})
    shop.change(sold, maxUses=10)
    counted = server.increment(sold.key, sold.id, 7)
    assert isinstance(counted, Reading)
    assert (counted.facts.uses, counted.facts.max_uses, counted.at) == (7, 10, NOON)
    assert counted.facts.period_start == datetime(2026, 11, 1, tzinfo=UTC)
    assert server.increment(sold.key, sold.id, 4) == NotCounted("over-limit")
    assert server.read(sold.key) == counted


def test_a_machine_file_of_a_machine_that_is_gone_is_a_no(
    shop: Shop, server: LicenceServer
) -> None:
    sold = shop.sell("startup")
    assert denied(server.check_out(sold.key, "f" * 64, HOUR)) == "FINGERPRINT_SCOPE_MISMATCH"


# From here on a server that the sandbox is not, with the sandbox's key


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with strangers() as opened:
        yield opened


@pytest.fixture
def strange(stranger: Stranger) -> Iterator[LicenceServer]:
    exchange = SignedExchange(
        stranger.url, PINNED.account, PINNED.public_key, now=lambda: NOW, timeout=5
    )
    yield KeygenLicences(exchange, PINNED.product)
    exchange.close()


def errors(*codes: str | None) -> bytes:
    said = [{"title": "no", "detail": "d", **({"code": code} if code else {})} for code in codes]
    return json.dumps({"errors": said}).encode()


@pytest.mark.parametrize("code", ["LICENSE_BANNED", "USER_BANNED"])
def test_a_ban_is_a_no(stranger: Stranger, strange: LicenceServer, code: str) -> None:
    stranger.answer = signed(403, errors(code))
    assert denied(strange.read(KEY)) == "BANNED"


REFUSALS_OF_OURS = [
    (402, errors("ACCOUNT_NOT_PAID")),
    (403, errors(None)),
    (403, errors("ACCOUNT_SUSPENDED")),
    (403, b"{}"),
    (401, errors("TOKEN_INVALID")),
    (400, errors("INVALID_API_VERSION")),
    (404, errors("ACCOUNT_NOT_FOUND")),
    (404, b"{}"),
    (409, b"{}"),
    (422, errors("POLICY_NOT_COMPATIBLE", None)),
    (302, b""),
    (206, b'{"data": null}'),
]


@pytest.mark.parametrize(("status", "body"), REFUSALS_OF_OURS)
@pytest.mark.parametrize("name", CALLS)
def test_a_signed_refusal_that_is_not_about_the_licence_locks_nobody_out(
    stranger: Stranger, strange: LicenceServer, name: str, status: int, body: bytes
) -> None:
    stranger.answer = signed(status, body)
    with pytest.raises(LicenceServerError) as raised:
        CALLS[name](strange, KEY)
    assert (raised.value.code, raised.value.sent) == ("licence-server-refuses", True)
    assert str(status) in raised.value.message
    assert KEY not in raised.value.message


DOCUMENTS = [
    {},
    {"data": None},
    {"data": [7]},
    {"data": {"type": "webhooks", "id": "x", "attributes": {}}},
    {"data": {"type": "licenses", "id": "x", "attributes": []}},
    {"data": {"type": "licenses", "id": "x", "attributes": {"uses": -1}}},
    {"data": {"type": "licenses", "id": "x", "attributes": {"uses": 1.5}}},
    {"data": {"type": "licenses", "id": "x", "attributes": {"uses": True}}},
    {"data": {"type": "licenses", "id": "x", "attributes": {"expiry": "soon"}}},
    {"data": {"type": "licenses", "id": "", "attributes": {}}},
    {"data": {"type": "machines", "id": "x", "attributes": {"fingerprint": 7}}},
    {"data": [{"type": "machines", "id": "x", "attributes": {}}]},
    {"data": {"type": "machine-files", "id": "x", "attributes": {"certificate": None}}},
    {"meta": {"valid": True, "nonce": 1}, "data": {}},
]


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"deactivate"}))
def test_a_signed_reply_of_another_shape_is_no_answer(
    stranger: Stranger, strange: LicenceServer, name: str
) -> None:
    for document in DOCUMENTS:
        status = 201 if name == "activate" else 200
        stranger.answer = signed(status, json.dumps(document).encode())
        with pytest.raises(LicenceServerError) as raised:
            CALLS[name](strange, KEY)
        assert (raised.value.code, raised.value.sent) == ("licence-server-malformed", True)


def test_a_server_that_repeats_its_page_is_not_asked_for_ever(
    stranger: Stranger, strange: LicenceServer
) -> None:
    page = [
        {"type": "machines", "id": f"m{n}", "attributes": {"fingerprint": f"f{n}"}}
        for n in range(100)
    ]
    stranger.answer = signed(200, json.dumps({"data": page}).encode())
    machines = strange.machines(KEY)
    assert isinstance(machines, tuple)
    assert len(machines) == 100
    assert len(stranger.heard) == 2


def test_a_validation_asks_for_product_machine_and_entitlement(
    stranger: Stranger, strange: LicenceServer
) -> None:
    stranger.answer = signed(200, b"{}")
    for _ in range(2):
        with pytest.raises(LicenceServerError):
            strange.validate(KEY, "f" * 64)
    first, second = (json.loads(one.body)["meta"] for one in stranger.heard)
    scope = {"product": PINNED.product, "fingerprint": "f" * 64, "entitlements": ["vision"]}
    assert first["scope"] == second["scope"] == scope
    assert first["nonce"] != second["nonce"]


def test_offline_by_wish_no_call_goes_out(shop: Shop, customer: MakeCustomer) -> None:
    server = replace(customer(), offline=True).licensing().server
    for name in CALLS:
        with pytest.raises(LicenceServerError) as raised:
            CALLS[name](server, KEY)
        assert not raised.value.sent
    assert shop.asked() == []
