"""What the client reads from the environment of the program that uses it.

Apart from the product's own settings: a program with the client in it need not be one of ours.
"""

from __future__ import annotations

import os


def api_key_from_environment() -> str | None:
    """``SHIMMY_API_KEY``: the one key to send, where the program names none itself."""
    return os.environ.get("SHIMMY_API_KEY", "").strip() or None
