"""An archive read to its last byte, and found to be what was put in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from shimmy_ops.domain.backups.ledger_lines import LedgerRead, LedgerReader
from shimmy_ops.domain.backups.manifest import (
    LEDGER,
    MANIFEST,
    Manifest,
    check_part,
    check_parts,
    count_documents,
    damaged,
    parse_manifest,
)
from shimmy_ops.ports.vault import Bench, Opened, Vault

_LONGEST_MANIFEST = 1 << 20


@dataclass(frozen=True, slots=True)
class BackupRead:
    """``documents``: the parts but the ledger, by name."""

    manifest: Manifest
    ledger: LedgerRead
    documents: dict[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """Where the ledger's dump goes while it is read."""

    bench: Bench
    path: PurePath


def read_backup(file: str, key: str, vault: Vault, into: LedgerPlace | None = None) -> BackupRead:
    """With marks of the ledger's rows where it goes ``into`` a place. Raises BackupError."""
    parts = vault.open(file, key)
    manifest = _manifest(next(parts, None))
    names, documents, ledger = list[str](), dict[str, bytes](), None
    for part in parts:
        expected = manifest.part(part.name)
        names.append(part.name)
        watch = _Watch()
        if part.name == LEDGER:
            ledger = _ledger(watch.pieces(part.pieces), into)
            rows = dict(ledger.tables)
        else:
            # These are as small as their accounts: read whole.
            content = b"".join(watch.pieces(part.pieces))
            documents[part.name] = content
            rows = count_documents(content, part.name)
        check_part(expected, watch.size, watch.sha256, rows)
    check_parts(manifest, names)
    if ledger is None or ledger.mode != manifest.mode:
        raise damaged("its ledger is of another mode than the manifest says")
    return BackupRead(manifest, ledger, documents)


class _Watch:
    """Size and digest of what goes by."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def pieces(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.size += len(piece)
            self._digest.update(piece)
            yield piece


def _manifest(part: Opened | None) -> Manifest:
    if part is None or part.name != MANIFEST:
        raise damaged("it does not begin with its manifest")
    content = b""
    for piece in part.pieces:
        content += piece
        if len(content) > _LONGEST_MANIFEST:
            raise damaged("its manifest is too long")
    return parse_manifest(content)


def _ledger(pieces: Iterator[bytes], into: LedgerPlace | None) -> LedgerRead:
    reader = LedgerReader(marks=into is not None)
    read = _taken(pieces, reader.take)
    if into is None:
        for _ in read:
            pass
    else:
        into.bench.write(into.path, read)
    return reader.finish()


def _taken(pieces: Iterator[bytes], take: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        take(piece)
        yield piece
