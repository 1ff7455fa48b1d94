"""Whose payload this build loads.

Empty in a checkout: nothing is signed, and the build says so wherever it speaks of its library. A
release is built with ``SHIMMY_PAYLOAD``, and ``hatch_build.py`` puts the key in this file's place.
"""

from __future__ import annotations

from typing import Final

# Ed25519, 32 bytes in hex.
PUBLIC_KEY: Final[str] = ""
# Apple's ten characters for whoever signed the macOS build.
APPLE_TEAM: Final[str] = ""
