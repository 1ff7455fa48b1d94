"""Only what Stripe signed, under a secret of ours, within five minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from shimmy_store.domain import webhook_signature
from shimmy_store.domain.webhook_signature import TOLERANCE, check_signature

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET, OLD = "whsec_new", "whsec_old"
BODY = b'{"id": "evt_1", "object": "event"}'


def header(body: bytes = BODY, secret: str = SECRET, at: datetime = NOW) -> str:
    """Written by Stripe's own client."""
    return str(
        stripe.WebhookSignature.generate_signature_header(
            body.decode(), secret, int(at.timestamp())
        )
    )


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (timedelta(0), "genuine"),
        (TOLERANCE, "genuine"),
        (TOLERANCE + timedelta(seconds=1), "too-old"),
        (-TOLERANCE, "genuine"),
        (-TOLERANCE - timedelta(seconds=1), "from-the-future"),
        (-timedelta(days=4000), "from-the-future"),
    ],
)
def test_five_minutes_either_way(age: timedelta, verdict: str) -> None:
    assert check_signature(BODY, header(at=NOW - age), [SECRET], NOW) == verdict


def test_either_secret_will_do_while_they_overlap() -> None:
    assert check_signature(BODY, header(secret=OLD), [SECRET, OLD], NOW) == "genuine"
    assert check_signature(BODY, header(secret=OLD), [SECRET], NOW) == "wrong-signature"
    assert check_signature(BODY, header(), [], NOW) == "wrong-signature"


def test_any_of_several_signatures_will_do() -> None:
    stamp, _, signature = header().partition(",")
    for many in (f"{stamp},v1={'0' * 64},{signature}", f"{stamp},{signature},v1={'0' * 64},v0=x"):
        assert check_signature(BODY, many, [SECRET], NOW) == "genuine"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "t=,v1=",
        "v1=" + "0" * 64,
        "t=1",
        f"t={int(NOW.timestamp())},v0=" + "0" * 64,
        f"t={int(NOW.timestamp())},t=1,v1=" + "0" * 64,
        f"t={int(NOW.timestamp())},v1=" + "0" * 63,
        "t=99999999999999,v1=" + "0" * 64,
        "t=-1,v1=" + "0" * 64,
    ],
)
def test_what_is_no_such_header_is_malformed(wrong: str) -> None:
    assert check_signature(BODY, wrong, [SECRET], NOW) == "malformed"


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_every_bit_of_the_body_counts(at: int, bit: int) -> None:
    other = bytearray(BODY)
    other[at] ^= 1 << bit
    assert check_signature(bytes(other), header(), [SECRET], NOW) == "wrong-signature"


@given(st.text(max_size=200), st.binary(max_size=50))
def test_nothing_anybody_sends_is_an_exception(header: str, body: bytes) -> None:
    assert check_signature(body, header, [SECRET], NOW) != "genuine"


def test_a_long_body_is_read_once_a_secret_however_many_signatures_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anybody may send two megabytes with twenty signatures: it must not be forty readings."""
    read: list[str] = []

    def noted(signed: bytes, secret: str) -> str:
        read.append(secret)
        return sign(signed, secret)

    sign = webhook_signature._signature
    monkeypatch.setattr(webhook_signature, "_signature", noted)
    stamp, _, genuine = header().partition(",")
    many = ",".join([stamp, *[f"v1={'0' * 64}"] * 19, genuine])
    assert check_signature(BODY, many, [OLD, SECRET], NOW) == "genuine"
    assert read == [OLD, SECRET]
