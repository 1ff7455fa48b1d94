"""Ed25519 verification in plain Python (RFC 8032, 5.1.7), for hosts without a compiled one.

Verification only: what it computes with is public, so that no time it takes tells anything. Strict:
a signature has one form only, and so has a point; what is written in another way is refused.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_SIGN = 1 << 255

# x, y, z, t of extended coordinates: x/z and y/z are the point's, and t is x*y/z.
_Point: TypeAlias = tuple[int, int, int, int]
_NEUTRAL: _Point = (0, 1, 1, 0)


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) is of ``message`` by ``public_key`` (32 bytes)."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key, nonce = _decompress(public_key), _decompress(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or scalar >= _ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % _ORDER
    # [s]B - [k]A is R, and R is compared as it is written.
    return _compress(_sum_of_multiples(scalar, _BASE, challenge, _negated(key))) == signature[:32]


def is_public_key(written: bytes) -> bool:
    """Whether only somebody with a secret can sign for it.

    Under the eight points of small order (all zeros is one) signatures can be made up by anybody.
    """
    point = _decompress(written) if len(written) == 32 else None
    if point is None:
        return False
    return _compress(_doubled(_doubled(_doubled(point)))) != _compress(_NEUTRAL)


def _sum_of_multiples(first: int, one: _Point, second: int, other: _Point) -> _Point:
    """[first]one + [second]other, both in one pass over their bits."""
    table = (_NEUTRAL, one, other, _added(one, other))
    total = _NEUTRAL
    for bit in range(max(first.bit_length(), second.bit_length()) - 1, -1, -1):
        total = _doubled(total)
        choice = (first >> bit & 1) | (second >> bit & 1) << 1
        if choice:
            total = _added(total, table[choice])
    return total


def _added(one: _Point, other: _Point) -> _Point:
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a = (y1 - x1) * (y2 - x2) % _P
    b = (y1 + x1) * (y2 + x2) % _P
    c = 2 * t1 * t2 * _D % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _doubled(point: _Point) -> _Point:
    x, y, z, _ = point
    a, b = x * x % _P, y * y % _P
    h = a + b
    e, g = h - (x + y) ** 2 % _P, a - b
    f = 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _negated(point: _Point) -> _Point:
    x, y, z, t = point
    return -x % _P, y, z, -t % _P


def _compress(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    x, y = x * inverse % _P, y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decompress(written: bytes) -> _Point | None:
    """The point; None where none is written so, or it is written in another way than ours."""
    number = int.from_bytes(written, "little")
    y, odd = number & (_SIGN - 1), number >> 255
    if y >= _P:
        return None
    x = _root((y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P)
    if x is None or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _root(square: int) -> int | None:
    root = pow(square, (_P + 3) // 8, _P)
    if root * root % _P != square:
        root = root * _ROOT_OF_MINUS_ONE % _P
    return root if root * root % _P == square else None


def _base() -> _Point:
    point = _decompress((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert point is not None  # noqa: S101 - a constant of the curve
    return point


_BASE = _base()
