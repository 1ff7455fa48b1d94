"""Whatever is wanted, from whatever state, through whatever faults: one licence, as wanted."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen
from shimmy_sandbox.keygen.shop import policy_id, stock_shop
from shimmy_sandbox.simulation.faults import Fault
from shimmy_store.adapters.keygen_licences import KeygenLicences
from shimmy_store.adapters.keygen_wire import KeygenWire
from shimmy_store.domain.catalog import PLAN_IDS, PlanId
from shimmy_store.domain.convergence import IssuedLicence, ResetPages, plan_convergence
from shimmy_store.domain.fulfilment import Licence, licence_id
from shimmy_store.errors import LicensingError
from shimmy_store.use_cases.converge_licence import converge_licence

PLANS = json.loads((Path(__file__).resolve().parents[3] / "contracts/plans.json").read_text())
START = datetime(2026, 11, 25, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
POLICIES: dict[PlanId, str] = {plan: policy_id(plan) for plan in PLAN_IDS}


class PowerCut(BaseException):
    """The process ends here."""


@dataclass
class Office:
    """Keygen, and the store's hands on it."""

    server: KeygenServer
    cut_after: int | None = None
    asked: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return self.server.controls.clock.now()

    def run(self, work: Callable[[KeygenLicences], Awaitable[Any]]) -> Any:
        return asyncio.run(self._run(work))

    async def _run(self, work: Callable[[KeygenLicences], Awaitable[Any]]) -> Any:
        server = self.server
        async with httpx.AsyncClient(
            base_url=f"{server.url}/v1/accounts/{server.account}/",
            headers={"Authorization": f"Bearer {server.admin_token}"},
            event_hooks={"request": [self._count]},
            trust_env=False,
            timeout=5,
        ) as client:
            return await work(KeygenLicences(KeygenWire(client), POLICIES))

    async def _count(self, request: httpx.Request) -> None:
        self.asked.append(f"{request.method} {request.url.path.rpartition('/')[2]}")
        if self.cut_after is not None:
            if self.cut_after == 0:
                raise PowerCut
            self.cut_after -= 1

    def converge(self, wanted: Licence, customer: str = "cus_1") -> IssuedLicence:
        issued: IssuedLicence = self.run(
            lambda licences: converge_licence(wanted, customer, licences, self.now)
        )
        return issued

    def uses(self, wanted: Licence, *, add: int = 0) -> int:
        server = self.server
        base = f"{server.url}/v1/accounts/{server.account}/licenses/{wanted.id}"
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        with httpx.Client(headers=headers, trust_env=False) as client:
            for _ in range(add):
                assert client.post(f"{base}/actions/increment-usage").is_success
            return int(client.get(base).json()["data"]["attributes"]["uses"])


@pytest.fixture(scope="module")
def server() -> Iterator[KeygenServer]:
    with serve_keygen(":memory:") as opened:
        stock_shop(opened, PLANS["plans"])
        yield opened


@pytest.fixture
def office(server: KeygenServer) -> Office:
    server.controls.faults.clear()
    server.controls.clock.freeze(START)
    return Office(server)


def wanted(
    plan: PlanId = "developer", *, origin: str | None = None, months: int = 0, **more: Any
) -> Licence:
    start = START + months * MONTH
    identity = licence_id(origin or f"sub_{uuid.uuid4()}")
    basis = Licence(
        identity, plan, "sub_1", start + MONTH + timedelta(days=3), (start, start + MONTH), None
    )
    return replace(basis, **more)


def check(issued: IssuedLicence, licence: Licence, customer: str = "cus_1") -> None:
    assert (issued.id, issued.plan, issued.expiry) == (licence.id, licence.plan, licence.expiry)
    assert issued.suspended == (licence.suspended is not None)
    assert issued.metadata["customer"] == customer
    assert plan_convergence(licence, customer, issued, START) == ()
    if licence.month is not None:
        assert issued.metadata["pages_period_start"] == licence.month[0].isoformat()
        assert issued.metadata["pages_reset_for"] == licence.month[0].isoformat()


def test_a_licence_is_made_once_and_then_only_looked_at(office: Office) -> None:
    licence = wanted("startup")
    issued = office.converge(licence)
    check(issued, licence)
    assert issued.key
    office.asked.clear()
    assert office.converge(licence) == issued
    assert office.asked == [f"GET {licence.id}"]


def test_a_new_month_announces_resets_and_notes(office: Office) -> None:
    licence = wanted()
    office.converge(licence)
    assert office.uses(licence, add=3) == 3
    renewed = replace(wanted(months=1), id=licence.id)
    office.asked.clear()
    issued = office.converge(renewed)
    check(issued, renewed)
    assert office.uses(renewed) == 0
    assert [one.partition(" ")[2] for one in office.asked if not one.startswith("GET")] == [
        str(licence.id),
        "reset-usage",
        str(licence.id),
    ]
    assert issued.metadata["pages_reset_at"] == START.isoformat()


def test_a_plan_change_within_the_month_keeps_the_count(office: Office) -> None:
    licence = wanted()
    office.converge(licence)
    office.uses(licence, add=2)
    larger = replace(licence, plan="startup")
    check(office.converge(larger), larger)
    assert office.uses(larger) == 2


def test_access_ends_before_anything_else_and_begins_after_it(office: Office) -> None:
    licence = wanted()
    office.converge(licence)
    office.asked.clear()
    suspended = replace(licence, suspended="refunded", plan="professional")
    check(office.converge(suspended), suspended)
    changes = [one for one in office.asked if not one.startswith("GET")]
    assert changes[0] == "POST suspend"
    office.asked.clear()
    again = replace(licence, plan="startup")
    check(office.converge(again), again)
    assert [one for one in office.asked if not one.startswith("GET")][-1] == "POST reinstate"


def test_another_customers_licence_is_left_alone(office: Office) -> None:
    licence = wanted()
    before = office.converge(licence, "cus_1")
    with pytest.raises(LicensingError) as refused:
        office.converge(replace(licence, plan="enterprise"), "cus_2")
    assert (refused.value.code, refused.value.retryable) == ("licence-not-ours", False)
    assert office.converge(licence, "cus_1") == before


def test_what_an_operator_wrote_into_the_metadata_stays(office: Office) -> None:
    licence = wanted()
    issued = office.converge(licence)
    noted = replace(issued, metadata={**issued.metadata, "ticket": "4711"})
    steps = plan_convergence(replace(licence, plan="startup"), "cus_1", noted, START)
    assert steps
    assert plan_convergence(licence, "cus_1", noted, START) == ()


def test_an_old_announcement_is_renewed_before_the_reset(office: Office) -> None:
    """Machines hold reports back for five minutes: a reset that comes later must say so again."""
    licence, renewed = wanted(), wanted(months=1)
    renewed = replace(renewed, id=licence.id)
    office.converge(licence)
    office.cut_after = 2  # find, announce, and there the power goes
    with pytest.raises(PowerCut):
        office.converge(renewed)
    office.cut_after = None
    for minutes, announced in ((3, START), (9, START + timedelta(minutes=9))):
        office.server.controls.clock.freeze(START + timedelta(minutes=minutes))
        issued = office.run(lambda licences: licences.find(licence.id))
        steps = plan_convergence(renewed, "cus_1", issued, office.now())
        assert (steps[0] == ResetPages()) == (minutes == 3)
        final = steps[-1]
        assert getattr(final, "metadata")["pages_reset_at"] == announced.isoformat()  # noqa: B009


def test_two_at_once_make_one_licence(office: Office) -> None:
    licence = wanted()

    async def both(licences: KeygenLicences) -> list[IssuedLicence]:
        works = (converge_licence(licence, "cus_1", licences, office.now) for _ in range(8))
        return await asyncio.gather(*works)

    results = office.run(both)
    assert len({one.key for one in results}) == 1
    check(results[0], licence)


STATES = st.builds(
    lambda plan, months, suspended: (plan, months, suspended),
    st.sampled_from(PLAN_IDS),
    st.integers(0, 2),
    st.sampled_from([None, None, "refunded", "unpaid"]),
)
FAULTS = st.builds(
    Fault,
    st.sampled_from(["no-request", "no-reply", "status", "status-after"]),
    times=st.integers(1, 3),
    status=st.sampled_from([500, 503, 429]),
)


@settings(max_examples=60)
@given(
    states=st.lists(STATES, min_size=1, max_size=4),
    faults=st.lists(FAULTS, max_size=4),
    cuts=st.lists(st.integers(0, 6), max_size=3),
)
def test_any_way_there_through_faults_and_power_cuts(
    server: KeygenServer,
    states: list[tuple[PlanId, int, Any]],
    faults: list[Fault],
    cuts: list[int],
) -> None:
    server.controls.faults.clear()
    server.controls.clock.freeze(START)
    office, origin = Office(server), f"sub_{uuid.uuid4()}"
    for plan, months, suspended in states:
        target = wanted(plan, origin=origin, months=months, suspended=suspended)
        server.controls.faults.add(*faults)
        issued = None
        for cut in [*cuts, *[None] * 20]:
            office.cut_after = cut
            try:
                issued = office.converge(target)
            except (LicensingError, PowerCut) as error:
                assert not isinstance(error, LicensingError) or error.retryable
                continue
            break
        assert issued is not None
        check(issued, target)
        server.controls.faults.clear()
    with httpx.Client(trust_env=False) as client:
        found = client.get(
            f"{server.url}/v1/accounts/{server.account}/licenses/{licence_id(origin)}",
            headers={"Authorization": f"Bearer {server.admin_token}"},
        )
    assert found.status_code == 200
