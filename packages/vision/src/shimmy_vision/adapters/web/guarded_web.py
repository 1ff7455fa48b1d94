"""Every way to the web, guarded alike by what the operator allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shimmy_vision.adapters.web.chromium_pages import ChromiumPages
from shimmy_vision.adapters.web.guarded_fetch import GuardedFetch
from shimmy_vision.adapters.web.guarded_post import GuardedPost
from shimmy_vision.domain.web.allow_list import read_allow_list
from shimmy_vision.errors import UsageError


@dataclass(frozen=True, slots=True)
class GuardedWeb:
    """What fetches, what takes pictures, and what sends messages."""

    fetch: GuardedFetch
    camera: ChromiumPages
    post: GuardedPost


def guarded_web(allowed: Iterable[str], *, offline: bool) -> GuardedWeb:
    """``allowed`` as SHIMMY_ALLOW_URLS lists it. Raises UsageError allow-list-malformed."""
    try:
        allow = read_allow_list(allowed)
    except ValueError as error:
        raise UsageError(
            "allow-list-malformed",
            f"SHIMMY_ALLOW_URLS: {error}.",
            hint="Separate with commas, like 10.0.0.0/8,10.1.2.3:8080,[fd00::1]:80,"
            "intranet.example:443",
        ) from error
    return GuardedWeb(
        GuardedFetch(allow, offline=offline),
        ChromiumPages(allow, offline=offline),
        GuardedPost(allow, offline=offline),
    )
