"""Pages that this machine was to count when it was killed are counted now."""

from __future__ import annotations

from contextlib import suppress

from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licensing import Licensing


def recover_claims(licensing: Licensing) -> None:
    """Where a record cannot be read or written, the next start tries again."""
    with suppress(LicenceError):
        key = licensing.key()
        if key is None:
            return
        for pages in licensing.claims.pending(key):
            with licensing.claims.counting(key, pages) as ours, licensing.state.session(key) as one:
                if ours:
                    # Once, however often: its own record knows the page's id.
                    one.commit(pages)
