"""Reads everything from the sources and says which secrets it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from shimmy_ops.domain.secrets.detection import find_secrets
from shimmy_ops.domain.secrets.findings import Finding, Origin, Spot, fingerprint, mask, redact
from shimmy_ops.domain.secrets.kinds import REMEDIES
from shimmy_ops.domain.secrets.readings import is_archive, read_texts
from shimmy_ops.errors import ScanError
from shimmy_ops.ports.scanning import Piece, PieceSource, Progress, Unpacker, Unread


@dataclass(slots=True)
class Scan:
    """What was read and found."""

    pieces: int = 0
    size: int = 0
    found: dict[tuple[str, str, str], Finding] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In the order in which they were met; those of members in the members alone."""
        within = {
            (kind, value, place.rpartition("!")[0]) for kind, value, place in self.found if value
        }
        return tuple(found for key, found in self.found.items() if key not in within)

    def add(self, finding: Finding) -> None:
        """Keep the first place of each value in each file, and count the others."""
        key = (finding.kind, finding.fingerprint or finding.shown, finding.origin.full)
        known = self.found.get(key)
        self.found[key] = replace(known, repeats=known.repeats + 1) if known else finding


def scan_secrets(sources: Iterable[PieceSource], unpacker: Unpacker, heard: Progress) -> Scan:
    """Every source, every member of its archives, every name."""
    scan = Scan()
    for piece in _everything(sources, unpacker):
        for finding in _findings(piece):
            scan.add(finding)
        if isinstance(piece, Piece):
            scan.pieces += 1
            scan.size += len(piece.content)
            heard(scan.pieces, scan.size)
    if not scan.pieces and not scan.found:
        raise ScanError("nothing-to-scan", "There is nothing to scan in what was named.")
    return scan


def _everything(sources: Iterable[PieceSource], unpacker: Unpacker) -> Iterator[Piece | Unread]:
    for source in sources:
        for piece in source.pieces():
            yield piece
            if isinstance(piece, Piece):
                yield from unpacker.unpack(piece)


def _findings(piece: Piece | Unread) -> Iterator[Finding]:
    shown = _shown(piece.origin)
    if isinstance(piece, Unread):
        yield Finding("not-scanned", shown, Spot(), piece.why, "", REMEDIES["not-scanned"])
        return
    if shown != piece.origin:
        for match in find_secrets(piece.origin.full):
            yield _finding(match.kind, shown, Spot(), match.value)
    if is_archive(piece.content):
        return
    for reading in read_texts(piece.content):
        for match in find_secrets(reading.text):
            yield _finding(match.kind, shown, reading.spot(match.start), match.value)


def _finding(kind: str, origin: Origin, spot: Spot, value: str) -> Finding:
    return Finding(kind, origin, spot, mask(value), fingerprint(value), REMEDIES[kind])


def _shown(origin: Origin) -> Origin:
    """A file may be named like the key that it holds: what is printed must not be."""
    path, *members = (redact(name, find_secrets(name)) for name in (origin.path, *origin.members))
    return replace(origin, path=path, members=tuple(members))
