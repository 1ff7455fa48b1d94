"""What comes from Keygen's address is believed only where the account has signed it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from shimmy_store.adapters.keygen_wire import KeygenWire, ReplyWitness, checked
from shimmy_store.domain.keygen_signature import Asked, Replied, check_reply
from shimmy_store.domain.retry import read_failure
from shimmy_store.errors import LicensingError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ASKED = Asked("GET", "/v1/accounts/a/licenses/1?limit=1", "api.example.com", None)
BODY = b'{"data": null}'
KEY = b"k" * 32


def _signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Stands in for Ed25519: what is signed is what the test looks at."""
    return signature == hashlib.sha256(public_key + message).digest()


def _headers(
    asked: Asked = ASKED,
    body: bytes = BODY,
    *,
    said: datetime = NOW,
    host: str = "",
    key: bytes = KEY,
    prefix: str = "keygen-",
) -> dict[str, str]:
    date = format_datetime(said, usegmt=True)
    digest = "sha-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
    message = "\n".join(
        (
            f"(request-target): {asked.method.lower()} {asked.target}",
            f"host: {host or asked.host}",
            f"date: {date}",
            f"digest: {digest}",
        )
    )
    signature = base64.b64encode(hashlib.sha256(key + message.encode()).digest()).decode()
    return {
        f"{prefix}date": date,
        f"{prefix}digest": digest,
        "keygen-signature": f'keyid="a", algorithm="ed25519", signature="{signature}", '
        'headers="(request-target) host date digest"',
    }


def _check(headers: Mapping[str, str], body: bytes = BODY, asked: Asked = ASKED) -> str | None:
    return check_reply(asked, Replied(headers, body), KEY, _signed_by, NOW)


def test_a_signed_reply_is_genuine() -> None:
    assert _check(_headers()) is None
    assert _check(_headers(prefix="")) is None
    # A proxy writes its own date; Keygen's copy counts.
    assert _check({**_headers(), "date": "Thu, 01 Jan 1970 00:00:00 GMT"}) is None


def test_a_host_may_be_signed_with_its_port() -> None:
    asked = Asked("GET", "/v1", "127.0.0.1", 8080)
    for host in ("127.0.0.1", "127.0.0.1:8080"):
        assert _check(_headers(asked, host=host), asked=asked) is None
    assert _check(_headers(asked, host="127.0.0.1:9"), asked=asked) == "wrong-signature"


@pytest.mark.parametrize(
    ("headers", "body", "fault"),
    [
        ({}, BODY, "unsigned"),
        ({**_headers(), "keygen-signature": 'algorithm="rsa"'}, BODY, "unsigned"),
        (
            {
                **_headers(),
                "keygen-signature": 'algorithm="ed25519", signature="é", '
                'headers="(request-target) host date digest"',
            },
            BODY,
            "unsigned",
        ),
        (_headers(), b'{"data": {}}', "wrong-digest"),
        (_headers(key=b"x" * 32), BODY, "wrong-signature"),
        (_headers(Asked("POST", ASKED.target, ASKED.host, None)), BODY, "wrong-signature"),
        (_headers(Asked("GET", "/v1/other", ASKED.host, None)), BODY, "wrong-signature"),
        (_headers(said=NOW - timedelta(minutes=6)), BODY, "wrong-date"),
        (_headers(said=NOW + timedelta(minutes=6)), BODY, "wrong-date"),
    ],
)
def test_what_is_not_genuine_is_said(headers: dict[str, str], body: bytes, fault: str) -> None:
    assert _check(headers, body) == fault


def _ask(answer: Callable[[httpx.Request], httpx.Response], key: bytes = KEY) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(
            base_url="https://api.example.com/v1/accounts/a/",
            transport=httpx.MockTransport(answer),
            trust_env=False,
        ) as client:
            wire = KeygenWire(client, ReplyWitness(key, _signed_by, lambda: NOW))
            return await wire.ask("GET", "licenses/1?limit=1")

    return asyncio.run(run())


def test_the_wire_lets_through_what_is_signed() -> None:
    reply = _ask(lambda _: httpx.Response(200, headers=_headers(), content=BODY))
    assert reply.json() == {"data": None}


@pytest.mark.parametrize("status", [200, 201, 204, 404, 409, 422])
def test_nothing_that_is_acted_on_is_believed_unsigned(status: int) -> None:
    with pytest.raises(LicensingError) as caught:
        _ask(lambda _: httpx.Response(status, content=b"" if status == 204 else BODY))
    assert caught.value.code == "keygen-signature-wrong"
    assert caught.value.retryable
    assert "unsigned" in caught.value.message
    # A person hears of it: nothing is delivered until it is mended.
    assert [one.subject for one in read_failure(caught.value).alarms] == ["keygen"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "licensing-not-allowed"), (429, "licensing-failing"), (503, "licensing-failing")],
)
def test_what_ends_in_an_error_anyhow_keeps_its_own(status: int, code: str) -> None:
    with pytest.raises(LicensingError) as caught:
        checked(_ask(lambda _: httpx.Response(status)))
    assert caught.value.code == code


def test_a_key_of_another_account_is_told_from_a_missing_signature() -> None:
    with pytest.raises(LicensingError) as caught:
        _ask(lambda _: httpx.Response(200, headers=_headers(), content=BODY), b"x" * 32)
    assert "wrong-signature" in caught.value.message


def test_a_header_without_end_is_read_at_once() -> None:
    """Before anything is verified; found by ``scripts/fuzz.py`` in the product's copy of it."""
    began = time.process_time()
    assert _check({**_headers(), "keygen-signature": "a" * 65_536}) == "unsigned"
    # Thousandths of a second; thirteen seconds where each letter began a search of its own.
    assert time.process_time() - began < 2
