"""Pages that wait are reported, where there is a key to report them under."""

from __future__ import annotations

from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.sync_pages import sync_pages


def report_pages(licensing: Licensing, *, leaving: bool = False) -> None:
    """As ``sync_pages`` for the key in use; nothing without one. Raises LicenceError."""
    key = licensing.key()
    if key is not None:
        sync_pages(key, licensing, leaving=leaving)
