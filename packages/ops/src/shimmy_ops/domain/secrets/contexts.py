"""Secrets that only their surroundings give away: what is assigned to which name, what is in a URL.

Every pattern starts at a literal and is bounded to both sides: a bundle of one line of megabytes
must not be read again from each of its characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from shimmy_ops.domain.secrets.findings import Match

_ASSIGNMENT = re.compile(
    r"(?:secret|token|passw(?:or)?d|passphrase|credential|seed"
    r"|(?:api|access|private|signing|encryption|account|global|auth|stripe|keygen|resend)[_-]?key"
    r"|x-auth-key|authorization)"
    r"[\w-]{0,32}[\"'\]]{0,2}(?:\s{0,2}:\s{0,2}[A-Za-z]{1,12}(?=\s{0,2}=))?"
    r"\s{0,4}(?::=|=>|[=:,(])\s{0,4}"
    r"(?:[\w.]{1,32}\(\s{0,4})?[brf]{0,2}(?P<quote>[\"'`]?)"
    r"(?:bearer |basic |license |token )?"
    r"(?P<value>[A-Za-z0-9+/_=.!@#$%^&*~-]{16,512})",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(
    r"://(?P<user>[^\s/:@\"'<>{}]{0,96}):(?P<value>[^\s/@\"'<>{}]{6,128})@(?=[\w\[])"
)
_NAME_BEFORE = re.compile(r"[\w.-]{0,48}$")
_MAIL_BEFORE = re.compile(r"(?:smtp|imap|pop3?|submission)s?(?:\+\w{1,9})?$", re.IGNORECASE)
# What such names hold is published on purpose, or names something instead of opening it.
_PUBLIC_NAMES = re.compile(
    r"sha\d|hash|digest|checksum|public|fingerprint|integrity|etag|nonce|idempotency|tokenizer"
    r"|(?:^|[_-])ids?\W*$",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"example|placeholder|change.?me|your[_-]|dummy|redacted|not.?a.?secret|xxxx|\.\.\.|0123456"
    r"|1234567|abcdefg|lorem|(.)\1{5}",
    re.IGNORECASE,
)
_COMMON_PASSWORDS = {"password", "passwd", "secret", "hidden", "example", "changeme", "username"}
_SEED_NAMES = re.compile(r"seed|private|signing|secret", re.IGNORECASE)
_SEED = re.compile(r"(?:[0-9a-f]{64}|[0-9a-f]{128}|[0-9A-F]{64}|[0-9A-F]{128})")
_CLOUDFLARE_NAMES = re.compile(r"cloudflare|\bcf[_-]|x-auth-key", re.IGNORECASE)
_CLOUDFLARE_KEY = re.compile(r"[0-9a-f]{37}|[A-Za-z0-9_-]{40}")
_HEX = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LONGEST_PLAIN, _LEAST_ENTROPY, _LEAST_HEX_ENTROPY, _LEAST_CHANGES = 20, 3.6, 3.0, 0.28


def find_in_context(text: str) -> Iterator[Match]:
    """Passwords in URLs, seeds and keys by their names, and values too random to be words."""
    yield from _url_passwords(text)
    yield from _assignments(text)


def entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)


def is_random(value: str) -> bool:
    """Whether ``value`` looks drawn by lot: even characters, and kinds that change often.

    Identifiers and sentences reach a high entropy as well, but their letters and digits come in
    runs; in random text the kind (lower, upper, digit) changes at every second character.
    """
    if _PLACEHOLDER.search(value) or _UUID.fullmatch(value):
        return False
    bare = re.sub(r"[^A-Za-z0-9]", "", value)
    if len(bare) < _LONGEST_PLAIN or not any(c.isdigit() for c in bare):
        return False
    if _HEX.fullmatch(bare):
        return len(bare) >= 32 and entropy(bare) >= _LEAST_HEX_ENTROPY
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in bare]
    changes = sum(a != b for a, b in pairwise(kinds)) / len(kinds)
    return entropy(bare) >= _LEAST_ENTROPY and changes >= _LEAST_CHANGES


def _url_passwords(text: str) -> Iterator[Match]:
    if "://" not in text:
        return
    for found in _URL_PASSWORD.finditer(text):
        value = found["value"]
        if value.startswith(("$", "%")) or value.lower() in _COMMON_PASSWORDS:
            continue
        if set(value) <= set("*.…x") or _PLACEHOLDER.search(value):
            continue
        mail = _MAIL_BEFORE.search(text, max(0, found.start() - 24), found.start())
        kind = "mail-password" if mail else "url-password"
        yield Match(kind, found.start("value"), found.end("value"), value)


def _assignments(text: str) -> Iterator[Match]:
    for found in _ASSIGNMENT.finditer(text):
        before = _NAME_BEFORE.search(text, max(0, found.start() - 48), found.start())
        name = (before[0] if before else "") + text[found.start() : found.start("value")]
        kind = _kind_of(name, found["value"].rstrip(".=,"), quoted=bool(found["quote"]))
        if kind:
            start = found.start("value")
            value = found["value"].rstrip(".=,") if not found["quote"] else found["value"]
            yield Match(kind, start, start + len(value), value)


def _kind_of(name: str, value: str, *, quoted: bool) -> str | None:
    label = re.split(r"[=:,(]", name, maxsplit=1)[0]
    if _PUBLIC_NAMES.search(label):
        return None
    if _SEED_NAMES.search(label) and _SEED.fullmatch(value) and len(set(value)) > 8:
        return "signing-seed"
    if _CLOUDFLARE_NAMES.search(label) and _CLOUDFLARE_KEY.fullmatch(value) and is_random(value):
        return "cloudflare-key"
    # Without quotes, dots and operators are those of a program: a call, an attribute, a sum.
    if not quoted and re.search(r"[.*&^%$#!@]", value):
        return None
    return "high-entropy-value" if is_random(value) else None
