"""Text that may be kept: without what is, or looks like, a secret."""

from __future__ import annotations

from collections.abc import Iterable

from shimmy_ops.domain.secrets.detection import find_secrets

_SHORTEST = 8


def redact(text: str, known: Iterable[str]) -> str:
    """``known`` secrets and whatever else looks like one replaced by words that say so."""
    for secret in sorted({one for one in known if len(one) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    for match in reversed(find_secrets(text)):
        text = f"{text[: match.start]}[{match.kind}]{text[match.end :]}"
    return text
