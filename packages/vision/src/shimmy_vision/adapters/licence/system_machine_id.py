"""Ids that this machine offers of itself."""

from __future__ import annotations

import re
from pathlib import Path

import machineid

from shimmy_vision.domain.licence.machine_id import BadMachineId, MachineId, choose_machine_id
from shimmy_vision.errors import UsageError

# Application containers get a new id with every start; system containers (lxc, nspawn) keep theirs.
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_CONTAINER_WORDS = re.compile(r"docker|podman|oci|kube|containerd|crio", re.IGNORECASE)
# What systemd has images of disks say, which many machines are copied from.
_BEFORE_FIRST_BOOT = "uninitialized"
_CONTROL_GROUPS = Path("/proc/1/cgroup")
_MOUNTED = Path("/etc/shimmy/machine-id")


def find_machine_id(
    flag: str | None, environment: str | None, file: Path | None, container: str
) -> MachineId | None:
    """What a person chose, else a mounted file's id, else the system's; None where there is none.

    ``container`` is what the environment says of one. Raises UsageError.
    """
    offers: list[MachineId] = []
    if flag is not None:
        offers.append(MachineId("flag", flag))
    elif environment is not None:
        offers.append(MachineId("environment", environment))
    elif mounted := read_machine_id_file(file):
        offers.append(mounted)
    elif own := read_system_machine_id(container):
        offers.append(own)
    chosen = choose_machine_id(offers)
    if isinstance(chosen, BadMachineId):
        raise UsageError(
            "machine-id-invalid",
            f"The machine id from the {chosen.source} {chosen.problem}.",
            hint="Give one text that stays the same: --machine-id or SHIMMY_MACHINE_ID.",
        )
    return chosen


def read_machine_id_file(path: Path | None) -> MachineId | None:
    """The id in ``path``, or in the place where containers mount one."""
    chosen = path or _MOUNTED
    try:
        if path is None and not _MOUNTED.is_file():
            return None
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
    if in_container(container):
        return None
    try:
        found = machineid.id()
    except machineid.MachineIdNotFound:
        return None
    return None if found == _BEFORE_FIRST_BOOT else MachineId("system", found)


def in_container(container: str) -> bool:
    """Whether this is an application container, which forgets who it was at every start."""
    try:
        if _CONTAINER_WORDS.search(container) or any(mark.exists() for mark in _CONTAINER_MARKS):
            return True
        groups = _CONTROL_GROUPS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(_CONTAINER_WORDS.search(groups))
