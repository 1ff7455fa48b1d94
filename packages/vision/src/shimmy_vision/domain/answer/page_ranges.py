"""Which pages of a document are asked for: ``1-3,7,10-``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shimmy_vision.errors import UsageError

_RANGE = re.compile(r"\s*([1-9][0-9]{0,8})\s*(?:(-)\s*([1-9][0-9]{0,8})?\s*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages ``first`` to ``last``, counted from 1, both included; None is the document's end."""

    first: int
    last: int | None


EVERY_PAGE = (PageRange(1, None),)


def parse_pages(text: str) -> tuple[PageRange, ...]:
    """The ranges that ``text`` names, as they stand there. Raises UsageError."""
    return tuple(_parse(part) for part in text.split(","))


def choose_pages(ranges: Sequence[PageRange], count: int) -> tuple[int, ...]:
    """Numbers of the pages in ``ranges`` of a document of ``count``, each once, in order of asking.

    Raises UsageError where a named page is not there.
    """
    beyond = [page for part in ranges for page in (part.first, part.last or 1) if page > count]
    if beyond:
        raise UsageError(
            "page-out-of-range",
            f"There is no page {max(beyond):,}: the document has {count:,}.",
            hint=f"Name pages from 1 to {count}; '3-' takes all from the third on.",
        )
    numbers = (n for part in ranges for n in range(part.first, (part.last or count) + 1))
    return tuple(dict.fromkeys(numbers))


def _parse(part: str) -> PageRange:
    match = _RANGE.fullmatch(part)
    if match is not None:
        first, dash, last = match.groups()
        end = int(last) if last else None if dash else int(first)
        if end is None or end >= int(first):
            return PageRange(int(first), end)
    raise UsageError(
        "pages-malformed",
        f"'{part.strip()}' names no pages.",
        hint="Pages count from 1 and are named like 1-3,7,10-.",
    )
