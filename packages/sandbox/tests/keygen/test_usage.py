"""Uses and machines are counted right, whoever counts at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

AT_ONCE = 20
STEPS = st.lists(st.tuples(st.booleans(), st.integers(-4, 12)), max_size=12)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.one_of(st.none(), st.integers(0, 15)), steps=STEPS)
def test_uses_stay_between_nothing_and_the_limit(office: Any, limit: Any, steps: Any) -> None:
    policy = office.made["policy"] = office.made.get("policy") or office.policy()
    licence, uses = office.licence(policy, maxUses=limit), 0
    for up, step in steps:
        action = "increment" if up else "decrement"
        path = f"licenses/{licence['id']}/actions/{action}-usage"
        reply = office.admin.post(path, json={"meta": {action: step}})
        wanted = uses + (step if up else -step)
        allowed = wanted >= 0 and (limit is None or wanted <= limit)
        assert reply.status_code == (200 if allowed else 422), reply.text
        uses = wanted if allowed else uses
        assert office.shown(licence)["uses"] == uses


def at_once(office: Any, licence: Any, ask: Any) -> list[Any]:
    """The replies to the same request from many connections at the same moment."""
    together = Barrier(AT_ONCE)

    def one(_: int) -> Any:
        with office.asking(f"License {licence['attributes']['key']}") as client:
            client.get("me")
            together.wait()
            return ask(client)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_ten_uses_are_ten_successes(office: Any, codes: Any) -> None:
    licence = office.licence(maxUses=10)
    path = f"licenses/{licence['id']}/actions/increment-usage"
    replies = at_once(office, licence, lambda client: client.post(path))
    assert sorted(reply.status_code for reply in replies) == [200] * 10 + [422] * 10
    assert {codes(reply)[0][0] for reply in replies if not reply.is_success} == {
        "USES_LIMIT_EXCEEDED"
    }
    counted = {reply.json()["data"]["attributes"]["uses"] for reply in replies if reply.is_success}
    assert counted == set(range(1, 11))
    assert office.shown(licence)["uses"] == 10


def test_one_fingerprint_is_one_machine(office: Any, codes: Any) -> None:
    licence = office.licence(office.policy(floating=True))
    related = office.relations({"license": ("licenses", licence["id"])})
    data = {"type": "machines", "attributes": {"fingerprint": "A"}, "relationships": related}
    replies = at_once(office, licence, lambda client: client.post("machines", json={"data": data}))
    assert sorted(reply.status_code for reply in replies) == [201] + [422] * (AT_ONCE - 1)
    wrong = {codes(reply)[0][0] for reply in replies if not reply.is_success}
    assert wrong == {"FINGERPRINT_TAKEN"}
    assert len(office.ask("GET", f"licenses/{licence['id']}/machines", "admin").json()["data"]) == 1


@pytest.mark.parametrize(
    ("meta", "status"),
    [
        ({"increment": "1"}, 400),
        ({"increment": 1.5}, 400),
        ({"increment": True}, 400),
        ({"increment": None}, 400),
        ({"decrement": 1}, 400),
        ({"increment": 2**31}, 400),
        ({}, 200),
        ({"increment": 0}, 200),
    ],
)
def test_what_an_increment_may_be(office: Any, meta: Any, status: int) -> None:
    licence = office.licence()
    path = f"licenses/{licence['id']}/actions/increment-usage"
    assert office.ask("POST", path, "admin", meta=meta).status_code == status
