"""What proves a callback: nothing but the very body, secret and time does."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.serving.callback_signature import find_forgery, sign_callback

BODIES = st.binary(max_size=200)
SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
MOMENTS = st.integers(min_value=0, max_value=10**11)


@given(BODIES, SECRETS, MOMENTS, st.floats(min_value=-300, max_value=300))
def test_what_was_signed_is_believed_for_five_minutes(
    body: bytes, secret: str, moment: int, late: float
) -> None:
    header = sign_callback(body, secret, moment)
    assert find_forgery(body, header, secret, float(moment)) is None
    assert find_forgery(body, header, secret, moment + 0.99 * late) is None


@given(BODIES, SECRETS, MOMENTS)
def test_the_header_is_what_the_documentation_says(body: bytes, secret: str, moment: int) -> None:
    signed = str(moment).encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert sign_callback(body, secret, moment) == f"t={moment},v1={expected}"


@given(BODIES, BODIES, SECRETS, SECRETS, MOMENTS, MOMENTS)
def test_nothing_else_is_believed(
    body: bytes, other: bytes, secret: str, another: str, moment: int, later: int
) -> None:
    header = sign_callback(body, secret, moment)
    if other != body:
        assert find_forgery(other, header, secret, moment) is not None
    # HMAC fills short keys up with zeros: that is one key.
    if another.rstrip("\0") != secret.rstrip("\0"):
        assert find_forgery(body, header, another, moment) is not None
    if later != moment:
        moved = header.replace(f"t={moment},", f"t={later},")
        assert find_forgery(body, moved, secret, later) is not None
    if abs(later - moment) > 300:
        assert find_forgery(body, header, secret, later) is not None


@given(BODIES, SECRETS, MOMENTS, st.integers(min_value=0))
def test_a_changed_digit_is_noticed(body: bytes, secret: str, moment: int, place: int) -> None:
    header = sign_callback(body, secret, moment)
    at = len(header) - 64 + place % 64
    forged = header[:at] + ("0" if header[at] != "0" else "1") + header[at + 1 :]
    assert find_forgery(body, forged, secret, moment) is not None


@given(BODIES, SECRETS, MOMENTS)
def test_one_of_several_signatures_is_enough(body: bytes, secret: str, moment: int) -> None:
    time, _, mine = sign_callback(body, secret, moment).partition(",")
    foreign = sign_callback(body, secret + "x", moment).partition(",")[2]
    assert find_forgery(body, f"{time}, {foreign}, {mine}", secret, moment) is None
    assert find_forgery(body, f"{time},{foreign}", secret, moment) is not None


@given(st.text(max_size=80))
def test_no_header_of_a_stranger_is_believed_or_crashes(header: str) -> None:
    assert find_forgery(b"{}", header, "secret", 0.0) is not None


def test_times_are_plain_numbers_and_stand_there_once() -> None:
    good = sign_callback(b"{}", "secret", 5)
    v1 = good.partition(",")[2]
    for time in ("t=\u0665", "t=+5", "t=5,t=5", "t=", "t=1" + "0" * 12, "T=5"):
        assert find_forgery(b"{}", f"{time},{v1}", "secret", 5.0) is not None
