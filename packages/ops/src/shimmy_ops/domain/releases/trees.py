"""What an object is: its files by path, size and digest, and one digest over these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shimmy_ops.errors import ReleaseError


@dataclass(frozen=True, slots=True)
class Entry:
    """One file; ``size`` in bytes."""

    path: str
    size: int
    sha256: str


def encode_manifest(entries: Iterable[Entry]) -> str:
    """One line a file, sorted by path: the same files make the same text."""
    ordered = sorted(entries, key=lambda one: one.path)
    return "".join(json.dumps([one.sha256, one.size, one.path]) + "\n" for one in ordered)


def manifest_digest(text: str) -> str:
    """The object's name."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse_manifest(text: str) -> tuple[Entry, ...]:
    """Raises ReleaseError."""
    try:
        read = [json.loads(line) for line in text.splitlines()]
        return tuple(Entry(str(path), int(size), str(sha)) for sha, size, path in read)
    except (ValueError, TypeError) as error:
        raise ReleaseError("manifest-damaged", "An object's manifest is damaged.") from error


def compare_tree(text: str, digest: str, found: Mapping[str, Entry]) -> list[str]:
    """What is wrong with the object ``digest`` whose manifest and files are these."""
    if manifest_digest(text) != digest:
        return [f"object {digest[:12]}: its manifest is another"]
    listed = {one.path: one for one in parse_manifest(text)}
    problems = [f"{path} is gone" for path in listed if path not in found]
    problems += [f"{path} does not belong there" for path in found if path not in listed]
    both = [path for path in listed if path in found]
    problems += [f"{path} has other bytes" for path in both if found[path] != listed[path]]
    return [f"object {digest[:12]}: {problem}" for problem in problems]
