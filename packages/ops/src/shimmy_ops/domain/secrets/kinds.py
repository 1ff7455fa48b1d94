"""The kinds of secrets that are known by their shape, with what to do about each.

A shape begins with something rare, its needle, which is looked for first: most texts hold none.
Nothing is demanded before a shape that is rare enough, because in compiled files the byte before
a string is its length and may be a letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_STRIPE = "roll the key in Stripe's dashboard (Developers, API keys), then remove it here"
_KEYGEN = "revoke the token at Keygen and make another, then remove it here"
_CLOUDFLARE = "roll it in Cloudflare's dashboard (My profile, API tokens), then remove it here"
_REVOKE = "revoke it where it was issued, make another, then remove it here"
_INSIDE = r"(?:(?!-----)[\t\r\n\x20-\x7e])"
# A header alone is no key: code and prose name it.
_PEM_BODY = rf"-----{_INSIDE}{{0,400}}?[A-Za-z0-9+/]{{40}}{_INSIDE}{{0,8192}}"


def _any(_: str) -> bool:
    return True


def _mixed(value: str) -> bool:
    # Words joined to a prefix by chance, as in `task_test_…`, are in one case and without digits.
    body = value.rpartition("_")[2]
    return not (body.islower() or body.isupper()) or any(c.isdigit() for c in body)


def _has_digit(value: str) -> bool:
    return any(c.isdigit() for c in value)


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind that its own characters give away."""

    kind: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    remedy: str
    plausible: Callable[[str], bool] = _any


def _shape(
    kind: str, needles: str, pattern: str, remedy: str, plausible: Callable[[str], bool] = _any
) -> Shape:
    return Shape(kind, tuple(needles.split()), re.compile(pattern), remedy, plausible)


SHAPES = (
    _shape("stripe-live-key", "k_live_", r"[sr]k_live_[A-Za-z0-9]{16,255}", _STRIPE, _mixed),
    _shape("stripe-test-key", "k_test_", r"[sr]k_test_[A-Za-z0-9]{16,255}", _STRIPE, _mixed),
    _shape(
        "stripe-publishable-key",
        "pk_live_ pk_test_",
        r"pk_(?:live|test)_[A-Za-z0-9]{16,255}",
        "the store needs no publishable key: remove it",
        _mixed,
    ),
    _shape(
        "webhook-secret",
        "whsec_",
        r"whsec_[A-Za-z0-9+/]{20,128}={0,2}",
        "roll the endpoint's secret at Stripe, then remove it here",
        _mixed,
    ),
    _shape(
        "keygen-token",
        "admin- dev- sale- supp- prod- activ- user- env-",
        r"(?:admin|dev|sale|supp|prod|activ|user|env)-[0-9a-f]{32,128}v[1-9]",
        _KEYGEN,
    ),
    _shape(
        "keygen-licence-key",
        "-V3",
        r"[0-9A-F]{6}(?:-[0-9A-F]{6}){4}-V3",
        "suspend the licence and issue another key, then remove it here",
    ),
    _shape(
        "keygen-signed-key",
        "key/",
        r"key/[A-Za-z0-9_-]{16,4096}={0,2}\.[A-Za-z0-9_-]{80,700}={0,2}",
        "suspend the licence and issue another key, then remove it here",
    ),
    _shape(
        "keygen-licence-file",
        "-----BEGIN",
        r"-----BEGIN (?:LICENSE|MACHINE) FILE" + _PEM_BODY,
        "it is a customer's: remove it, and check out a new file",
    ),
    _shape(
        "cloudflare-token",
        "cfut_ cfat_ cfk_",
        r"cf(?:ut|at|k)_[A-Za-z0-9_-]{36,64}",
        _CLOUDFLARE,
        _has_digit,
    ),
    _shape("cloudflare-origin-key", "v1.0-", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}", _CLOUDFLARE),
    _shape(
        "resend-key",
        "re_",
        r"(?<![A-Za-z0-9_])re_[A-Za-z0-9]{8,12}_[A-Za-z0-9]{20,40}",
        "delete the key in Resend's dashboard, make another, then remove it here",
        _has_digit,
    ),
    _shape("sendgrid-key", "SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", _REVOKE),
    _shape("github-token", "gh", r"gh[pousr]_[A-Za-z0-9]{36,255}", _REVOKE),
    _shape("github-token", "github_pat_", r"github_pat_[A-Za-z0-9_]{60,255}", _REVOKE),
    _shape("pypi-token", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{50,1000}", _REVOKE),
    _shape("npm-token", "npm_", r"npm_[A-Za-z0-9]{36}", _REVOKE, _has_digit),
    _shape("huggingface-token", "hf_", r"hf_[A-Za-z0-9]{34,40}(?![A-Za-z0-9_])", _REVOKE, _mixed),
    _shape("aws-key", "AKIA ASIA", r"(?<![\w/+])A[KS]IA[A-Z2-7]{16}(?![\w/+])", _REVOKE),
    _shape("ai-service-key", "sk-", r"sk-(?:ant|proj)-[A-Za-z0-9_-]{32,255}", _REVOKE, _has_digit),
    _shape(
        "private-key",
        "PRIVATE KEY",
        r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?" + _PEM_BODY,
        "replace the key pair everywhere its public half is trusted, then remove it here",
    ),
    _shape("private-key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}", _REVOKE),
    _shape("private-key", "PuTTY-User-Key", r"PuTTY-User-Key-File-\d: [^\x00]{40,4096}", _REVOKE),
    _shape(
        "jwt",
        "eyJ",
        r"eyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{20,1024}",
        "end the session it stands for, then remove it here",
    ),
)

REMEDIES = {shape.kind: shape.remedy for shape in SHAPES} | {
    "mail-password": "change the password at the mail provider, then remove it here",
    "url-password": "change the password, then remove it here",
    "signing-seed": "replace the key pair everywhere its public half is trusted, then remove it",
    "cloudflare-key": _CLOUDFLARE,
    "high-entropy-value": "if it is a secret: revoke it and remove it; if not, allow it by reason",
    "not-scanned": "look into it by hand, or unpack it and scan what it holds",
    "allowance-unused": "remove the entry: nothing that was scanned needs it",
    "allowance-expired": "remove what it allowed, or decide again until when it may stay",
}
