"""Every secret in a text, each once: what its own shape shows comes before its surroundings."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator

from shimmy_ops.domain.secrets.contexts import find_in_context
from shimmy_ops.domain.secrets.findings import Match
from shimmy_ops.domain.secrets.kinds import SHAPES

# Shorter than any shape would be; a run of another alphabet is no Base64 of ours.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")


def find_secrets(text: str) -> tuple[Match, ...]:
    """The secrets of ``text`` in its order; no two of them overlap."""
    taken, covered = [], bytearray()
    for match in (*_by_shape(text), *_encoded(text), *find_in_context(text)):
        covered = covered or bytearray(len(text))
        if not any(covered[match.start : match.end]):
            covered[match.start : match.end] = b"\1" * (match.end - match.start)
            taken.append(match)
    return tuple(sorted(taken, key=lambda match: match.start))


def _by_shape(text: str) -> Iterator[Match]:
    for shape in SHAPES:
        if any(needle in text for needle in shape.needles):
            for found in shape.pattern.finditer(text):
                if shape.plausible(found[0]):
                    yield Match(shape.kind, found.start(), found.end(), found[0])


def _encoded(text: str) -> Iterator[Match]:
    """Shapes under one layer of Base64, as Kubernetes and CI systems write secrets down."""
    for found in _BASE64.finditer(text):
        plain = found[0].rstrip("=").replace("-", "+").replace("_", "/")
        plain = plain[: -1 if len(plain) % 4 == 1 else None]
        decoded = a2b_base64(plain + "=" * (-len(plain) % 4)).decode("latin-1")
        for inner in _by_shape(decoded):
            yield Match(inner.kind, found.start(), found.end(), found[0])
            break
