"""What goes wrong on request, over real sockets; and the sandbox's clock."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shimmy_sandbox.simulation.faults import Fault

WAIT = 2.0


@pytest.fixture
def licence(office: Any) -> Any:
    return office.licence(maxUses=100)


@pytest.fixture
def plan(office: Any, licence: Any) -> Any:
    """The faults to come, once there is a licence to use."""
    return office.server.controls.faults


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Any:
    yield
    assert capfd.readouterr().err == "", "a fault on request is no error of the server"


def use(office: Any, licence: Any) -> httpx.Response:
    """Use the licence once, on a connection of its own and unverified: faults sign nothing."""
    bearer = f"License {licence['attributes']['key']}"
    with office.asking(bearer, signed=False) as client:
        reply: httpx.Response = client.post(f"licenses/{licence['id']}/actions/increment-usage")
        return reply


def test_status_instead_of_the_work(office: Any, licence: Any, plan: Any) -> None:
    plan.add(Fault("status", status=503, retry_after=7))
    reply = use(office, licence)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "7")
    assert "keygen-signature" not in reply.headers
    assert office.shown(licence)["uses"] == 0
    assert use(office, licence).status_code == 200


def test_status_after_the_work(office: Any, licence: Any, plan: Any) -> None:
    plan.add(Fault("status-after", status=500))
    assert use(office, licence).status_code == 500
    assert office.shown(licence)["uses"] == 1


def test_no_request(office: Any, licence: Any, plan: Any) -> None:
    plan.add(Fault("no-request"))
    with pytest.raises(httpx.TransportError):
        use(office, licence)
    assert office.shown(licence)["uses"] == 0


def test_no_reply(office: Any, licence: Any, plan: Any) -> None:
    plan.add(Fault("no-reply"))
    with pytest.raises(httpx.TransportError):
        use(office, licence)
    assert office.shown(licence)["uses"] == 1


def test_late(office: Any, licence: Any, plan: Any) -> None:
    plan.add(Fault("late", seconds=WAIT))
    with pytest.raises(httpx.TransportError):
        use(office, licence)
    assert office.shown(licence)["uses"] == 0
    deadline = time.monotonic() + 20
    while office.shown(licence)["uses"] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert office.shown(licence)["uses"] == 1


def test_slow_holds_nobody_else_up(office: Any, licence: Any, plan: Any) -> None:
    plan.add(Fault("slow", path="increment-usage", seconds=WAIT))
    replies: list[httpx.Response] = []
    started = time.monotonic()
    waiting = threading.Thread(target=lambda: replies.append(use(office, licence)))
    waiting.start()
    while plan.waiting():
        time.sleep(0.005)
    assert office.shown(licence)["uses"] == 0
    assert not replies
    waiting.join()
    assert time.monotonic() - started >= WAIT
    assert replies[0].status_code == 200
    assert office.shown(licence)["uses"] == 1


def test_faults_choose_their_requests(office: Any, licence: Any, plan: Any) -> None:
    sim = f"{office.server.url}/_sim/faults"
    with office.asking(signed=False) as client:
        ordered = {"kind": "status", "method": "POST", "path": "/increment", "times": 2}
        assert client.post(sim, json=ordered).status_code == 200
        client.post(sim, json={"kind": "status", "path": "/increment", "times": -1, "status": 502})
        assert office.shown(licence)["uses"] == 0
        statuses = [use(office, licence).status_code for _ in range(4)]
        assert statuses == [503, 503, 502, 502]
        assert [one["status"] for one in client.get(sim).json()["faults"]] == [502]
        assert client.delete(sim).json() == {"faults": []}
    assert use(office, licence).status_code == 200


@pytest.mark.parametrize(
    ("ordered", "said"),
    [
        ({"kind": "explode"}, "kind must be one of"),
        ({"kind": "status", "when": "now"}, "a fault is an object with some of"),
        ({"kind": "status", "times": "two"}, "times is not int"),
        ([], "a fault is an object"),
    ],
)
def test_impossible_faults_are_explained(office: Any, ordered: Any, said: str) -> None:
    with office.asking(signed=False) as client:
        reply = client.post(f"{office.server.url}/_sim/faults", json=ordered)
    assert reply.status_code == 400
    assert said in reply.json()["error"]


def test_requests_are_remembered_without_what_they_hold(office: Any, licence: Any) -> None:
    office.server.controls.seen.clear()
    office.server.controls.faults.add(Fault("no-request"))
    with pytest.raises(httpx.TransportError):
        use(office, licence)
    use(office, licence)
    with office.asking(signed=False) as client:
        sim = f"{office.server.url}/_sim/requests"
        seen = client.get(sim).json()["requests"]
        path = f"/v1/accounts/{office.server.account}/licenses/{licence['id']}/actions"
        path += "/increment-usage"
        assert seen == [
            {"method": "POST", "path": path, "status": None},
            {"method": "POST", "path": path, "status": 200},
        ]
        assert client.delete(sim).json() == {"requests": []}


def test_the_clock_rules_expiry_and_dates(office: Any) -> None:
    sim = f"{office.server.url}/_sim/clock"
    with office.asking(signed=False) as client:
        now = client.post(sim, json={"frozen": "2031-01-01T00:00:00Z"}).json()["now"]
        assert now == "2031-01-01T00:00:00+00:00"
        licence = office.licence(expiry="2031-01-01T00:00:10.000Z")
        assert office.validate(licence)["valid"]
        client.post(sim, json={"advance_seconds": 11})
        assert office.validate(licence)["code"] == "EXPIRED"
        reply = office.admin.get("me")
        assert reply.headers["date"] == "Wed, 01 Jan 2031 00:00:11 GMT"
        moved = client.post(sim, json={"now": "2040-01-01T00:00:00+00:00"}).json()["now"]
        assert datetime.fromisoformat(moved).year == 2040
        assert office.server.controls.clock.now() > datetime(2040, 1, 1, tzinfo=UTC)
        reset = datetime.fromisoformat(client.post(sim, json={"reset": True}).json()["now"])
        assert abs(reset - datetime.now(UTC)) < timedelta(minutes=1)
        for wrong in ({}, {"advance_seconds": "x"}, {"now": "soon"}, {"advance_seconds": 1e300}):
            assert client.post(sim, json=wrong).status_code == 400
