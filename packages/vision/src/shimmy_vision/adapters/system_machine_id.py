"""Ids that this machine offers of itself."""

from __future__ import annotations

import re
from pathlib import Path

import machineid

from shimmy_vision.domain.licence.machine_id import MachineId
from shimmy_vision.errors import UsageError

# Application containers get a new id with every start; system containers (lxc, nspawn) keep theirs.
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_CONTAINER_WORDS = re.compile(r"docker|podman|oci|kube|containerd|crio", re.IGNORECASE)
_MOUNTED = Path("/etc/shimmy/machine-id")


def read_machine_id_file(path: Path | None) -> MachineId | None:
    """The id in ``path``, or in the place where containers mount one."""
    chosen = path or (_MOUNTED if _MOUNTED.is_file() else None)
    if chosen is None:
        return None
    try:
        return MachineId("file", chosen.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "machine-id-unreadable",
            f"The file with this machine's id cannot be read: {chosen}.",
            hint="Check SHIMMY_MACHINE_ID_FILE and the file's permissions.",
        ) from error


def read_system_machine_id(container: str) -> MachineId | None:
    """The operating system's id, stable across restarts; None in containers, whose id is not.

    ``container`` is what the environment says of one.
    """
    if _in_container(container):
        return None
    try:
        return MachineId("system", machineid.id())
    except machineid.MachineIdNotFound:
        return None


def _in_container(container: str) -> bool:
    if _CONTAINER_WORDS.search(container) or any(mark.exists() for mark in _CONTAINER_MARKS):
        return True
    try:
        return bool(_CONTAINER_WORDS.search(Path("/proc/1/cgroup").read_text(encoding="utf-8")))
    except OSError:
        return False
