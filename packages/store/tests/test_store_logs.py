"""Log lines: everything that happens leaves some, and none holds what is anybody's."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_server import SECRET, Store, Visitor, key_on, open_store
from visiting import Door, activate, ask_for_link, at_door, offer_of_merge, program

from shimmy_sandbox.simulation.faults import Fault
from shimmy_store.domain.private_words import is_event_id, is_request_id
from shimmy_store.server import logs
from shimmy_store.server.logs import JsonFormatter, logger_of, start_logging

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

EMAIL, OTHER, WRONG = "private@example.com", "guessed@elsewhere.example", "WRONG-KEY-OF-TESTS"
# Ids of Stripe's objects, and anything that could be part of an address of a request. The id of
# an event may stand in its own field.
IDS = re.compile(r"\b(cus|cs|sub|pi|ch|in|evt|price|bps|seti|pm)_\w{6,}|whsec_|sk_test|[?&]\w+=")


@contextmanager
def heard() -> Iterator[list[logging.LogRecord]]:
    """Logging as the store starts it, with an ear at the root that hears every level."""
    records: list[logging.LogRecord] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quieted = (*logs._TALKATIVE, *logs._SILENT)
    levels = {name: logging.getLogger(name).level for name in quieted}
    try:
        start_logging(io.StringIO())
        root.addHandler(Ear(logging.NOTSET))
        root.setLevel(1)
        yield records
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, one in levels.items():
            logging.getLogger(name).setLevel(one)


def everything_once(store: Store) -> set[str]:
    """A purchase, signing in, a machine, a merge, signing out and all kinds of errors.

    Returns what must be in no line.
    """
    visitor = store.visitor()
    page = store.buy("startup", EMAIL, visitor)
    small = key_on(store.buy("developer", EMAIL).text)
    key = key_on(page.text)
    private = {key, small, EMAIL, OTHER, WRONG, SECRET, *visitor.client.cookies.values()}
    private.add(activate(store, key, "A private machine"))
    browser = store.visitor()
    path = ask_for_link(store, browser, EMAIL)
    offer = offer_of_merge(store, EMAIL)
    private |= {path.partition("token=")[2], offer.partition("token=")[2]}
    for one in (visitor, browser):
        one.open(path)
        one.open(path)
    private |= set(browser.client.cookies.values())
    browser.open("/view-license")
    browser.submit("/create-portal-session")
    browser.open(offer)
    browser.submit("/merge")
    store.settle()
    go_wrong(store, browser, key)
    browser.open("/view-license")
    browser.submit("/sign-out")
    return private


def go_wrong(store: Store, browser: Visitor, key: str) -> None:
    with program(store) as client:
        client.post("/view-license", json={"key": WRONG})
        client.post("/view-license", json={"email": OTHER})
        client.post("/view-license", json={"email": f"{EMAIL}\n"})
        client.post("/view-license", content=f'{{"email": "{EMAIL}"'.encode())
        client.post("/stripe-webhook", content=b'{"customer": "cus_abcdefghij"}')
        client.get(f"/{key}?token={key}&email={EMAIL}", headers={"Authorization": key})
        client.get(f"/success?session_id=cs_test_unknown&key={key}")
        client.request("PUT", f"/merge?token={key}")
    for side in (store.town.payments, store.town.keygen):
        for kind in ("status", "no-reply"):
            side.controls.faults.add(Fault(kind, path="/v1/", times=4, status=500))
            browser.open("/view-license")
            browser.open("/buy?plan=developer")
            signed_out = store.visitor()
            signed_out.open("/view-license")
            signed_out.submit("/view-license", key=key)
            side.controls.faults.clear()
    crash(store, key)


def crash(store: Store, key: str) -> None:
    """A bug whose error repeats what must not be repeated, in a page and in the work behind."""

    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(f"{name} of {key} for {EMAIL}")

    async def act(door: Door) -> None:
        door.app.state.shop = replace(door.app.state.shop, holdings=Broken())
        async with door.visitor() as visitor:
            assert (await visitor.post("/view-license", json={"key": key})).status_code == 500
        room = door.app.state.workroom
        room._shop = replace(room._shop, office=Broken(), fulfilment=Broken())
        room.start()
        async with door.visitor("127.0.0.1") as visitor:
            for _ in range(3000):
                if (await visitor.get("/metrics")).text.count("_rounds_failed_total{") >= 2:
                    return
                await asyncio.sleep(0.02)
        raise AssertionError("the work went on")

    at_door(store, act)


def test_no_line_holds_what_is_anybodys(tmp_path: Path) -> None:
    with heard() as records, open_store(tmp_path) as store:
        private = everything_once(store)
    assert len(private) >= 10
    # The sandbox runs in this process, too: its lines are not the store's.
    lines = [(one, JsonFormatter().format(one)) for one in records]
    lines = [(one, line) for one, line in lines if not one.name.startswith("shimmy_sandbox")]
    events = {json.loads(line)["event"] for _, line in lines}
    assert {"request", "error", "crash", "round-crashed", "event-kept", "event-settled"} <= events
    for record, line in lines:
        for word in private:
            assert word not in line, record.name
            assert word not in record.getMessage(), record.name
        assert not IDS.search(without_ids(line)), (record.name, line)
    ours = [line for one, line in lines if one.name.startswith("shimmy_store")]
    assert len(ours) > 30
    for line in ours:
        assert set(json.loads(line)) <= {
            *("time", "level", "logger", "event"),
            *("endpoint", "method", "status", "milliseconds"),
            *("code", "error", "work", "type", "state"),
            *("request_id", "event_id"),
        }


def without_ids(line: str) -> str:
    """What else a line has than the two ids that may stand in it, which have their form."""
    told = json.loads(line)
    assert is_event_id(told.pop("event_id", "evt_000000")), line
    assert is_request_id(told.pop("request_id", "x")), line
    return json.dumps(told)


def test_an_exception_is_told_by_kind_and_place_and_not_by_its_words() -> None:
    with heard() as records:
        try:
            int(f"the key {WRONG} of {EMAIL}")
        except ValueError:
            logging.getLogger("anything").exception("went wrong")
    (record,) = records
    told = json.loads(JsonFormatter().format(record))
    assert told["error"] == "ValueError"
    assert told["at"].startswith("test_an_exception_is_told")
    assert WRONG not in str(told)
    assert EMAIL not in str(told)


def test_libraries_that_write_addresses_are_silent() -> None:
    with heard() as records:
        for name in ("httpx", "httpcore.http11", "stripe", "uvicorn.access", "aiosmtplib"):
            logging.getLogger(name).info("GET /v1/customers/cus_123456789")
            logging.getLogger(name).debug("GET /v1/customers/cus_123456789")
    assert records == []


def test_a_line_is_one_object_of_json() -> None:
    stream = io.StringIO()
    with heard():
        start_logging(stream)
        logger_of("shimmy_store.requests").info("request", status=200, method="G\nT")
        logging.getLogger("other").warning("two\nlines %s", "and \u2028 more")
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [
        "request",
        "two\nlines and \u2028 more",
    ]


def test_what_serves_leaves_no_dump_of_a_crash() -> None:
    """It would hold keys and addresses."""
    script = (
        "import resource\n"
        "from shimmy_store.cli import serve\n"
        "_, most = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        "serve.read_settings = lambda: exit(resource.getrlimit(resource.RLIMIT_CORE)[0] != 0)\n"
        "serve.run(None)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
