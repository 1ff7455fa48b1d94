"""What is a secret and what only looks like one; no output ever holds a whole one."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_secrets import LETTERS, drawn, hexadecimal, licence_key, planted

from shimmy_ops.domain.secrets.detection import find_secrets
from shimmy_ops.domain.secrets.findings import fingerprint, mask, redact
from shimmy_ops.domain.secrets.kinds import REMEDIES, SHAPES
from shimmy_ops.domain.secrets.readings import read_texts

PLANTED = planted()


@pytest.mark.parametrize(("kind", "text", "value"), PLANTED, ids=[kind for kind, *_ in PLANTED])
def test_each_kind_is_found_with_its_whole_value(kind: str, text: str, value: str) -> None:
    (match,) = find_secrets(text)
    assert (match.kind, match.value) == (kind, value)
    assert text[match.start : match.end] == value
    assert value not in repr(match)


def test_every_kind_has_a_planted_one_and_a_remedy() -> None:
    shown = {kind for kind, *_ in PLANTED}
    told_by_the_scan = {"not-scanned", "allowance-unused", "allowance-expired"}
    assert set(REMEDIES) - told_by_the_scan == shown
    assert {shape.kind for shape in SHAPES} <= set(REMEDIES)


@pytest.mark.parametrize(
    "text",
    [
        "sk_" + "live_",
        "sk_" + "test_short",
        "task_" + "test_" + "somethingthatisaname",
        "whsec" + "_of_whom_it_may_concern",
        "re_remembered_without_anything_else_in_it",
        "more_" + "remember3d_" + drawn("a", 24),
        "prod" + "-" + "hidden",
        licence_key("a")[:-3],
        licence_key("a").replace("-V3", "-V3").lower(),
        "-----BEGIN PRIVATE " + "KEY-----\n...\n-----END PRIVATE KEY-----",
        'startswith("-----BEGIN PRIVATE ' + 'KEY-----")',
        "-----BEGIN PUBLIC KEY-----\n" + drawn("a", 64) + "\n-----END PUBLIC KEY-----",
        "eyJ" + drawn("a", 20),
        "smtp://user:password@localhost:2525",
        "smtp://user:${SMTP_PASSWORD}@localhost",
        "smtp://user:<password>@localhost",
        "https://host:8443/path@1.2.3",
        "http://127.0.0.1:7400/a?b=c@d",
        "--hash=sha256:" + hexadecimal("a", 64),
        '"integrity": "sha512-' + base64.b64encode(hashlib.sha512(b"a").digest()).decode() + '"',
        "token_sha256 = '" + hexadecimal("a", 64) + "'",
        'PUBLIC_KEY = "' + hexadecimal("a", 64) + '"',
        "data:image/png;base64," + base64.b64encode(hashlib.sha512(b"b").digest() * 9).decode(),
        'token = "' + str(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)) + '"',
        "secret = request.headers.get('X-Token-Of-Somebody-2')",
        'token = "the_token_of_somebody_else_2026"',
        'api_key = "your_api_key_goes_here_1234567890"',
        "SECRET = " + '"' + "new" * 12 + '"',
        'password = "${{ secrets.MAIL_PASSWORD_2026 }}"',
        "self._token = secrets.token_urlsafe(32)",
        "API_KEY_ENVIRONMENT_NAME: str = SHIMMY_STORE_STRIPE_KEY_2026",
        'idempotency_key="' + hexadecimal("b", 64) + '"',
    ],
)
def test_near_misses_are_not_found(text: str) -> None:
    assert find_secrets(text) == ()


def test_a_length_that_is_a_letter_hides_nothing() -> None:
    # Compiled Python: `z`, the length as one byte, the string.
    key = "sk_" + "live_51H" + drawn("a", 96)
    content = b"\xe3\x00\x00z" + bytes([len(key)]) + key.encode() + b"\x00\x01\xf3"
    found = [match for reading in read_texts(content) for match in find_secrets(reading.text)]
    assert chr(len(key)).isalnum()
    assert key in [match.value for match in found]


@given(st.text(min_size=0, max_size=300))
def test_a_masked_value_is_never_whole(value: str) -> None:
    shown = mask(value)
    assert len(shown.partition("…")[0]) <= min(4, len(value) // 4)
    if len(value) > 30:
        assert value not in shown
    # Two or three digits may stand in any hash.
    assert value not in fingerprint(value) or len(value) < 8


@given(
    st.sampled_from(PLANTED),
    st.text(alphabet=" \n{}()<>;", max_size=20),
    st.text(alphabet=" \n{}()<>;", max_size=20),
)
def test_redacted_text_holds_no_secret(
    planting: tuple[str, str, str], before: str, after: str
) -> None:
    _, text, value = planting
    whole = f"{before} {text} {after}"
    shown = redact(whole, find_secrets(whole))
    assert value not in shown
    assert value[:8] not in shown
    assert value[-12:] not in shown


@given(st.text(alphabet=LETTERS, min_size=24, max_size=64))
def test_stripe_keys_are_found_whatever_they_are(body: str) -> None:
    if not (body.islower() or body.isupper()):
        assert [m.kind for m in find_secrets("sk_" + "live_" + body)] == ["stripe-live-key"]


@given(st.binary(max_size=400))
def test_any_bytes_can_be_read(content: bytes) -> None:
    for reading in read_texts(content):
        for start in range(len(reading.text)):
            reading.spot(start)
        find_secrets(reading.text)


def test_places_are_lines_in_texts_and_offsets_in_binaries() -> None:
    key = "sk_" + "live_" + drawn("a", 24)
    (reading,) = read_texts(f"one\ntwo {key}".encode())
    assert str(reading.spot(find_secrets(reading.text)[0].start)) == "2:5"
    content = b"\x00\x01program\x00" * 3 + key.encode() + b"\x00"
    (reading,) = read_texts(content)
    spot = reading.spot(find_secrets(reading.text)[0].start)
    assert spot.offset == content.index(key.encode())
    wide = b"\x00\x01\x02\x80\x81" * 99 + key.encode("utf-16-le") + b"\x00\xff"
    spots = [r.spot(m.start).offset for r in read_texts(wide) for m in find_secrets(r.text)]
    assert spots == [5 * 99]


@pytest.mark.parametrize(
    "line",
    [
        "a" * 2_000_000,
        "token_" * 300_000,
        "sk_" + "live_" * 300_000,
        "eyJ" * 400_000,
        "://a:b" * 300_000,
        ("-----BEGIN PRIVATE " + "KEY-----") * 30_000,
        "0A1B2C-" * 200_000 + "-V3",
        "secret = " * 200_000,
    ],
    ids=lambda line: line[:10],
)
def test_a_line_of_megabytes_takes_a_moment(line: str) -> None:
    began = time.process_time()
    find_secrets(line)
    # Up to two on an idle core; whoever looks again from every place takes hours.
    assert time.process_time() - began < 40
