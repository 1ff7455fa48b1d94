"""The ``ErasureRecords`` port as a folder with one file a customer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops.adapters.keeping.lock_files import hold_lock
from shimmy_ops.adapters.keeping.private_files import read_private, write_private
from shimmy_ops.domain.customers.receipts import ErasureReceipt, parse_receipt, receipt_document
from shimmy_ops.errors import KeepingError

_NAME = re.compile(r"\w+")


class ErasureFiles:
    """``folder`` is made when it is first needed, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        with hold_lock(self._folder.with_name(f".{self._folder.name}.lock")):
            yield

    def read(self) -> tuple[ErasureReceipt, ...]:
        return tuple(_read(path) for path in sorted(self._folder.glob("*.json")))

    def keep(self, receipt: ErasureReceipt) -> None:
        if not _NAME.fullmatch(receipt.customer):
            raise KeepingError("file-unwritable", "The customer's id is no name for a file.")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeepingError(
                "file-unwritable", f"{self._folder} cannot be made: {error.strerror}."
            ) from error
        text = json.dumps(receipt_document(receipt), indent=2)
        write_private(self._folder / f"{receipt.customer}.json", f"{text}\n")


def _read(path: Path) -> ErasureReceipt:
    try:
        return parse_receipt(json.loads(read_private(path)))
    except (ValueError, LookupError, TypeError) as error:
        raise KeepingError(
            "receipt-damaged",
            f"{path} is no receipt of an erasure any more.",
            hint="Move it away, and run the command again with the customer's id.",
        ) from error
