"""Secrets made when tests run: written down they would be findings of their own."""

from __future__ import annotations

import base64
import hashlib
import json

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def drawn(seed: str, length: int, alphabet: str = LETTERS) -> str:
    """Random for a reader, the same at every run."""
    digest, text = seed.encode(), ""
    while len(text) < length:
        digest = hashlib.sha256(digest).digest()
        text += "".join(alphabet[byte % len(alphabet)] for byte in digest)
    return text[:length]


def hexadecimal(seed: str, length: int) -> str:
    """Lower-case digits."""
    return drawn(seed, length, "0123456789abcdef")


def licence_key(seed: str) -> str:
    """As Keygen makes them by default."""
    groups = [drawn(f"{seed}{n}", 6, "0123456789ABCDEF") for n in range(5)]
    return "-".join([*groups, "V3"])


def pem(kind: str, seed: str = "pem") -> str:
    """A block of base64 between its two lines."""
    body = base64.b64encode(hashlib.sha512(seed.encode()).digest() * 2).decode()
    lines = "\n".join(body[n : n + 64] for n in range(0, len(body), 64))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"


def json_web_token() -> str:
    """Header, payload, signature."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, {"sub": "somebody"})]
    names = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*names, drawn("jwt", 43)])


# (kind, text that holds one secret, the secret)
def planted() -> list[tuple[str, str, str]]:
    """One of every kind, in the words around it."""
    alone = {
        "stripe-live-key": "sk_" + "live_" + drawn("a", 24),
        "stripe-test-key": "rk_" + "test_51H" + drawn("b", 96),
        "stripe-publishable-key": "pk_" + "live_51H" + drawn("c", 96),
        "webhook-secret": "whsec" + "_" + drawn("d", 32),
        "keygen-token": "prod" + "-" + hexadecimal("e", 64) + "v3",
        "keygen-licence-key": licence_key("f"),
        "keygen-signed-key": "key" + "/" + drawn("g", 60) + "." + drawn("h", 86) + "==",
        "cloudflare-token": "cfut" + "_" + drawn("i", 48),
        "cloudflare-origin-key": "v1" + ".0-" + hexadecimal("j", 24) + "-" + hexadecimal("k", 146),
        "resend-key": "re" + "_" + drawn("l", 8) + "_" + drawn("m", 24),
        "sendgrid-key": "SG" + "." + drawn("n", 22) + "." + drawn("o", 43),
        "github-token": "ghp" + "_" + drawn("p", 36),
        "pypi-token": "pypi" + "-AgEIcHlwaS5vcmc" + drawn("q", 100),
        "npm-token": "npm" + "_" + drawn("r", 36),
        "huggingface-token": "hf" + "_" + drawn("s", 34),
        "aws-key": "AK" + "IA" + drawn("t", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        "ai-service-key": "sk" + "-ant-api03-" + drawn("u", 90),
        "jwt": json_web_token(),
    }
    found = [(kind, f"before {value} after", value) for kind, value in alone.items()]
    for kind in ("PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        text = pem(kind)
        found.append(("private-key", text, text[: text.index("-----END")]))
    text = pem("LICENSE FILE")
    found.append(("keygen-licence-file", text, text[: text.index("-----END")]))
    value = drawn("v", 16)
    found.append(("mail-password", f"smtps://mail:{value}@smtp.host.eu:465", value))
    found.append(("url-password", f"postgresql://store:{value}@db/store", value))
    value = hexadecimal("w", 64)
    found.append(("signing-seed", f'SIGNING_SEED = bytes.fromhex("{value}")', value))
    value = hexadecimal("x", 37)
    found.append(("cloudflare-key", f"CLOUDFLARE_API_KEY={value}\n", value))
    value = drawn("y", 40)
    found.append(("high-entropy-value", f'{{"client_secret": "{value}"}}', value))
    found.append(("high-entropy-value", f"SESSION_SECRET={value}\n", value))
    found.append(("high-entropy-value", f"Authorization: Bearer {value}", value))
    return found
