"""When two addresses are one mailbox, and when they only look alike.

Case-folding finds candidates, but folds letters that mail servers tell apart ("ß" and "ss"): what
is mailed to an address may only tell of customers whose address is that mailbox for certain.
"""

from __future__ import annotations

import re
import string

_LONGEST = 254
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def mailbox_of(address: str) -> str:
    """The same for addresses that differ in nothing but the case of ASCII letters."""
    return address.strip().translate(_ASCII_LOWER)


def looks_like_address(text: str) -> bool:
    """Whether mail could go there; no more than a guess, the mail is the proof."""
    if len(text) > _LONGEST or not text.isprintable():
        return False
    return bool(re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", text))
