"""What support was given to find a customer by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_ops.domain.customers.key_masks import KeyMask, is_whole_key, parse_mask
from shimmy_ops.errors import CustomerError

IdKind: TypeAlias = Literal["customer", "session", "subscription", "licence"]
_IDS: tuple[tuple[IdKind, str], ...] = (
    ("customer", r"cus_\w+"),
    ("session", r"cs_\w+"),
    ("subscription", r"sub_\w+"),
    ("licence", r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
)
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")


@dataclass(frozen=True, slots=True)
class SoughtId:
    """An id of Stripe's or Keygen's."""

    kind: IdKind
    id: str


@dataclass(frozen=True, slots=True)
class SoughtAddress:
    """An e-mail address, as it was given."""

    email: str


@dataclass(frozen=True, slots=True)
class SoughtKey:
    """A key, whole or with gaps."""

    mask: KeyMask


Sought: TypeAlias = SoughtId | SoughtAddress | SoughtKey


def parse_sought(text: str, *, visible: bool) -> Sought:
    """Raises CustomerError; also for a whole key that others can see (``visible``)."""
    text = text.strip()
    if is_whole_key(text):
        if visible:
            raise CustomerError(
                "key-in-arguments",
                "A whole key was given as an argument, which everybody on this machine can read.",
                hint="Give - and the key on standard input, or leave the middle of it out.",
            )
        return SoughtKey(KeyMask((_without_dashes(text), "")))
    for kind, form in _IDS:
        if re.fullmatch(form, text, re.ASCII):
            return SoughtId(kind, text.lower() if kind == "licence" else text)
    if _is_address(text):
        return SoughtAddress(text)
    return SoughtKey(parse_mask(text))


def parse_person(text: str) -> SoughtId | SoughtAddress:
    """A customer's id or an address. Raises CustomerError."""
    text = text.strip()
    if re.fullmatch(_IDS[0][1], text, re.ASCII):
        return SoughtId("customer", text)
    if _is_address(text):
        return SoughtAddress(text)
    raise CustomerError(
        "person-not-understood",
        "A customer is named by an id (cus_…) or an address.",
        hint="`shimmy-ops support lookup` finds the id by key, session or subscription.",
    )


def _is_address(text: str) -> bool:
    # Halves of characters, as a terminal may give them, cannot be sent to anybody.
    return text.isprintable() and _ADDRESS.fullmatch(text) is not None


def mask_address(email: str) -> str:
    """The first letter, and where the mailbox is: a***@example.com."""
    name, at, host = email.partition("@")
    return f"{name[:1]}***{at}{host}" if at else "***"


def _without_dashes(key: str) -> str:
    return re.sub(r"[\s\-]+", "", key).upper()
