"""Keygen clients written by others, unmodified, agree with our licence server.

keygen-py is the Rust SDK keygen-rs in a wheel: its own HTTP, Ed25519 and AES-GCM.
keygen-sdk follows Keygen's own Go SDK and checks the signature of every reply,
errors and empty ones too.

Both, as the Go SDK, check the host with its port, while Keygen signs it without.
So they must meet the server on port 80: they reach it as ``licences.test`` through
a forward proxy, which is also where replies are forged.
"""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import keygen
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from keygen import errors
from keygen_sh import validate, verify  # type: ignore[import-untyped]
from keygen_sh._errors import KeygenError as RustError  # type: ignore[import-untyped]
from keygen_sh.config import KeygenConfig, set_config  # type: ignore[import-untyped]
from keygen_sh.license import License, SchemeCode  # type: ignore[import-untyped]
from keygen_sh.license_file import LicenseFile  # type: ignore[import-untyped]
from keygen_sh.machine_file import MachineFile  # type: ignore[import-untyped]

from shimmy_sandbox.keygen.server import serve_keygen

PUBLIC_URL = "http://licences.test"
HERE, THERE = "5a" * 32, "c3" * 32
DAY = 86_400
UNVERIFIED = "^Unknown error$"  # what keygen-py 0.2.1 calls keygen-rs's KeygenSignatureInvalid


class Proxy(ThreadingHTTPServer):
    """Forwards what is sent to any host to one local port; ``forge`` may change bodies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream = ""
        self.forge: Callable[[bytes], bytes] = bytes

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Forward(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def do_DELETE(self) -> None:
        self._forward()

    def log_message(self, *_: Any) -> None:
        pass

    def _forward(self) -> None:
        asked, body = urlsplit(self.path), self.rfile.read(int(self.headers["Content-Length"] or 0))
        target = asked._replace(scheme="", netloc="").geturl()
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            connection.request(self.command, target, body, dict(self.headers.items()))
            reply = connection.getresponse()
            answer = self.server.forge(reply.read())
        finally:
            connection.close()
        self.send_response_only(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        if reply.status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@dataclass(frozen=True)
class Shop:
    """A product on a fresh server, its policy with two seats, one licence."""

    admin: httpx.Client
    proxy: Proxy
    account: str
    public_key: str
    product: str
    policy: str
    licence: str
    key: str

    def sell(self, policy: str, **attributes: Any) -> tuple[str, str]:
        """A new licence's id and key."""
        related = {"policy": {"data": {"type": "policies", "id": policy}}}
        sold = _create(self.admin, "licenses", attributes, related)
        return sold["id"], sold["attributes"]["key"]

    def use_rust(self, *, key: str | None = None, public_key: str | None = None) -> None:
        """Configures keygen-py."""
        set_config(
            KeygenConfig(
                api_url=f"{PUBLIC_URL}/v1/accounts",
                api_version="1.8",
                api_prefix=self.account,
                account=self.account,
                product=self.product,
                license_key=key or self.key,
                public_key=public_key or self.public_key,
            )
        )


@pytest.fixture(scope="session")
def proxy() -> Iterator[Proxy]:
    # One for the whole process: the Rust client reads HTTP_PROXY once, at its first request.
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def shop(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(proxy, "forge", bytes)
    with serve_keygen(tmp_path / "keygen.sqlite") as server:
        monkeypatch.setattr(proxy, "upstream", urlsplit(server.url).netloc)
        base = f"{server.url}/v1/accounts/{server.account}/"
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        with httpx.Client(base_url=base, headers=headers, trust_env=False) as admin:
            opened = _open(admin, proxy, server.account, server.public_key)
            with _configured(opened, monkeypatch):
                yield opened


def _open(admin: httpx.Client, proxy: Proxy, account: str, public_key: str) -> Shop:
    product = _create(admin, "products", {"name": "Shimmy"}, {})["id"]
    policy = _policy(admin, product)
    related = {"policy": {"data": {"type": "policies", "id": policy}}}
    licence = _create(admin, "licenses", {}, related)
    key = licence["attributes"]["key"]
    return Shop(admin, proxy, account, public_key, product, policy, licence["id"], key)


@contextmanager
def _configured(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shop.use_rust()
    settings = {
        "api_url": PUBLIC_URL,
        "api_prefix": f"v1/accounts/{shop.account}",
        "account": shop.account,
        "product": shop.product,
        "license_key": shop.key,
        "public_key": shop.public_key,
    }
    for name, value in settings.items():
        monkeypatch.setattr(keygen, name, value)
    yield
    keygen.Client().http_client.close()


def _policy(admin: httpx.Client, product: str, **attributes: Any) -> str:
    wanted = {"authenticationStrategy": "MIXED", "floating": True, "maxMachines": 2, **attributes}
    related = {"product": {"data": {"type": "products", "id": product}}}
    identifier: str = _create(admin, "policies", {"name": "Seats", **wanted}, related)["id"]
    return identifier


def _create(
    admin: httpx.Client, kind: str, attributes: Mapping[str, Any], related: Mapping[str, Any]
) -> dict[str, Any]:
    document = {"type": kind, "attributes": attributes, "relationships": related}
    reply = admin.post(
        kind, json={"data": document}, headers={"Content-Type": "application/vnd.api+json"}
    )
    assert reply.status_code == 201, reply.text
    data: dict[str, Any] = reply.json()["data"]
    return data


def _another_key() -> str:
    return Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()


def _forged(body: bytes) -> bytes:
    return body + b" "


def test_rust_activates_lists_and_deactivates_machines(shop: Shop) -> None:
    async def scenario() -> None:
        with pytest.raises(RustError, match="LicenseNotActivated"):
            await validate([HERE])
        first = await License.activate_machine(shop.licence, HERE)
        licence = await validate([HERE])
        assert (licence.id, licence.key) == (shop.licence, shop.key)
        assert licence.policy == shop.policy
        with pytest.raises(RustError, match="MachineAlreadyActivated"):
            await licence.activate(HERE, [])
        second = await licence.activate(THERE, [])
        with pytest.raises(RustError, match="MachineLimitExceeded"):
            await licence.activate("one too many", [])
        assert {one.fingerprint for one in await licence.machines()} == {HERE, THERE}
        assert (await licence.machine(THERE)).id == second.id
        assert (await second.ping()).id == second.id
        await second.deactivate()
        assert [one.id for one in await licence.machines()] == [first.id]
        with pytest.raises(RustError, match="LicenseNotActivated"):
            await validate([THERE])

    asyncio.run(scenario())


def test_rust_verifies_and_decrypts_files(shop: Shop) -> None:
    async def scenario() -> None:
        licence = await validate()
        machine = await licence.activate(HERE, [])
        bought = await licence.checkout(DAY, None)
        carried = await machine.checkout(DAY, ["license", "license.entitlements"])
        for file, secret in ((bought, shop.key), (carried, shop.key + HERE)):
            file.verify()
            assert file.decrypt(secret).license.key == shop.key
            assert (file.ttl, file.expiry - file.issued) == (DAY, timedelta(days=1))
            with pytest.raises(RustError, match="DecryptionError"):
                file.decrypt(secret + "x")
        assert carried.decrypt(shop.key + HERE).machine.id == machine.id
        again = LicenseFile.build_from_cert(shop.key, bought.certificate)
        assert again.id == shop.licence
        shop.use_rust(public_key=_another_key())
        for file in (bought, carried, again):
            with pytest.raises(RustError, match="FileNotGenuine"):
                file.verify()

    asyncio.run(scenario())


def test_rust_reads_the_files_downloaded_as_text(shop: Shop) -> None:
    async def scenario() -> str:
        machine: str = (await License.activate_machine(shop.licence, HERE)).id
        return machine

    machine = asyncio.run(scenario())
    query = {"encrypt": "true", "ttl": str(DAY), "include": "license"}
    text = shop.admin.get(f"machines/{machine}/actions/check-out", params=query).text
    file = MachineFile.from_cert(shop.key + HERE, text.rstrip("\n"))
    file.verify()
    assert file.id == machine
    del query["include"]
    text = shop.admin.get(f"licenses/{shop.licence}/actions/check-out", params=query).text
    LicenseFile.build_from_cert(shop.key, text).verify()


def test_rust_refuses_what_another_key_signed_and_what_was_forged(shop: Shop) -> None:
    async def scenario() -> None:
        await License.activate_machine(shop.licence, HERE)
        shop.use_rust(public_key=_another_key())
        with pytest.raises(RustError, match=UNVERIFIED):
            await validate([HERE])
        shop.use_rust()
        await validate([HERE])
        shop.proxy.forge = _forged
        with pytest.raises(RustError, match=UNVERIFIED):
            await validate([HERE])

    asyncio.run(scenario())


def test_rust_hears_why_a_licence_is_refused(shop: Shop) -> None:
    async def scenario() -> None:
        await License.activate_machine(shop.licence, HERE)
        shop.use_rust(key="no such key")
        with pytest.raises(RustError, match="LicenseKeyInvalid"):
            await validate([HERE])
        shop.use_rust()
        reply = shop.admin.post(f"licenses/{shop.licence}/actions/suspend")
        assert reply.status_code == 200, reply.text
        with pytest.raises(RustError, match="LicenseSuspended"):
            await validate([HERE])

    asyncio.run(scenario())


def test_both_verify_a_signed_key_offline(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = _policy(shop.admin, shop.product, scheme="ED25519_SIGN")
    _, key = shop.sell(policy, key="studio of 12 seats")
    assert verify(SchemeCode.Ed25519Sign, key) == "studio of 12 seats"
    monkeypatch.setattr(keygen, "license_key", key)
    licence = keygen.validate()
    assert (licence.scheme, licence.verify()) == ("ED25519_SIGN", b"studio of 12 seats")
    shop.use_rust(public_key=_another_key())
    with pytest.raises(RustError, match="LicenseKeyNotGenuine"):
        verify(SchemeCode.Ed25519Sign, key)
    with pytest.raises(errors.LicenseKeyNotGenuineError):
        licence.verify(_another_key())


def test_python_activates_lists_and_deactivates_machines(shop: Shop) -> None:
    with pytest.raises(errors.LicenseNotActivatedError) as refused:
        keygen.validate(HERE)
    licence = refused.value.license
    assert licence is not None
    assert (licence.id, licence.policy_id) == (shop.licence, shop.policy)
    first, second = licence.activate(HERE), licence.activate(THERE)
    result = licence.validate(HERE)
    assert (result.valid, result.code) == (True, "VALID")
    assert result.scope is not None
    assert (result.scope.fingerprint, result.scope.product) == (HERE, shop.product)
    with pytest.raises(errors.MachineAlreadyActivatedError):
        licence.activate(HERE)
    with pytest.raises(errors.MachineLimitExceededError):
        licence.activate("one too many")
    assert {one.id for one in licence.machines()} == {first.id, second.id}
    assert licence.machine(HERE).id == first.id
    second.ping()
    assert second.heartbeat_status == keygen.HeartbeatStatus.ALIVE
    licence.deactivate(HERE)
    second.deactivate()
    assert licence.machines() == []
    assert licence.entitlements() == []
    with pytest.raises(errors.NotFoundError):
        licence.machine(first.id)
    with pytest.raises(errors.LicenseNotActivatedError):
        licence.validate(HERE)


def test_python_verifies_and_reads_files(shop: Shop) -> None:
    licence = keygen.validate()
    machine = licence.activate(HERE)
    bought, carried = licence.checkout(ttl=DAY), machine.checkout(ttl=DAY)
    bought.verify()
    carried.verify()
    assert bought.decrypt(shop.key).license.id == bought.license_id == shop.licence
    opened = carried.decrypt(shop.key + HERE)
    assert (opened.machine.id, opened.license.key) == (machine.id, shop.key)
    assert isinstance(opened.issued, datetime)
    assert opened.expiry == opened.issued + timedelta(days=1)
    plain = licence.checkout(encrypt=False)
    plain.verify()
    assert plain.decode().license.key == shop.key
    other = _another_key()
    for file in (bought, carried, plain):
        with pytest.raises(errors.KeygenError, match="not genuine"):
            file.verify(other)


def test_python_refuses_what_another_key_signed_and_what_was_forged(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keygen, "public_key", _another_key())
    with pytest.raises(errors.ResponseSignatureInvalidError):
        keygen.validate()
    monkeypatch.setattr(keygen, "public_key", shop.public_key)
    assert keygen.validate().id == shop.licence
    shop.proxy.forge = _forged
    with pytest.raises(errors.ResponseDigestInvalidError):
        keygen.validate()
