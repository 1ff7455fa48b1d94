"""Who may use the operator's addresses, and what of it may be seen elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from operating import BEARER, OLD_TOKEN, OPERATOR_TOKEN, operator, problem
from store_server import Store, open_store
from visiting import Door, at_door, program

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ADA = "ada@example.com"
POSTS = ("customers", "look", "export", "erase", "alarms/done", "mail-probe", "restore")
PATHS = (*(("POST", one) for one in POSTS), *(("GET", one) for one in ("figures", "alarms")))


@pytest.fixture(scope="module")
def store(ledger_place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    tokens = (OPERATOR_TOKEN, OLD_TOKEN)
    with open_store(tmp_path_factory.mktemp("store"), operator_tokens=tokens) as opened:
        yield opened


@pytest.fixture
def desk(store: Store) -> Iterator[httpx.Client]:
    with operator(store) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nobody_gets_in_without_the_token(store: Store, method: str, path: str) -> None:
    with program(store, Accept="text/html") as client:
        problem(client.request(method, f"/operator/{path}"), 401, "operator-refused")


def test_the_other_method_is_refused_as_a_problem(desk: httpx.Client) -> None:
    headers = {"Accept": "text/html"}
    problem(desk.get("/erase", headers=headers), 405, "method-unknown")
    problem(desk.post("/figures", headers=headers), 405, "method-unknown")


def test_both_tokens_are_good_while_one_replaces_the_other(store: Store) -> None:
    with operator(store, Authorization=f"Bearer {OLD_TOKEN}") as client:
        assert client.get("/alarms").status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        OPERATOR_TOKEN,
        f"bearer {OPERATOR_TOKEN}",
        f"Bearer {OPERATOR_TOKEN} ",
        f"Bearer {OPERATOR_TOKEN},{OLD_TOKEN}",
        "Bearer ",
        f"Bearer {OPERATOR_TOKEN[:-1]}",
    ],
)
def test_nothing_but_the_token_itself_opens(store: Store, given: str) -> None:
    async def act(door: Door) -> httpx.Response:
        # Not from a connection, where spaces at the end would be cut off.
        async with door.visitor("203.0.113.50") as visitor:
            return await visitor.get("/operator/alarms", headers={"Authorization": given})

    problem(at_door(store, act), 401, "operator-refused")


def test_wrong_tokens_are_counted_and_right_ones_are_not(store: Store) -> None:
    async def act(door: Door) -> list[int]:
        async with door.visitor("203.0.113.99") as guest, door.visitor("203.0.113.98") as other:
            wrong, right = {"Authorization": "Bearer wrong"}, BEARER
            codes = [
                (await guest.get("/operator/alarms", headers=wrong)).status_code for _ in range(21)
            ]
            missing = [(await guest.get("/operator/alarms")).status_code]
            after = [
                (await one.get("/operator/alarms", headers=headers)).status_code
                for one, headers in ((guest, right), (other, wrong), (guest, wrong))
            ]
            last = await guest.get("/operator/alarms", headers=wrong)
            assert last.json()["code"] == "too-many-requests"
            assert int(last.headers["retry-after"]) > 0
            return [*codes, *missing, *after]

    assert at_door(store, act) == [*[401] * 20, 429, 401, 200, 401, 429]


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_without_a_token_set_there_is_no_such_address(store: Store, accept: str) -> None:
    async def act(door: Door) -> None:
        async with door.visitor(Accept=accept, **BEARER) as visitor:
            for method, path in (*PATHS, ("GET", "dump"), ("GET", "erase")):
                answer = await visitor.request(method, f"/operator/{path}")
                nowhere = await visitor.request(method, "/nowhere")
                assert answer.status_code == nowhere.status_code == 404
                assert answer.headers["content-type"] == nowhere.headers["content-type"]
                assert answer.text.replace(f"/operator/{path}", "/nowhere") == nowhere.text

    at_door(store, act, operator_tokens=())


def test_no_other_site_can_use_the_operators_browser(desk: httpx.Client) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    problem(desk.post("/look", json={"customer": "cus_1"}, headers=headers), 403, "other-site")


def test_metrics_know_the_operators_requests_by_name_only(store: Store) -> None:
    async def act(door: Door) -> str:
        async with door.visitor("127.0.0.1", **BEARER) as visitor:
            await visitor.post("/operator/look", json={"customer": "cus_hidden"})
            return (await visitor.get("/metrics")).text

    text = at_door(store, act)
    assert 'endpoint="operator_look"' in text
    assert "cus_hidden" not in text


def test_no_log_line_names_a_customer(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async def act(door: Door) -> None:
        async with door.visitor("203.0.113.60", **BEARER) as visitor:
            for path, content in (
                ("customers", {"email": ADA}),
                ("erase", {"customer": "cus_hidden"}),
                ("look", {"customer": "cus_hidden"}),
                ("mail-probe", {"to": "hidden@example.com"}),
                ("customers", {"email": "hidden@example.com", "x": "hidden"}),
            ):
                await visitor.post(f"/operator/{path}", json=content)
            await visitor.get("/operator/alarms", headers={"Authorization": "Bearer hidden"})

    with caplog.at_level("INFO", logger="shimmy_store"):
        at_door(store, act, mail="smtp://127.0.0.1:9")
    told = [getattr(one, "fields", {}) for one in caplog.records]
    assert len([one for one in told if "endpoint" in one]) == 6
    assert {"mail-unreachable"} <= {one.get("code") for one in told}
    for word in (ADA, "hidden", OPERATOR_TOKEN):
        assert word not in str(told)
