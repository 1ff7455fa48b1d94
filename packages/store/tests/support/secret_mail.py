"""A mail that is full of secrets, and failures that tell none of them."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Callable

import pytest

from shimmy_store.errors import MailError
from shimmy_store.ports.mail import Mail, Written

# Loopback speaks no TLS; without this, every client reads all root certificates first.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
SENDER = "Shimmy Vision <licences@shimmy.example>"
TO, KEY, PASSWORD = "ada@example.com", "FDAAD9-B0D1C8-057518", "pass:w/rd"
LINK = "https://store.example/merge?token=abc"
TEXT, HTML = f"Voilà:\n\n.{KEY}\n{LINK}\n", f"<p>Voilà {KEY} {LINK}</p>\n"
MAIL = Mail("licence/7b0c", TO, Written("Votre clé: 許可證", TEXT, HTML))


def failure(send: Callable[[], object]) -> MailError:
    """What sending raises; not even its traceback tells a secret."""
    with pytest.raises(MailError) as raised:
        send()
    error = raised.value
    told = "".join((*traceback.format_exception(error), error.hint, repr(error), repr(MAIL)))
    for secret in (TO, KEY, LINK, PASSWORD, "re_sandbox", "NotASecret"):
        assert secret not in told
    return error
