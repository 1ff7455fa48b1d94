"""The store as a Worker: the deployed bundle on Pyodide, bought from over HTTP, by real clocks.

A customer's whole way is told in test_store_journey.py, which this bundle is visited by as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from hosts_of_tests import inside_pyodide
from operating import operator
from pyodide_host import ROOT, Pyodide, PyodideHost, open_worker, run_tests
from store_server import Store, eventually, key_on
from visiting import licence_at_keygen

from shimmy_sandbox.simulation.faults import Fault

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

OUTAGE = Fault("status", path="/v1/", times=-1, status=503)
RECONCILING = "*/15 * * * *"
EVERY_MINUTE = "* * * * *"


def _mail(store: Store, to: str, words: str) -> str:
    """As ``Store.mail``, and time only passes by itself: a Worker's clock cannot be moved."""

    def look() -> str | None:
        return next((one["text"] for one in store.mails(to) if words in one["text"]), None)

    return eventually(look, 60)


def _idle(store: Store, host: PyodideHost) -> None:
    """Stripe has told all that it has to tell, and what that left to do is done."""
    eventually(store.all_came)
    host.idle()


@pytest.fixture(scope="module")
def worker(
    pyodide: Pyodide, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, PyodideHost]]:
    """One Worker for all stories."""
    with open_worker(pyodide, tmp_path_factory.mktemp("worker")) as opened:
        yield opened


def test_the_stores_own_tests_pass_on_pyodide(pyodide: Pyodide) -> None:
    done = run_tests(pyodide, inside_pyodide())
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 960


def test_a_tab_closed_too_early_is_made_good_by_the_webhook(
    worker: tuple[Store, PyodideHost],
) -> None:
    store, _ = worker
    visitor = store.visitor()
    store.pay(visitor.open("/buy?plan=startup").headers["location"], "closed@example.com")
    key = re.search(r"[A-Z0-9]+(-[A-Z0-9]+){3,}", _mail(store, "closed@example.com", "licence"))
    assert key
    assert licence_at_keygen(store, key[0])["attributes"]["metadata"]["plan"] == "startup"


def test_what_no_webhook_told_is_found_by_the_clock(worker: tuple[Store, PyodideHost]) -> None:
    store, host = worker
    page = store.buy("developer", "missed@example.com")
    key = key_on(page.text)
    _idle(store, host)
    # Nothing is delivered any more: only the slower clock looks at customers by itself.
    endpoint = store.town.sdk.v1.webhook_endpoints.list().data[0]
    store.town.sdk.v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    licence = licence_at_keygen(store, key)
    customer = licence["attributes"]["metadata"]["customer"]
    charge = store.town.sdk.v1.charges.list({"customer": customer}).data[0]
    store.town.sdk.v1.refunds.create({"charge": charge.id})
    host.idle()
    assert not licence_at_keygen(store, key)["attributes"]["suspended"]
    host.tick(RECONCILING)
    assert licence_at_keygen(store, key)["attributes"]["suspended"]
    host.tick(EVERY_MINUTE)
    assert "refunded" in _mail(store, "missed@example.com", "refunded")
    store.town.sdk.v1.webhook_endpoints.update(endpoint.id, {"disabled": False})


HOSTILE = [
    # Parsed, it would end in the engine's stack and take the isolate with it.
    ("/create-checkout-session", b"[" * 60_000, {"Content-Type": "application/json"}, 400),
    ("/view-license", b'{"key":' * 9_000, {"Content-Type": "application/json"}, 400),
    ("/create-checkout-session", b"x" * 70_000, {"Content-Type": "application/json"}, 413),
    ("/create-checkout-session", b"9" * 60_000, {"Content-Type": "application/json"}, 400),
    ("/create-checkout-session", b"a=1&" * 15_000, {}, 400),
    ("/stripe-webhook", b"[" * 2_000_000, {"Stripe-Signature": "t=1,v1=00"}, 400),
    ("/stripe-webhook", b"[" * 3_000_000, {"Stripe-Signature": "t=1,v1=00"}, 413),
    ("/sign-out", b"", {"Origin": "https://evil.example.com"}, 403),
    ("/operator/restore", b"x", {"Authorization": "Bearer wrong"}, 401),
]


@pytest.mark.parametrize(("path", "body", "headers", "status"), HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_a_stranger_sends_ends_the_isolate(
    worker: tuple[Store, PyodideHost], path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    store, _ = worker
    client = store.visitor().client
    answer = client.post(path, content=body, headers={"Accept": "*/*", **headers})
    assert answer.status_code == status, answer.text
    assert client.get("/pricing").status_code == 200


def test_the_operator_sees_figures_and_takes_a_whole_dump(
    worker: tuple[Store, PyodideHost],
) -> None:
    store, host = worker
    store.buy("developer", "counted@example.com")
    _idle(store, host)
    with operator(store) as client:
        figures = client.get("/figures?hours=1").json()
        dump = client.get("/dump").text.splitlines()
    assert figures["customers"]["with_licence"] >= 1
    assert figures["events"]["by_state"].get("pending", 0) == 0
    assert json.loads(dump[0])["format"] == "shimmy-ledger"
    assert any("counted@example.com" in line for line in dump)


def test_what_was_acknowledged_outlives_a_power_cut(worker: tuple[Store, PyodideHost]) -> None:
    store, host = worker
    keygen = store.town.keygen.controls
    keygen.faults.add(OUTAGE)
    visitor = store.visitor()
    store.pay(visitor.open("/buy?plan=developer").headers["location"], "cut@example.com")
    with operator(store) as client:
        eventually(lambda: client.get("/figures").json()["events"]["by_state"].get("pending"))
    # Who is killed at work keeps the customer for as long as a lease lasts.
    host.idle()
    host.kill()
    keygen.faults.clear()
    host.start()
    assert store.mails("cut@example.com") == []

    def mailed() -> bool:
        host.tick(EVERY_MINUTE)
        return bool(store.mails("cut@example.com"))

    eventually(mailed, 60)


def test_the_log_names_no_key_and_no_address(
    worker: tuple[Store, PyodideHost], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, host = worker
    page = store.buy("developer", "quiet@example.com")
    _idle(store, host)
    log = (tmp_path_factory.getbasetemp() / "worker0" / "worker.log").read_text()
    assert '"event": "request"' in log
    for said in (key_on(page.text), "quiet@example.com", store.settings.stripe_key, "cus_"):
        assert said not in log
    told = [json.loads(line) for line in log.splitlines() if line.startswith('{"time"')]
    kept = {one["event_id"]: one for one in told if one["event"] == "event-kept"}
    delivered = {one["event_id"]: one for one in told if "event_id" in one and "endpoint" in one}
    settled = {one["event_id"] for one in told if one["event"] == "event-settled"}
    due = {name for name, one in kept.items() if one["state"] == "pending"}
    assert due, "requests side by side in one isolate keep their ids apart"
    assert due <= settled
    assert all(delivered[name]["request_id"] == kept[name]["request_id"] for name in due)


def test_the_clock_of_the_entry_point_is_the_one_of_the_configuration() -> None:
    place = ROOT / "packages/store/cloudflare"
    entry = (place / "src/entry.py").read_text()
    told = re.search(r'^RECONCILING = "(.+)"$', entry, re.M)
    assert told
    assert told[1] == RECONCILING
    crons = re.findall(r'"crons": (\[.*?\])', (place / "wrangler.jsonc").read_text())
    assert len(crons) == 2
    assert all(json.loads(one) == [EVERY_MINUTE, RECONCILING] for one in crons)
