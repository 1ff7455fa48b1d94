"""Refusals of the mail API: a status, a name that programs read, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RefusalError(Exception):
    """A request that is refused; ``name`` is what a client decides by."""

    def __init__(self, status: int, name: str, message: str, retry_after: int | None) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.retry_after = retry_after

    @classmethod
    def of(
        cls, status: int, name: str, message: str, retry_after: int | None = None
    ) -> RefusalError:
        """A refusal; ``retry_after`` seconds become a header."""
        return cls(status, name, message, retry_after)

    @property
    def body(self) -> Mapping[str, Any]:
        """What the client reads."""
        return {"statusCode": self.status, "name": self.name, "message": str(self)}


def wrong(message: str, status: int = 422) -> RefusalError:
    """``validation_error``: the message names the field."""
    return RefusalError.of(status, "validation_error", message)
