"""What a shopper says who cannot go on."""

from __future__ import annotations


class ShopperError(Exception):
    """The message says what was in the way and what to do; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
