"""Ed25519 verification: RFC 8032's vectors, and everything that must not pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shimmy_store.adapters.signature_verifier import ed25519_verifier
from shimmy_store.domain import ed25519
from shimmy_store.domain.ed25519 import is_public_key, verify_ed25519

_FIELD = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
# RFC 8032, section 7.1: public key, message, signature. The last one's message is SHA-512 of "abc".
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
        "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290"
        "ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a8"
        "36ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ec"
        "fdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
KEY, MESSAGE, SIGNATURE = (bytes.fromhex(one) for one in VECTORS[1])

Verify = Callable[[bytes, bytes, bytes], bool]
both = pytest.mark.parametrize("verify", [verify_ed25519, ed25519_verifier()])


def _written(number: int) -> bytes:
    return number.to_bytes(32, "little")


@both
@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032_verify(
    verify: Verify, key: str, message: str, signature: str
) -> None:
    assert verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


@both
@given(place=st.integers(0, 64 * 8 - 1))
def test_every_bit_of_a_signature_counts(verify: Verify, place: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[place // 8] ^= 1 << place % 8
    assert not verify(KEY, MESSAGE, bytes(changed))


@both
@given(message=st.binary(max_size=40))
def test_no_other_message_passes(verify: Verify, message: bytes) -> None:
    assert verify(KEY, message, SIGNATURE) == (message == MESSAGE)


@both
def test_the_same_signature_cannot_be_written_with_a_larger_scalar(verify: Verify) -> None:
    scalar = int.from_bytes(SIGNATURE[32:], "little")
    for larger in (scalar + _ORDER, scalar + 2 * _ORDER):
        assert not verify(KEY, MESSAGE, SIGNATURE[:32] + _written(larger))


@both
def test_another_key_does_not_pass(verify: Verify) -> None:
    assert not verify(bytes.fromhex(VECTORS[0][0]), MESSAGE, SIGNATURE)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(_written(_FIELD + 1), id="y is not reduced"),
        pytest.param(_written(1 | 1 << 255), id="x is zero and odd"),
        pytest.param(_written(2), id="no such point"),
        pytest.param(b"\xff" * 32, id="everything"),
    ],
)
def test_a_key_that_is_no_point_as_it_is_written_is_refused(key: bytes) -> None:
    # The point itself, as (0, 1) written anew: it would verify whatever has R as base times S.
    assert not verify_ed25519(key, MESSAGE, SIGNATURE)
    assert not verify_ed25519(key, MESSAGE, key + bytes(32))


def test_a_nonce_that_is_not_reduced_is_refused_where_the_reduced_one_passes() -> None:
    # Of a key of small order every message has this signature: R is the neutral point and S is 0.
    neutral = _written(1)
    assert verify_ed25519(neutral, MESSAGE, neutral + bytes(32))
    assert not verify_ed25519(neutral, MESSAGE, _written(_FIELD + 1) + bytes(32))
    assert not verify_ed25519(_written(_FIELD + 1), MESSAGE, neutral + bytes(32))


# Everything of small order, each in its one form; the last four have order 8.
SMALL = [
    bytes.fromhex(one)
    for one in (
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "00" * 32,
        "00" * 31 + "80",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]


@pytest.mark.parametrize("key", SMALL, ids=lambda key: key.hex()[:6] + key.hex()[-2:])
def test_a_key_under_which_anybody_can_sign_is_no_public_key(key: bytes) -> None:
    assert not is_public_key(key)
    # Why: of a few messages, one has this signature, which nobody made.
    signed = [verify_ed25519(key, bytes([n]), _written(1) + bytes(32)) for n in range(100)]
    assert any(signed)


def test_keys_of_somebody_are_public_keys() -> None:
    assert all(is_public_key(bytes.fromhex(key)) for key, _, _ in VECTORS)
    for wrong in (b"", KEY[:31], KEY + b"x", b"\xff" * 32, _written(_FIELD + 1), _written(2)):
        assert not is_public_key(wrong)


def _sum(first: int, one: bytes, second: int, other: bytes) -> bytes:
    points = [ed25519._decompress(each) for each in (one, other)]
    assert points[0] is not None and points[1] is not None
    return ed25519._compress(ed25519._sum_of_multiples(first, points[0], second, points[1]))


@given(
    secret=st.integers(1, _ORDER - 1), part=st.sampled_from(SMALL), message=st.binary(max_size=9)
)
def test_both_judge_keys_and_nonces_with_a_part_of_small_order_alike(
    secret: int, part: bytes, message: bytes
) -> None:
    """The equation without the cofactor, as OpenSSL has it: they part where somebody multiplies."""
    base = ed25519._compress(ed25519._BASE)
    openssl = ed25519_verifier()
    key, plain = _sum(secret, base, 1, part), _sum(7, base, 0, part)
    for nonce in (plain, _sum(7, base, 1, part)):
        digest = hashlib.sha512(nonce + key + message).digest()
        scalar = (7 + int.from_bytes(digest, "little") * secret) % _ORDER
        signature = nonce + _written(scalar)
        verdict = verify_ed25519(key, message, signature)
        assert verdict == openssl(key, message, signature)
        if part == SMALL[0]:
            assert verdict


@both
@given(st.binary(max_size=70), st.binary(max_size=130), st.binary(max_size=10))
def test_nothing_anybody_sends_is_an_exception(
    verify: Verify, key: bytes, signature: bytes, message: bytes
) -> None:
    verdict = verify(key, message, signature)
    assert not verdict or not is_public_key(key), "what is made up passes under nobody's key alone"


@given(key=st.binary(min_size=32, max_size=32), signature=st.binary(min_size=64, max_size=64))
def test_what_is_made_up_is_refused_by_both(key: bytes, signature: bytes) -> None:
    assume(is_public_key(key))
    assert not verify_ed25519(key, MESSAGE, signature)
    assert not ed25519_verifier()(key, MESSAGE, signature)
