"""Fill an empty ledger from a dump, or say why not before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shimmy_store.domain.ledger_dump import DumpReader, DumpRow, WholeDump
from shimmy_store.errors import DumpError, LedgerError
from shimmy_store.ports.ledger_desk import LedgerCopies
from shimmy_store.use_cases.check_dump import check_dump

_ROWS_AT_ONCE = 200
# Of text in one batch: bodies of events are large, and a database takes only so much at once.
_CHARACTERS_AT_ONCE = 1_000_000


async def restore_ledger(
    read: Callable[[], Iterable[bytes]], copies: LedgerCopies, mode: str, token: str
) -> WholeDump:
    """``read`` begins the dump's lines anew; ``token`` names this restore.

    Cut off anywhere, the ledger stays marked, does nothing, and takes another restore, which begins
    anew. Raises DumpError, with nothing changed; LedgerError.
    """
    whole = await check_dump(read())
    if whole.header.mode != mode:
        raise DumpError(
            "dump-of-other-mode",
            f"The dump is of a store in {whole.header.mode} mode; this one is in {mode} mode.",
            hint="Give each mode its own ledger, and its own dumps.",
        )
    if not await copies.begin(token):
        raise DumpError(
            "ledger-not-empty",
            "The ledger has events or customers: a restore would mix two ledgers.",
            hint="Restore into an empty ledger: name another one in SHIMMY_STORE_LEDGER.",
        )
    await _fill(read(), copies, token)
    if not await copies.finish(token, whole.header.tables):
        raise LedgerError(
            "ledger-restore-overtaken",
            "Another restore began meanwhile, or something else wrote into the ledger.",
            hint="Restore once more: it begins anew.",
            retryable=True,
        )
    return whole


async def _fill(lines: Iterable[bytes], copies: LedgerCopies, token: str) -> None:
    reader, rows, size = DumpReader(), list[DumpRow](), 0
    for line in lines:
        row = reader.take(line)
        if row is not None:
            rows.append(row)
            size += len(line)
        if len(rows) >= _ROWS_AT_ONCE or size >= _CHARACTERS_AT_ONCE:
            await copies.put(token, rows)
            rows, size = [], 0
    reader.finish()
    if rows:
        await copies.put(token, rows)
