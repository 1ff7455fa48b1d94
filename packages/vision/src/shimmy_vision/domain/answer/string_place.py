"""Whether a place within JSON is inside a string."""

from __future__ import annotations

from typing import NamedTuple

QUOTE = ord('"')
_BACKSLASH = ord("\\")


class StringPlace(NamedTuple):
    """``escaped`` right after a backslash."""

    inside: bool = False
    escaped: bool = False

    def after(self, byte: int) -> StringPlace:
        """The place one ``byte`` further on."""
        if self.escaped:
            return StringPlace(self.inside)
        if byte == QUOTE:
            return StringPlace(not self.inside)
        return StringPlace(self.inside, self.inside and byte == _BACKSLASH)


_OUTSIDE = StringPlace()


def place_after(data: bytes, place: StringPlace = _OUTSIDE) -> StringPlace:
    """The place behind ``data``, which begins at ``place``."""
    for byte in data:
        place = place.after(byte)
    return place
