"""The whole ledger over HTTP: out as it is read, in by way of a file that is checked first."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from shimmy_store.domain.ledger_dump import LONGEST_LINE
from shimmy_store.server.operator_gate import answer
from shimmy_store.use_cases.dump_ledger import dump_ledger
from shimmy_store.use_cases.restore_ledger import restore_ledger
from shimmy_store.wiring import Shop

_TYPE = "application/x-ndjson"
_CHUNK_BYTES = 64 * 1024
_IN_MEMORY_BYTES = 8 * 1024 * 1024


async def operator_dump(_request: Request, shop: Shop) -> Response:
    """One moment of the ledger, line by line."""
    lines = await dump_ledger(shop.copies, shop.settings.mode, shop.now())
    return StreamingResponse(
        _chunks(lines), media_type=_TYPE, headers={"Cache-Control": "no-store"}
    )


async def _chunks(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Some lines at once: each piece costs a turn of the loop."""
    chunk = bytearray()
    for line in lines:
        chunk += line
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


async def operator_restore(request: Request, shop: Shop) -> Response:
    """Fill this store's empty ledger."""
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        async for chunk in request.stream():
            spool.write(chunk)
        token = str(uuid.uuid4())
        whole = await restore_ledger(lambda: _lines(spool), shop.copies, shop.settings.mode, token)
    request.app.state.workroom.wake()
    tables = dict(whole.header.tables)
    return answer({"rows": whole.rows, "tables": tables, "sha256": whole.sha256})


def _lines(spool: IO[bytes]) -> Iterator[bytes]:
    spool.seek(0)
    while line := spool.readline(LONGEST_LINE):
        yield line
