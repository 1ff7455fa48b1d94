"""The key that Keygen's account signs with: read from the account, believed only where it signs."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from shimmy_ops.adapters.accounts.keygen_account import read_keygen_account
from shimmy_ops.adapters.accounts.keygen_licensing import KeygenLicensing
from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire
from shimmy_ops.domain.keygen_reply import SignedReply, public_key_of, signature_of
from shimmy_ops.domain.preflight.facts import KeygenAccount
from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen

HEX = "0123456789abcdef" * 4


class _Between(httpx.BaseTransport):
    """Somebody between us and Keygen, who changes what comes back."""

    def __init__(self, old: bytes = b"", new: bytes = b"", drop: str = "") -> None:
        self._old, self._new, self._drop = old, new, drop
        self._real = httpx.HTTPTransport(verify=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        reply = self._real.handle_request(request)
        body = reply.read().replace(self._old, self._new) if self._old else reply.read()
        gone = (self._drop, "content-length")
        headers = [one for one in reply.headers.multi_items() if one[0].lower() not in gone]
        return httpx.Response(reply.status_code, headers=headers, content=body)

    def close(self) -> None:
        self._real.close()


@pytest.fixture(scope="module")
def keygen() -> Iterator[KeygenServer]:
    with serve_keygen(":memory:") as server:
        yield server


def _read(keygen: KeygenServer, between: _Between) -> tuple[KeygenAccount, str]:
    """The account, and the key that provisioning would write."""
    with httpx.Client(
        base_url=f"{keygen.url}/v1/accounts/{keygen.account}/",
        headers={"Authorization": f"Bearer {keygen.admin_token}"},
        transport=between,
    ) as client:
        wire = KeygenWire(client)
        return read_keygen_account(wire), KeygenLicensing(wire).read("").public_key


def test_the_account_tells_its_key_and_signs_with_it(keygen: KeygenServer) -> None:
    account, written = _read(keygen, _Between())
    assert account.public_key == written == keygen.public_key
    assert account.signed


def test_a_key_that_somebody_put_in_between_is_not_written(keygen: KeygenServer) -> None:
    theirs = base64.b64encode(HEX.encode())
    ours = base64.b64encode(keygen.public_key.encode())
    account, written = _read(keygen, _Between(ours, theirs))
    assert (account.public_key, account.signed, written) == (HEX, False, "")


@pytest.mark.parametrize("drop", ["keygen-signature", "keygen-digest"])
def test_a_reply_that_is_not_signed_proves_no_key(keygen: KeygenServer, drop: str) -> None:
    account, written = _read(keygen, _Between(drop=drop))
    assert account.public_key == keygen.public_key
    assert account.signed == (drop == "keygen-digest"), "the plain header says the same"
    assert written == (keygen.public_key if account.signed else "")


@pytest.mark.parametrize("word", ["a", 'a="', "a=", 'a="b",'])
def test_a_header_without_end_is_read_at_once(word: str) -> None:
    """Before anything is verified; found by ``scripts/fuzz.py`` in the product's copy of it."""
    headers = {"keygen-signature": word * (65_536 // len(word))}
    began = time.process_time()
    assert signature_of(SignedReply("GET", "/", ("localhost",), headers, b"")) == b""
    # Thousandths of a second; thirteen seconds where each letter began a search of its own.
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("meta", "key"),
    [
        ({"keys": {"ed25519": base64.b64encode(HEX.encode()).decode()}}, HEX),
        ({"keys": {"ed25519": base64.b64encode(HEX.upper().encode()).decode()}}, HEX),
        ({"keys": {"ed25519": base64.b64encode(bytes.fromhex(HEX)).decode()}}, HEX),
        ({"keys": {"ed25519": HEX}}, ""),
        ({"keys": {"ed25519": "é"}}, ""),
        ({"keys": {"ed25519": base64.b64encode(HEX[1:].encode()).decode()}}, ""),
        ({"keys": {"ed25519": None}}, ""),
        ({"keys": "none"}, ""),
        (None, ""),
    ],
)
def test_whatever_is_no_key_is_none(meta: Any, key: str) -> None:
    account: Mapping[str, Any] = {"id": "1", "meta": meta}
    assert public_key_of(account) == key
