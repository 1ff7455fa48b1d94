"""Only what the licence server signed, just now, in answer to this request, is its word."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import keygen
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import assume, example, given
from hypothesis import strategies as st
from keygen import errors

from shimmy_sandbox.keygen.signing import Exchange, SigningKey, signature_headers
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.licence.response_signature import (
    Asked,
    Genuine,
    NotGenuine,
    check_reply,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TARGET = f"/v1/accounts/{PINNED.account}/machines?page%5Bnumber%5D=1&page%5Bsize%5D=100"
BODY = b'{"data":[]}'
OTHER_KEY = SigningKey(bytes(range(32)))
MINUTES = timedelta(minutes=5)
SIGNED = ("keygen-signature", "keygen-date", "keygen-digest", "date", "digest")


@dataclass(frozen=True)
class Said:
    """A reply on its way: what was asked, what came back."""

    asked: Asked
    headers: Mapping[str, str]
    body: bytes = BODY
    public_key: str = PINNED.public_key
    now: datetime = NOW

    def check(self) -> Genuine | NotGenuine:
        return check_reply(self.asked, self.headers, self.body, self.public_key, self.now)

    def with_header(self, name: str, value: str) -> Said:
        return replace(self, headers={**self.headers, name: value})

    def without(self, *names: str) -> Said:
        kept = {name: value for name, value in self.headers.items() if name not in names}
        return replace(self, headers=kept)


def reply(
    method: str = "GET",
    target: str = TARGET,
    *,
    body: bytes = BODY,
    at: datetime = NOW,
    host: str = "127.0.0.1:7410",
    key: SigningKey | None = None,
) -> Said:
    """What the sandbox answers at ``at``."""
    exchange = Exchange(method, target, host)
    headers = signature_headers(key or SigningKey(), PINNED.account, exchange, body, at)
    lower = {name.lower(): value for name, value in headers.items()}
    return Said(Asked(method, target, "127.0.0.1", 7410), lower, body)


def reply_signed(date: str, *, host: str = "127.0.0.1", target: str = TARGET) -> Said:
    """A reply signed by a server that writes its date and its host in ways of its own."""
    digest = "sha-256=" + base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    lines = (f"(request-target): get {target}", f"host: {host}", f"date: {date}")
    message = "\n".join((*lines, f"digest: {digest}")).encode("utf-8", "surrogatepass")
    signature = base64.b64encode(SigningKey().sign(message)).decode()
    parameters = f'algorithm="ed25519", signature="{signature}"'
    header = f'keyid="x", {parameters}, headers="(request-target) host date digest"'
    headers = {"keygen-signature": header, "date": date, "digest": digest}
    return Said(Asked("GET", target, "127.0.0.1", 7410), headers)


def independently_genuine(said: Said, host: str) -> bool:
    """Keygen's rules once more, over a reply whose headers are in order."""
    (encoded,) = re.findall(r'signature="([^"]+)"', said.headers["keygen-signature"])
    digest = base64.b64encode(hashlib.sha256(said.body).digest()).decode()
    message = (
        f"(request-target): {said.asked.method.lower()} {said.asked.target}\n"
        f"host: {host}\ndate: {said.headers['keygen-date']}\ndigest: sha-256={digest}"
    )
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said.public_key))
    try:
        key.verify(base64.b64decode(encoded), message.encode())
    except InvalidSignature:
        return False
    return said.headers["keygen-digest"] == f"sha-256={digest}"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "get"])
@pytest.mark.parametrize("body", [b"", BODY, bytes(range(256))])
def test_what_the_sandbox_signs_is_genuine(method: str, body: bytes) -> None:
    said = reply(method, body=body)
    assert said.check() == Genuine(NOW)
    assert independently_genuine(said, "127.0.0.1")


def test_what_others_verify_is_genuine(monkeypatch: pytest.MonkeyPatch) -> None:
    """keygen-sdk, written by others, takes the same replies and refuses the same forgeries."""
    monkeypatch.setattr(keygen, "max_clock_drift", None)
    verifier = keygen.Verifier(PINNED.public_key)
    for said in (reply(), reply("POST", body=b"x"), reply(at=NOW - timedelta(days=9))):
        for forged in (said, replace(said, body=said.body + b" "), reply(key=OTHER_KEY)):
            checked = replace(forged, now=NOW - timedelta(days=9)).check()
            genuine = not isinstance(checked, NotGenuine) or checked.fault == "wrong-date"
            try:
                verifier.verify_request(
                    method=forged.asked.method,
                    url=f"http://127.0.0.1{TARGET}",
                    headers=forged.headers,
                    body=forged.body,
                )
                theirs = True
            except errors.KeygenError:
                theirs = False
            assert genuine is theirs is (forged is said)


@pytest.mark.parametrize(
    ("host", "port", "signed"),
    [
        ("licences.example", None, "licences.example"),
        ("licences.example", 8443, "licences.example"),
        ("licences.example", 8443, "licences.example:8443"),
        ("::1", None, "[::1]"),
        ("::1", 7410, "[::1]"),
        ("::1", 7410, "[::1]:7410"),
    ],
)
def test_the_host_may_be_signed_with_its_port_or_without(
    host: str, port: int | None, signed: str
) -> None:
    said = reply_signed(format_datetime(NOW, usegmt=True), host=signed)
    assert replace(said, asked=Asked("GET", TARGET, host, port)).check() == Genuine(NOW)
    for other in (Asked("GET", TARGET, "x" + host, port), Asked("GET", TARGET, host, 9)):
        if other.port is None or signed.endswith(f":{port}") or other.host != host:
            assert replace(said, asked=other).check() == NotGenuine("wrong-signature")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda one: replace(one, body=b'{"data":{}}'), "wrong-digest"),
        (lambda one: replace(one, body=b""), "wrong-digest"),
        (lambda one: replace(one, asked=replace(one.asked, method="POST")), "wrong-signature"),
        (lambda one: replace(one, asked=replace(one.asked, target="/")), "wrong-signature"),
        (lambda one: replace(one, asked=replace(one.asked, host="localhost")), "wrong-signature"),
        (lambda one: replace(one, public_key=OTHER_KEY.public_hex), "wrong-signature"),
        (lambda one: one.with_header("keygen-date", format_datetime(NOW)), "wrong-signature"),
        (lambda one: one.with_header("keygen-date", ""), "genuine"),
        (lambda one: one.without("keygen-date"), "genuine"),
        (lambda one: one.without("keygen-digest"), "genuine"),
        (lambda one: one.without("date", "digest"), "genuine"),
        (lambda one: one.without("keygen-date", "date"), "unsigned"),
        (lambda one: one.without("keygen-digest", "digest"), "unsigned"),
        (lambda one: one.without("keygen-signature"), "unsigned"),
        (lambda one: replace(one, headers={}), "unsigned"),
    ],
)
def test_each_part_of_a_reply_counts(change: Callable[[Said], Said], fault: str) -> None:
    checked = change(reply()).check()
    assert checked == (Genuine(NOW) if fault == "genuine" else NotGenuine(fault))  # type: ignore[arg-type]


def test_the_same_query_in_another_order_is_another_request() -> None:
    said = reply()
    path, _, query = TARGET.partition("?")
    turned = "&".join(reversed(query.split("&")))
    for target in (f"{path}?{turned}", path, TARGET.replace("%5B", "[").replace("%5D", "]")):
        changed = replace(said, asked=replace(said.asked, target=target))
        assert changed.check() == NotGenuine("wrong-signature")


@pytest.mark.parametrize("said", [reply(), reply_signed(format_datetime(NOW, usegmt=True))])
def test_every_bit_of_the_body_and_of_the_signature_counts(said: Said) -> None:
    for place in range(len(said.body) * 8):
        changed = bytearray(said.body)
        changed[place // 8] ^= 1 << place % 8
        assert replace(said, body=bytes(changed)).check() == NotGenuine("wrong-digest")
    header = said.headers["keygen-signature"]
    (encoded,) = re.findall(r'signature="([^"]+)"', header)
    for place in range(512):
        raw = bytearray(base64.b64decode(encoded))
        raw[place // 8] ^= 1 << place % 8
        forged = header.replace(encoded, base64.b64encode(raw).decode())
        changed_header = said.with_header("keygen-signature", forged)
        assert changed_header.check() == NotGenuine("wrong-signature")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('algorithm="ed25519"', 'algorithm="rsa-pss-sha256"'),
        ('algorithm="ed25519"', 'algorithm="ED25519"'),
        ('algorithm="ed25519", ', ""),
        ("(request-target) host date digest", "(request-target) host digest date"),
        ("(request-target) host date digest", "(request-target) host date"),
        ("(request-target) host date digest", "date"),
        (', headers="(request-target) host date digest"', ""),
        ('signature="', 'signature="*'),
        ('signature="', 'signature="ü'),
        ('signature="', 'signature="\ud800'),
        ('signature="', 'signature="A'),
    ],
)
def test_another_kind_of_signature_is_none(old: str, new: str) -> None:
    said = reply()
    header = said.headers["keygen-signature"]
    assert old in header
    forged = said.with_header("keygen-signature", header.replace(old, new))
    assert forged.check() == NotGenuine("unsigned")


@pytest.mark.parametrize("signature", ["", "AAAA", "A" * 88])
def test_a_signature_of_another_length_is_wrong(signature: str) -> None:
    header = f'algorithm="ed25519", signature="{signature}", headers="{keygen_order()}"'
    checked = reply().with_header("keygen-signature", header).check()
    assert checked == NotGenuine("wrong-signature")


def keygen_order() -> str:
    return "(request-target) host date digest"


def test_a_date_rewritten_on_the_way_does_not_matter() -> None:
    """Proxies do that; Keygen's own copy is what is signed and what counts."""
    said = reply(at=NOW - timedelta(seconds=7))
    for date in ("Tue, 24 Nov 2026 12:00:00 GMT", "nonsense", ""):
        rewritten = said.with_header("date", date).with_header("digest", "sha-256=other")
        assert rewritten.check() == Genuine(NOW - timedelta(seconds=7))
    alone = said.without("keygen-date").with_header("date", "Tue, 24 Nov 2026 12:00:00 GMT")
    assert alone.check() == NotGenuine("wrong-signature")


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("ahead", "accepted"),
    [
        (MINUTES, True),
        (-MINUTES, True),
        (MINUTES + SECOND / 1000, False),
        (-MINUTES - SECOND / 1000, False),
        (timedelta(hours=3), False),
        (-timedelta(days=400), False),
    ],
)
def test_a_clock_may_be_five_minutes_off(ahead: timedelta, accepted: bool) -> None:
    """The skew says which way this machine's clock is wrong: positive is ahead."""
    checked = replace(reply(at=NOW), now=NOW + ahead).check()
    assert checked == (Genuine(NOW) if accepted else NotGenuine("wrong-date", ahead))


@pytest.mark.parametrize(
    "date",
    [
        "Tue, 24 Nov 2026 13:00:00 +0100",
        "Tue, 24 Nov 2026 07:00:00 EST",
    ],
)
def test_a_date_in_another_zone_is_the_same_moment(date: str) -> None:
    checked = reply_signed(date).check()
    assert checked == Genuine(NOW)
    assert isinstance(checked, Genuine)
    assert checked.date.tzinfo is UTC


@pytest.mark.parametrize(
    "date",
    [
        "Tue, 24 Nov 2026 12:00:00",
        "Tue, 24 Nov 2026 12:00:00 -0000",
        "2026-11-24T12:00:00Z",
        "yesterday",
        "Tue, 24 Nov 99999 12:00:00 GMT",
        "Tue, 24 Nov 99999999999999999999 12:00:00 GMT",
        "Tue, 24 Nov 2026 12:00:00 +999999999999",
        "Fri, 31 Dec 9999 23:00:00 -2300",
        "Tue, 99 Nov 2026 12:00:00 GMT",
    ],
)
def test_a_signed_date_that_is_no_moment_is_wrong(date: str) -> None:
    assert reply_signed(date).check() == NotGenuine("wrong-date")


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)
HEADER = (
    TEXT
    | st.sampled_from(list(reply().headers.values()))
    | st.builds('algorithm="ed25519", signature="{}", headers="{}"'.format, TEXT, TEXT)
    | TEXT.map(lambda text: f'algorithm="ed25519", signature="{text}", headers="{keygen_order()}"')
)


@given(
    headers=st.dictionaries(st.sampled_from(SIGNED) | TEXT, HEADER, max_size=6),
    body=st.binary(max_size=20),
    over=st.booleans(),
)
@example(headers={"keygen-date": "\ud800"}, body=BODY, over=True)
def test_nothing_in_a_header_raises_or_forges(
    headers: dict[str, str], body: bytes, over: bool
) -> None:
    """Other headers of their choosing make nothing genuine that was not said so before."""
    said = replace(reply(), body=body)
    merged = {**said.headers, **headers} if over else headers
    checked = replace(said, headers=merged).check()
    if isinstance(checked, Genuine):
        assert body == BODY
        assert reply().headers["keygen-date"] in merged.values()


@given(date=TEXT | st.datetimes().map(format_datetime) | st.from_regex(r"[\w ,:+-]{0,40}"))
def test_no_signed_date_raises(date: str) -> None:
    assume(date)
    checked = reply_signed(date).check()
    if isinstance(checked, Genuine):
        assert abs(checked.date - NOW) <= MINUTES
    else:
        assert checked.fault == "wrong-date"


PARTS: Mapping[str, st.SearchStrategy[Any]] = {
    "method": st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"]),
    "target": st.text(st.characters(codec="ascii"), max_size=60).map("/{}".format),
    "host": st.text("abc.1-", max_size=12),
    "date": st.datetimes(datetime(2026, 11, 24, 11, 56), datetime(2026, 11, 24, 12, 4)),
    "body": st.binary(max_size=40),
    "seed": st.binary(min_size=32, max_size=32),
}


@given(data=st.data(), name=st.sampled_from(sorted(PARTS)))
def test_any_change_of_any_signed_part_is_refused(data: st.DataObject, name: str) -> None:
    """A reply to one request passes for no other: each part alone is enough."""
    parts = {one: data.draw(strategy, one) for one, strategy in PARTS.items()}
    other = data.draw(PARTS[name], f"another {name}")
    assume(other != parts[name])
    if name == "date":
        assume(other.replace(microsecond=0) != parts[name].replace(microsecond=0))
    said = told(parts)
    assert isinstance(said.check(), Genuine)
    changed = told({**parts, name: other})
    mixed = replace(changed, headers={**said.headers})
    if name == "date":
        mixed = said.with_header("keygen-date", changed.headers["keygen-date"])
    assert isinstance(mixed.check(), NotGenuine)


def told(parts: Mapping[str, Any]) -> Said:
    key = SigningKey(parts["seed"])
    host = f"x{parts['host']}"
    exchange = Exchange(parts["method"], parts["target"], host)
    at = parts["date"].replace(tzinfo=UTC)
    headers = signature_headers(key, PINNED.account, exchange, parts["body"], at)
    lower = {name.lower(): value for name, value in headers.items()}
    asked = Asked(parts["method"], parts["target"], host, None)
    return Said(asked, lower, parts["body"], key.public_hex, NOW)


@pytest.mark.parametrize("word", ["a", 'a="', "a=", '="', ',a="b'])
def test_a_header_without_end_is_read_at_once(word: str) -> None:
    """Before anything is verified: whoever stands between could hold this program up for long."""
    whole = reply()
    endless = word * (65_536 // len(word))
    began = time.process_time()
    assert whole.with_header("keygen-signature", endless).check() == NotGenuine("unsigned")
    # Thousandths of a second; thirteen seconds where each letter began a search of its own.
    assert time.process_time() - began < 2
