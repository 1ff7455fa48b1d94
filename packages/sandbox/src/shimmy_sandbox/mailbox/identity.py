"""What never changes about the mailbox; published, so no secret."""

from __future__ import annotations

from typing import Final

API_KEY: Final = "re_sandbox_shimmyNotASecret"
SMTP_USER: Final = "mailbox"
SMTP_PASSWORD: Final = "sandbox"  # noqa: S105 - published, worth nothing
HOST_NAME: Final = "mailbox.localhost"
"""How the server calls itself, and the domain of the Message-IDs it makes up."""
