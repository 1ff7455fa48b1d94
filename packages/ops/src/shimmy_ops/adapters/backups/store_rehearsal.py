"""The ``Rehearsal`` port as ``shimmy-store ledger`` on an SQLite file that is gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from shimmy_ops.errors import BackupError

_NAME = "shimmy-store"
_PIECE = 1 << 16
_SECONDS = 1800


class StoreRehearsal:
    """``plans`` are those that the store must know policies of."""

    def __init__(self, folder: Path, plans: Sequence[str]) -> None:
        self._folder = folder
        self._plans = tuple(plans)

    def restore(self, dump: PurePath, mode: str) -> Iterator[bytes]:
        with _folder(self._folder) as scratch:
            settings = self._settings(Path(scratch), mode)
            again = Path(scratch) / "again.ndjson"
            _run(["restore", str(dump)], settings)
            _run(["dump", str(again)], settings)
            with again.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece

    def _settings(self, scratch: Path, mode: str) -> dict[str, str]:
        """The store asks for all of them; this one reaches nobody, and its key opens nothing."""
        given = {
            "MODE": mode,
            "URL": "https://rehearsal.invalid",
            "STRIPE_KEY": f"sk_{mode}_rehearsal",
            "WEBHOOK_SECRETS": "whsec_" + secrets.token_hex(8),
            "KEYGEN_ACCOUNT": "rehearsal",
            "KEYGEN_TOKEN": secrets.token_hex(8),
            "KEYGEN_POLICIES": ",".join(f"{plan}=policy-{plan}" for plan in self._plans),
            "MAIL": "smtps://rehearsal.invalid:465",
            "MAIL_FROM": "rehearsal@example.com",
            "LEDGER": f"sqlite:///{scratch / 'ledger.sqlite'}",
            "SECRET": secrets.token_hex(32),
        }
        return {
            "PATH": os.defpath,
            **{f"SHIMMY_STORE_{name}": value for name, value in given.items()},
        }


@contextmanager
def _folder(beside: Path) -> Iterator[str]:
    try:
        with tempfile.TemporaryDirectory(prefix=".shimmy-backup-", dir=beside) as scratch:
            yield scratch
    except OSError as error:
        raise BackupError(
            "drill-failed",
            f"There is no place for a scratch ledger: {error.strerror or type(error).__name__}.",
            hint="Check the state folder and its disk's space.",
        ) from error


def _run(order: Sequence[str], settings: dict[str, str]) -> None:
    command = [_program(), "ledger", *order]
    try:
        done = subprocess.run(
            command, env=settings, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackupError(
            "drill-failed",
            f"`{_NAME} ledger {order[0]}` could not be run: {type(error).__name__}.",
            hint="Install shimmy-store here, of the version that serves.",
        ) from error
    if done.returncode:
        # Its refusals name codes and places, never a value; what else is written may be anything.
        refusals = (one for one in done.stderr.splitlines() if one.startswith(f"{_NAME}: "))
        said = next(refusals, "it broke")
        raise BackupError(
            "drill-failed",
            f"`{_NAME} ledger {order[0]}` ended with {done.returncode}: {said}",
            hint="Is it the version of the store that made the dump?",
        )


def _program() -> str:
    """Beside this Python before anywhere else: of one installation with us."""
    beside = Path(sys.executable).parent / _NAME
    found = str(beside) if beside.is_file() else shutil.which(_NAME)
    if found is None:
        raise BackupError(
            "drill-impossible",
            f"{_NAME} is not installed here: a restore cannot be rehearsed.",
            hint="Install it beside shimmy-ops, of the version that serves.",
        )
    return found
