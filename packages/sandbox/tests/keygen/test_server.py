"""The server itself: who it says it is, what it keeps, where it listens, how much it takes."""

from __future__ import annotations

import itertools
import json
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from shimmy_sandbox.keygen.server import serve_keygen
from shimmy_sandbox.simulation.controls import Controls
from shimmy_sandbox.simulation.state_file import StateError

LICENSOR = Path(__file__).parents[4] / "contracts" / "sandbox-licensor.json"
JSON = "application/json; charset=utf-8"


def test_it_is_the_licensor_that_sandbox_builds_pin(office: Any) -> None:
    licensor = json.loads(LICENSOR.read_text(encoding="utf-8"))
    server = office.server
    assert server.account == licensor["account"]
    assert server.product == licensor["product"]
    assert server.public_key == licensor["public_key"]
    assert server.url == f"http://127.0.0.1:{server.port}"


def test_the_account_has_an_id_a_slug_and_is_the_only_one(office: Any) -> None:
    licence = office.licence()
    bearer = {"Authorization": f"Bearer {office.server.admin_token}"}
    with office.asking() as client:
        for prefix in (f"accounts/{office.server.account}/", "accounts/shimmy-sandbox/", ""):
            url = f"{office.server.url}/v1/{prefix}licenses/{licence['id']}"
            assert client.get(url, headers=bearer).json()["data"]["id"] == licence["id"]
        shown = client.get(f"{office.server.url}/v1/accounts/shimmy-sandbox", headers=bearer)
        assert shown.json()["data"]["id"] == office.server.account
    with office.asking(signed=False) as client:
        for path in ("/v1/accounts/nobody/me", "/v1/nothing", "/v2/me", "/", "/v1"):
            reply = client.get(f"{office.server.url}{path}", headers=bearer)
            assert (reply.status_code, reply.json()["errors"][0]["code"]) == (404, "NOT_FOUND")
            assert "keygen-signature" not in reply.headers


def test_state_outlives_the_server(tmp_path: Path) -> None:
    path, empty = tmp_path / "state.sqlite", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sent = {"data": {"type": "products", "attributes": {"name": "Kept"}}}
    with serve_keygen(path) as server:
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        url = f"{server.url}/v1/products"
        made = httpx.post(url, json=sent, headers=headers, verify=empty).json()["data"]
    assert [one.name for one in tmp_path.iterdir()] == ["state.sqlite"]
    with serve_keygen(path) as again:
        url = f"{again.url}/v1/products/{made['id']}"
        shown = httpx.get(url, headers=headers, verify=empty).json()["data"]
        assert (shown, again.public_key) == (made, server.public_key)


KILLED = """
import sys
from shimmy_sandbox.keygen.server import serve_keygen
with serve_keygen(sys.argv[1]) as server:
    print(server.url, flush=True)
    server.wait()
"""


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "state.sqlite", set()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    headers = {"Authorization": "Bearer sandbox-admin-not-a-secret"}
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with process, httpx.Client(headers=headers, verify=empty, trust_env=False) as client:
        assert process.stdout is not None
        url = f"{process.stdout.readline().strip()}/v1/users"
        killer = threading.Timer(0.2, process.kill)
        with pytest.raises(httpx.TransportError):
            for number in itertools.count():
                if number == 1:
                    killer.start()
                attributes = {"email": f"{number}@example.test"}
                sent = {"data": {"type": "users", "attributes": attributes}}
                acknowledged.add(client.post(url, json=sent).json()["data"]["id"])
        killer.join()
    with sqlite3.connect(path) as connection:
        kept = {identifier for (identifier,) in connection.execute("SELECT id FROM users")}
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert acknowledged
    assert acknowledged <= kept
    assert len(kept - acknowledged) <= 1, "at most the request that was under way"


def test_only_this_machine_is_served(office: Any) -> None:
    """Another loopback address is as foreign to it as another machine's."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", office.server.port), timeout=5)


def test_a_port_in_use_is_an_error(office: Any) -> None:
    with pytest.raises(OSError, match="in use"), serve_keygen(":memory:", office.server.port):
        pass


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "text", tmp_path / "other.sqlite"
    text.write_text("not a database, but long enough to look like one" * 20, encoding="utf-8")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (thing)")
    connection.close()
    for path in (text, other, tmp_path / "missing" / "folder"):
        with pytest.raises(StateError, match=path.name), serve_keygen(path):
            pass
    assert text.read_text(encoding="utf-8").startswith("not a database")


def test_requests_are_rationed_by_the_minute(office: Any) -> None:
    clock, url = office.server.controls.clock, office.server.url
    clock.freeze(datetime(2030, 1, 1, 0, 0, 20, tzinfo=UTC))
    bearer = f"License {office.licence()['attributes']['key']}"
    with office.asking(bearer, signed=False) as client:
        assert client.get(f"{url}/_sim/rate-limit").json() == {"requests_per_minute": 100_000}
        client.post(f"{url}/_sim/rate-limit", json={"requests_per_minute": 2})
        said = [client.get("me") for _ in range(3)]
        assert [reply.status_code for reply in said] == [200, 200, 429]
        left = [reply.headers["x-ratelimit-remaining"] for reply in said]
        assert left == ["1", "0", "0"]
        refused = said[2].headers
        assert refused["retry-after"] == "40"
        assert refused["x-ratelimit-limit"] == "2"
        assert refused["x-ratelimit-window"] == "1m"
        end = int(datetime(2030, 1, 1, 0, 1, tzinfo=UTC).timestamp())
        assert refused["x-ratelimit-reset"] == str(end)
        # Another credential has an allowance of its own, and the next minute a new one.
        assert client.get("me", headers={"Authorization": "License x"}).status_code == 401
        clock.advance(timedelta(seconds=40))
        assert client.get("me").status_code == 200
        for wrong in ({}, {"requests_per_minute": "many"}, {"requests_per_minute": -1}):
            assert client.post(f"{url}/_sim/rate-limit", json=wrong).status_code == 400


def test_media_types_and_versions(office: Any) -> None:
    reply = office.admin.get("me")
    assert reply.headers["content-type"] == "application/vnd.api+json; charset=utf-8"
    assert reply.headers["keygen-version"] == "1.8"
    plain = office.admin.get("me", headers={"Accept": "application/json"})
    assert plain.headers["content-type"] == JSON
    both = "application/json, application/vnd.api+json"
    assert "vnd" in office.admin.get("me", headers={"Accept": both}).headers["content-type"]
    assert office.admin.get("me", headers={"Keygen-Version": "1.7"}).status_code == 200
    old = office.admin.get("me", headers={"Keygen-Version": "1.1"})
    assert old.json()["errors"][0]["code"] == "INVALID_API_VERSION"


def test_controls_can_be_brought_along() -> None:
    controls = Controls()
    controls.clock.freeze(datetime(2031, 1, 1, tzinfo=UTC))
    with serve_keygen(":memory:", controls=controls) as server:
        assert server.controls is controls
        empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        now = httpx.get(f"{server.url}/_sim/clock", verify=empty).json()["now"]
    assert now == "2031-01-01T00:00:00+00:00"


def test_a_path_is_signed_as_it_was_sent(office: Any) -> None:
    """The clients here check each signature against the path they sent, escapes and all."""
    licence = office.licence(key="a key/with?odd#signs%2F")
    path = "licenses/a%20key%2Fwith%3Fodd%23signs%252F"
    reply = office.admin.get(f"{path}?limit=%31&x=%7e~&y")
    assert reply.json()["data"]["id"] == licence["id"]
    assert office.admin.post(f"{path}/actions/suspend").status_code == 200
    assert office.admin.delete(path).status_code == 204
