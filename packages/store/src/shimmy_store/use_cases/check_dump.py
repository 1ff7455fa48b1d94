"""Is a dump of a ledger whole?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from shimmy_store.domain.ledger_dump import DumpReader, WholeDump

# Between so many lines others get their turn.
_AT_ONCE = 200


async def check_dump(lines: Iterable[bytes]) -> WholeDump:
    """Reads every line to the end. Raises DumpError."""
    reader = DumpReader()
    for number, line in enumerate(lines):
        reader.take(line)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return reader.finish()
