"""A licence server for each test, and hands to work it with; every reply's signature is checked."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shimmy_sandbox.keygen.rate_limit import DEFAULT_LIMIT
from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen


def check_signature(reply: httpx.Response, public_key: str) -> None:
    """Raise unless the reply is what the holder of the key said to this very request."""
    body, request = reply.read(), reply.request
    assert reply.headers.get_list("date") == [reply.headers["keygen-date"]]
    digest = "sha-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert reply.headers["digest"] == reply.headers["keygen-digest"] == digest
    said = dict(re.findall(r'(\w+)="([^"]*)"', reply.headers["keygen-signature"]))
    assert said["algorithm"] == "ed25519"
    assert said["headers"] == "(request-target) host date digest"
    signed = b"\n".join(
        (
            b"(request-target): " + request.method.lower().encode() + b" " + request.url.raw_path,
            b"host: " + request.headers["host"].partition(":")[0].encode(),
            b"date: " + reply.headers["date"].encode(),
            b"digest: " + digest.encode(),
        )
    )
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    key.verify(base64.b64decode(said["signature"]), signed)


def client_of(
    server: KeygenServer, authorization: str | None = None, *, signed: bool = True
) -> httpx.Client:
    """A client with these credentials; it checks every signature unless told not to."""

    def check(reply: httpx.Response) -> None:
        check_signature(reply, server.public_key)

    return httpx.Client(
        base_url=f"{server.url}/v1/accounts/{server.account}/",
        headers={"Authorization": authorization} if authorization else {},
        event_hooks={"response": [check] if signed else []},
        trust_env=False,
        # Loopback speaks no TLS; without this, httpx reads every root certificate first.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        timeout=30,
    )


@dataclass
class Office:
    """A running server and the licensor's hands."""

    server: KeygenServer
    admin: httpx.Client
    made: dict[str, str] = field(default_factory=dict)

    def asking(self, authorization: str | None = None, *, signed: bool = True) -> httpx.Client:
        """A client of the account with these credentials."""
        return client_of(self.server, authorization, signed=signed)

    def ask(self, method: str, path: str, authorization: str | None = None, **sent: Any) -> Any:
        """One request; ``meta`` or ``data`` become its document."""
        document = {name: sent.pop(name) for name in ("meta", "data") if name in sent}
        if document:
            sent["json"] = document
        if authorization == "admin":
            return self.admin.request(method, path, **sent)
        with self.asking(authorization) as client:
            return client.request(method, path, **sent)

    def create(
        self, kind: str, attributes: Mapping[str, Any], related: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A new resource."""
        data = {"type": kind, "attributes": attributes, "relationships": self.relations(related)}
        reply = self.admin.post(kind, json={"data": data})
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()["data"]
        return made

    @staticmethod
    def relations(related: Mapping[str, Any] | None) -> dict[str, Any]:
        """To-one relationships from ``{name: (kind, id)}``."""
        given = (related or {}).items()
        return {name: {"data": {"type": kind, "id": one}} for name, (kind, one) in given}

    def product(self) -> str:
        """The id of the test's product."""
        if "product" not in self.made:
            self.made["product"] = self.create("products", {"name": "Thing"})["id"]
        return self.made["product"]

    def policy(self, **attributes: Any) -> str:
        """The id of a new policy."""
        wanted = {"name": "Rules", "authenticationStrategy": "MIXED", **attributes}
        related = {"product": ("products", self.product())}
        identifier: str = self.create("policies", wanted, related)["id"]
        return identifier

    def licence(
        self, policy: str | None = None, *, owner: str | None = None, **attributes: Any
    ) -> Any:
        """A new licence; its resource object."""
        related = {"policy": ("policies", policy or self.policy())}
        if owner:
            related["owner"] = ("users", owner)
        return self.create("licenses", attributes, related)

    def entitlement(self, code: str) -> str:
        """The id of a new entitlement."""
        identifier: str = self.create("entitlements", {"name": code, "code": code})["id"]
        return identifier

    def attach(self, path: str, *entitlements: str) -> None:
        """Attach entitlements to a policy or licence."""
        data = [{"type": "entitlements", "id": one} for one in entitlements]
        reply = self.admin.post(f"{path}/entitlements", json={"data": data})
        assert reply.status_code == 200, reply.text

    def activate(self, licence: Any, fingerprint: str, by: str = "admin", **attributes: Any) -> Any:
        """The reply to activating a machine."""
        data = {
            "type": "machines",
            "attributes": {"fingerprint": fingerprint, **attributes},
            "relationships": self.relations({"license": ("licenses", licence["id"])}),
        }
        return self.ask("POST", "machines", by, data=data)

    def validate(self, licence: Any, by: str | None = None, **scope: Any) -> dict[str, Any]:
        """What an anonymous (or other) validate-key says: its ``meta``."""
        meta = {"key": licence["attributes"]["key"], **({"scope": scope} if scope else {})}
        reply = self.ask("POST", "licenses/actions/validate-key", by, meta=meta)
        assert reply.status_code == 200, reply.text
        said: dict[str, Any] = reply.json()["meta"]
        return said

    def change(self, path: str, kind: str, **attributes: Any) -> Any:
        """The resource after a PATCH."""
        data = {"type": kind, "attributes": attributes}
        reply = self.admin.patch(path, json={"data": data})
        assert reply.status_code == 200, reply.text
        return reply.json()["data"]

    def shown(self, licence: Any) -> Any:
        """The attributes of a licence now."""
        return self.admin.get(f"licenses/{licence['id']}").json()["data"]["attributes"]


@pytest.fixture(scope="session")
def running() -> Iterator[KeygenServer]:
    """One server for all tests: starting and stopping takes longer than most of them."""
    with serve_keygen(":memory:") as server:
        yield server


@pytest.fixture
def office(running: KeygenServer) -> Iterator[Office]:
    """The server as good as new: nothing made, nothing planned, real time."""
    controls = running.controls
    controls.clock.reset()
    controls.faults.clear()
    with client_of(running, f"Bearer {running.admin_token}") as admin:
        with client_of(running, signed=False) as plain:
            limit = {"requests_per_minute": DEFAULT_LIMIT}
            plain.post(f"{running.url}/_sim/rate-limit", json=limit)
        for kind in ("products", "entitlements", "users"):
            for one in admin.get(kind, params={"limit": 100}).json()["data"]:
                assert admin.delete(f"{kind}/{one['id']}").status_code == 204
        controls.seen.clear()
        yield Office(running, admin)


def error_codes(reply: httpx.Response) -> list[tuple[str | None, Any]]:
    """Code and place of every error of a refusal."""
    return [(one.get("code"), one.get("source")) for one in reply.json()["errors"]]


@pytest.fixture
def codes() -> Any:
    return error_codes
