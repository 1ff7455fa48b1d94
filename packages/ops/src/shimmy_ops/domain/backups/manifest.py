"""The first part of an archive: what else is in it, and what that must be to the last byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shimmy_ops.errors import BackupError

FORMAT, VERSION = "shimmy-backup", 1
MANIFEST, LEDGER, KEYGEN, STRIPE, PROFILE = (
    "manifest.json",
    "ledger.ndjson",
    "keygen.json",
    "stripe.json",
    "profile.json",
)
PARTS = (LEDGER, KEYGEN, STRIPE, PROFILE)


@dataclass(frozen=True, slots=True)
class Part:
    """``rows``: documents in it, by kind; ``size`` in bytes."""

    name: str
    size: int
    sha256: str
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Manifest:
    """``profile`` and ``mode`` say whose it is; ``made`` when; ``ops`` the version of this tool."""

    profile: str
    mode: str
    made: str
    ops: str
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part:
        """Raises BackupError where there is none."""
        found = next((one for one in self.parts if one.name == name), None)
        if found is None:
            raise damaged(f"it has no {name}")
        return found


def write_manifest(manifest: Manifest) -> bytes:
    """As it stands in the archive."""
    document = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    return json.dumps(document, indent=2).encode()


def parse_manifest(content: bytes) -> Manifest:
    """Raises BackupError."""
    try:
        read = json.loads(content)
        if read["format"] != FORMAT:
            raise damaged("it is no backup of ours")
        if read["version"] != VERSION:
            raise BackupError(
                "backup-of-other-version",
                f"The backup is written in version {read['version']}, this tool knows {VERSION}.",
                hint="Use the version of shimmy-ops that made it, or a newer one.",
            )
        parts = tuple(
            Part(str(one["name"]), int(one["size"]), str(one["sha256"]), dict(one["rows"]))
            for one in read["parts"]
        )
        profile, mode, made, ops = (str(read[one]) for one in ("profile", "mode", "made", "ops"))
        return Manifest(profile, mode, made, ops, parts)
    except (ValueError, LookupError, TypeError) as error:
        raise damaged("its manifest cannot be read") from error


def refuse_other_profile(manifest: Manifest, profile: str) -> None:
    """Raises BackupError: customers of one set-up have no business in another's store."""
    if manifest.profile != profile:
        raise BackupError(
            "backup-of-other-profile",
            f"The backup is one of profile {manifest.profile}, not of {profile}.",
            hint="Name the backup's own profile.",
        )


def check_parts(manifest: Manifest, names: Sequence[str]) -> None:
    """Whether exactly what must be there is there, once. Raises BackupError."""
    listed = [one.name for one in manifest.parts]
    if sorted(listed) != sorted(PARTS) or list(names) != listed:
        raise damaged("its parts are not those of the manifest")


def check_part(expected: Part, size: int, sha256: str, rows: Mapping[str, int]) -> None:
    """Raises BackupError where it is another one."""
    if (expected.size, expected.sha256) != (size, sha256):
        raise damaged(f"{expected.name} is not what was put in")
    if dict(expected.rows) != dict(rows):
        raise damaged(f"{expected.name} has other rows than the manifest says")


def count_documents(content: bytes, name: str) -> dict[str, int]:
    """How many documents each list of a part has. Raises BackupError."""
    try:
        read: Mapping[str, Any] = json.loads(content)
        return {kind: len(value) for kind, value in read.items() if isinstance(value, list)}
    except (ValueError, AttributeError) as error:
        raise damaged(f"{name} cannot be read") from error


def damaged(reason: str) -> BackupError:
    """The one refusal of an archive that is not as it was made."""
    return BackupError(
        "backup-damaged",
        f"The backup cannot be used: {reason}.",
        hint="Use another one: `shimmy-ops backup list` shows them.",
    )
