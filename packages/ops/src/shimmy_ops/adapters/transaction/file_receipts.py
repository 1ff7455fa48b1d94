"""The ``Receipts`` port as a folder with one file a transaction."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.domain.transaction.receipt import Receipt, describe_receipt, parse_receipt
from shimmy_ops.errors import TransactionError

_LOCK = ".lock"


class FileReceipts:
    """Those of one profile. ``folder`` is made when it is first needed, for its owner alone."""

    def __init__(self, folder: Path, profile: str) -> None:
        self._folder = folder
        self._profile = profile

    @contextmanager
    def alone(self) -> Iterator[None]:
        self._prepare()
        # The system lets go of it when the process ends, however it ends.
        try:
            descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self._folder, error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TransactionError(
                    "transaction-open",
                    "Another process is at work on a live transaction of this profile.",
                    hint="Wait for it, or stop it; then `live-transaction resume`.",
                ) from None
            yield
        finally:
            os.close(descriptor)

    def listed(self) -> Sequence[Receipt]:
        paths = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
        found = (_read(path) for path in paths)
        ours = (one for one in found if one.profile == self._profile)
        return sorted(ours, key=lambda one: (one.began, one.id))

    def save(self, receipt: Receipt) -> None:
        self._prepare()
        text = json.dumps(describe_receipt(receipt), indent=2) + "\n"
        write_private(self._folder / f"{receipt.name}.json", text)

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self._folder, error) from error


def _unusable(folder: Path, error: OSError) -> TransactionError:
    return TransactionError(
        "receipts-folder-unusable",
        f"{folder} cannot be used: {error.strerror or type(error).__name__}.",
        hint="state_folder in the profile names another one.",
    )


def _read(path: Path) -> Receipt:
    try:
        return parse_receipt(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise TransactionError(
            "receipt-unreadable",
            f"{path.name} cannot be read: {type(error).__name__}.",
            hint="Look at Stripe's dashboard whether a subscription is left, then move the file "
            "away from the folder.",
        ) from error
