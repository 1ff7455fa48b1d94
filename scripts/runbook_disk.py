"""A disk that is full: the ledger's, and that of a machine with its licence record.

As root it is a small file system in memory. Without root the store, and then the machine's
commands, are bound to files of a few bytes.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
from contextlib import suppress
from pathlib import Path

from runbook_stage import Stage, until

_MEGABYTES = 8
_LEAST_BYTES = 1024
_LEAST_BLOCKS = 8
_BALLAST = "old-backup.tar"


def prepare_ledger(stage: Stage) -> None:
    """The ledger lies on a small disk, and its store goes on."""
    disk = stage.folder / "disk"
    disk.mkdir()
    _stop(stage)
    if _is_root():
        size = f"size={_MEGABYTES}m"
        command = ["mount", "-t", "tmpfs", "-o", size, "none", str(disk)]
        subprocess.run(command, check=True, capture_output=True)
        stage.mounted.append(disk)
    stage.do("mv ledger.sqlite* disk/ && ln -s disk/ledger.sqlite ledger.sqlite")
    stage.environment["LEDGER_DISK"] = stage.environment["MACHINE_DISK"] = str(disk)
    stage.restart()


def fill_while_somebody_pays(stage: Stage, email: str) -> None:
    """Stripe has the money, and nobody can write down that it was told so."""
    page = stage.open_page()
    _fill(stage)
    if not _is_root():
        _limit(stage.pid(), _LEAST_BYTES)
    stage.pay(page, email)


def free_for_store(stage: Stage) -> None:
    """What the limit stands for; a full file system is emptied by the runbook itself."""
    if not _is_root():
        _limit(stage.pid(), resource.RLIM_INFINITY)


def prepare_machine(stage: Stage, email: str) -> None:
    """A machine with a licence, whose record lies on the same disk; full once more."""
    letter = stage.letters(email)[0]["text"]
    key = re.search(r"shimmy license activate (\S+)", letter)
    if key is None:
        raise ValueError("no key is in the mail")
    (stage.folder / "licence-key.txt").write_text(key[1])
    elsewhere = stage.folder / "elsewhere"
    elsewhere.mkdir()
    stage.environment |= {
        "SHIMMY_LICENSE_URL": stage.keygen,
        "SHIMMY_STATE_DIR": str(stage.folder / "disk/state"),
        "SHIMMY_MACHINE_ID": "rehearsal",
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "ELSEWHERE": str(elsewhere),
    }
    stage.do("shimmy license activate - <licence-key.txt")
    _fill(stage)
    if not _is_root():
        stage.prefix = f"ulimit -S -f {_LEAST_BLOCKS}"


def free_for_machine(stage: Stage) -> None:
    """As for the store."""
    stage.prefix = ""


def take_down(stage: Stage) -> None:
    """The ledger is where it was, for the next runbook."""
    _stop(stage)
    stage.do("rm ledger.sqlite && mv disk/ledger.sqlite* .")
    stage.unmount()
    stage.restart()


def _stop(stage: Stage) -> None:
    stage.do('kill "$(cat store.pid)"')
    until(lambda: not Path(f"/proc/{stage.pid()}/cwd").exists(), "the store has ended")


def _is_root() -> bool:
    return os.geteuid() == 0


def _limit(pid: int, most: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))


def _fill(stage: Stage) -> None:
    ballast = stage.folder / "disk" / _BALLAST
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while _is_root() and file.write(bytes(1 << 12)):
            pass
