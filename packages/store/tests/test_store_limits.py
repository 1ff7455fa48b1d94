"""How often anybody may try: counted by address and by mailbox, and by nothing they can choose."""

from __future__ import annotations

import httpx
import pytest
from store_server import Store, key_on
from visiting import Door, at_door, program

from shimmy_store.server.limits import (
    CHECKOUTS,
    KEYS,
    LINKS,
    LOOK_UPS,
    MAILS,
    MAILS_TO_ONE,
    Limit,
)

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

EMAIL = "sss@example.com"
HERE = "203.0.113.7"


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    return key_on(store.buy("developer", EMAIL).text)


@pytest.fixture(autouse=True)
def _a_new_period(store: Store, key: str) -> None:
    store.town.pass_time(minutes=10)


async def try_it(visitor: httpx.AsyncClient, limit: Limit, number: int = 0) -> httpx.Response:
    """Something that counts under this limit, and fails for no other reason than that."""
    match limit.name:
        case "checkout":
            return await visitor.get("/buy?plan=developer")
        case "look-up":
            return await visitor.get("/success?session_id=cs_test_unknown")
        case "key":
            return await visitor.post("/view-license", json={"key": "unknown"})
        case "link":
            return await visitor.get("/sign-in?token=unknown")
        case "mail":
            sent = {"email": f"{number}@elsewhere.example"}
            return await visitor.post("/view-license", json=sent)
        case _:
            return await visitor.post("/view-license", json={"email": EMAIL})


def assert_too_many(store: Store, answer: httpx.Response) -> None:
    assert answer.status_code == 429
    seconds = int(answer.headers["retry-after"])
    left = 600 - store.town.now().timestamp() % 600
    assert 0 < seconds <= 600
    assert abs(seconds - left) <= 1, "it says when it counts anew"
    if answer.headers["content-type"] == "application/problem+json":
        told = answer.json()
        assert told["code"] == "too-many-requests"
        assert "minutes" in told["hint"]
    else:
        assert "tried too often" in answer.text
    assert HERE not in answer.text
    assert EMAIL not in answer.text


@pytest.mark.parametrize(
    "limit", [CHECKOUTS, LOOK_UPS, KEYS, LINKS, MAILS, MAILS_TO_ONE], ids=lambda one: one.name
)
def test_so_many_tries_and_no_more(store: Store, limit: Limit) -> None:
    async def act(door: Door) -> None:
        async with door.visitor(HERE) as visitor:
            for number in range(limit.most):
                assert (await try_it(visitor, limit, number)).status_code != 429
            for number in range(3):
                assert_too_many(store, await try_it(visitor, limit, limit.most + number))
            visitor.headers["Accept"] = "text/html"
            assert_too_many(store, await try_it(visitor, limit, -1))
            store.town.pass_time(minutes=10)
            assert (await try_it(visitor, limit)).status_code != 429

    at_door(store, act)


def test_one_limit_leaves_the_others_alone(store: Store, key: str) -> None:
    async def act(door: Door) -> None:
        async with door.visitor(HERE) as visitor:
            tries = [await try_it(visitor, KEYS) for _ in range(KEYS.most + 1)]
            assert tries[-1].status_code == 429
            for limit in (CHECKOUTS, LOOK_UPS, LINKS, MAILS):
                assert (await try_it(visitor, limit)).status_code != 429
            right = await visitor.post("/view-license", json={"key": key})
            assert right.status_code == 429, "nobody learns that the last guess was right"
        async with door.visitor("203.0.113.8") as other:
            assert (await other.post("/view-license", json={"key": key})).status_code == 200

    at_door(store, act)


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Cluster-Client-IP",
    ],
)
def test_the_address_is_the_connections_and_not_what_a_header_says(
    store: Store, header: str
) -> None:
    async def act(door: Door) -> None:
        async with door.visitor(HERE) as visitor:
            for number in range(KEYS.most):
                visitor.headers[header] = f"198.51.100.{number}"
                assert (await try_it(visitor, KEYS)).status_code == 404
            visitor.headers[header] = "198.51.100.200"
            assert_too_many(store, await try_it(visitor, KEYS))

    at_door(store, act)


def test_a_new_browser_each_time_is_the_same_address(store: Store) -> None:
    with program(store) as one, program(store, Accept="text/html") as other:
        statuses = []
        for client in [one, other] * KEYS.most:
            client.cookies.clear()
            statuses.append(client.post("/view-license", json={"key": "unknown"}).status_code)
    assert statuses == [404] * KEYS.most + [429] * KEYS.most


def test_a_network_of_ipv6_is_one_address(store: Store) -> None:
    async def tries(door: Door, addresses: list[str]) -> list[int]:
        found = []
        for address in addresses:
            async with door.visitor(address) as visitor:
                found.append((await try_it(visitor, KEYS)).status_code)
        return found

    async def act(door: Door) -> None:
        network = [f"2001:db8:1:2:{number:x}::{number:x}" for number in range(1, KEYS.most + 1)]
        assert set(await tries(door, network)) == {404}
        assert await tries(door, ["2001:db8:1:2:ffff::1", "2001:DB8:1:2::"]) == [429, 429]
        assert await tries(door, ["2001:db8:1:3::1", "fe80::1%eth0"]) == [404, 404]
        mapped = [f"::ffff:198.51.100.{number}" for number in range(1, KEYS.most + 2)]
        assert set(await tries(door, mapped)) == {404}, "these are addresses of IPv4, one by one"
        assert await tries(door, ["testclient", ""]) == [404, 404]

    at_door(store, act)


def test_a_mailbox_is_asked_for_only_so_often_by_all_together(store: Store) -> None:
    """Also in the spellings that are one mailbox to the search for customers."""
    spellings = [EMAIL, "\u017fss@example.com", "SsS@EXAMPLE.com", f"  {EMAIL}"]
    late = ["s\u017fs@example.com", "ss\u017f@example.com", "\u00dfs@example.com", EMAIL.upper()]
    assert len(spellings) == MAILS_TO_ONE.most

    async def act(door: Door) -> None:
        for number, address in enumerate([*spellings, *late]):
            async with door.visitor(f"198.51.100.{number}") as visitor:
                answer = await visitor.post("/view-license", json={"email": address})
            if number < MAILS_TO_ONE.most:
                assert answer.status_code == 202
            else:
                assert_too_many(store, answer)

    at_door(store, act)


def test_a_mailbox_that_nobody_has_is_counted_like_any_other(store: Store) -> None:
    async def act(door: Door) -> list[int]:
        found = []
        for number in range(MAILS_TO_ONE.most + 2):
            async with door.visitor(f"198.51.100.{number}") as visitor:
                sent = {"email": "nobody@example.com"}
                found.append((await visitor.post("/view-license", json=sent)).status_code)
        return found

    assert at_door(store, act) == [202] * MAILS_TO_ONE.most + [429, 429]


def test_the_ledger_is_no_list_of_who_came(store: Store) -> None:
    async def act(door: Door) -> None:
        async with door.visitor("198.51.100.77") as visitor:
            await try_it(visitor, KEYS)
            await try_it(visitor, MAILS_TO_ONE)

    at_door(store, act)
    kept = b"".join(one.read_bytes() for one in store.town.ledger.parent.iterdir())
    assert b"198.51.100.77" not in kept
