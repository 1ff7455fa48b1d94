"""One short mail through the store's own mailer, to see that mail goes out."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from shimmy_store.ports.mail import Mail, Mailer, Written

_TEXT = """\
This is a test of the store's mail, asked for by its operator.

If you read this, mail from the store arrives here. There is nothing to do.
"""


async def probe_mail(to: str, mailer: Mailer, clock: Callable[[], float]) -> float:
    """The seconds until the mail server had taken it; ``clock`` counts them. Raises MailError."""
    paragraphs = "".join(f"<p>{one.strip()}</p>" for one in _TEXT.split("\n\n"))
    html = f'<!doctype html><html lang="en"><title>Test</title><body>{paragraphs}</body></html>'
    mail = Mail(f"probe/{uuid.uuid4()}", to, Written("A test of the store's mail", _TEXT, html))
    began = clock()
    await mailer.send(mail)
    return clock() - began
