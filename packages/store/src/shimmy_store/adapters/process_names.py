"""Names of processes that outlive them: which of those that held a lease are certainly gone?

Whoever is killed gives nothing back. A process of the same system can see that it is not there any
more; of any other one nobody knows, and its leases have to run out.
"""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
# After the name of the process in the line: its state comes first, its start as the twentieth.
_START = 19


def name_process() -> str:
    """Of this process, another one each time, without a space."""
    place, pid = _place(), os.getpid()
    start = _started(pid) if place else ""
    return "/".join((socket.gethostname(), place, str(pid), start or "", str(uuid.uuid4())))


def can_tell() -> bool:
    """Whether this system shows its processes; without that nobody is certainly gone."""
    return bool(_place())


def is_gone(name: str) -> bool:
    """Whether that process ran here and is over; False where that cannot be known."""
    parts = name.split("/")
    if len(parts) != 5 or not parts[2].isdecimal():
        return False
    _, place, pid, start, _ = parts
    here = _place()
    if not here or here != place or not start:
        return False
    # Its number may be another's by now, who began at another moment.
    found = _started(int(pid))
    return found != start and (found is not None or not _may_be_hidden(int(pid)))


def _may_be_hidden(pid: int) -> bool:
    """Whether there is one of this number that another user's processes do not show (hidepid)."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    # Ours: it is shown, and only not yet buried.
    return False


def _place() -> str:
    """This run of the system and what numbers processes in it; empty where that has no name."""
    with suppress(OSError):
        if (_PROC / "self").readlink().name != str(os.getpid()):
            # Mounted from elsewhere: it shows others under our numbers.
            return ""
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = (_PROC / "self/ns/pid").readlink().name
        return f"{boot}.{space}"
    return ""


def _started(pid: int) -> str | None:
    """When, in the system's own count; None for one that is not there, or only not yet buried."""
    try:
        line = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[_START]
