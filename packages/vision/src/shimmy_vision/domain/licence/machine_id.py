"""Which machine this is, so that a licence can count machines without learning who they are."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Source: TypeAlias = Literal["flag", "environment", "file", "system", "kept"]

_LONGEST = 256


@dataclass(frozen=True, slots=True)
class MachineId:
    """``value`` never leaves this machine; ``source`` says where it was found."""

    source: Source
    value: str = field(repr=False)

    @property
    def explicit(self) -> bool:
        """Whether a person chose it."""
        return self.source in ("flag", "environment", "file")


@dataclass(frozen=True, slots=True)
class BadMachineId:
    """A chosen id that cannot be used."""

    source: Source
    problem: str


def choose_machine_id(offers: Sequence[MachineId]) -> MachineId | BadMachineId | None:
    """The first of ``offers``, which are in order of preference; None where none is any use.

    A chosen id that is blank or unprintable is refused rather than passed over: the machine would
    silently become another one.
    """
    for offer in offers:
        value = offer.value.strip()
        if not offer.explicit and not value:
            continue
        if not value:
            return BadMachineId(offer.source, "is empty")
        if len(value) > _LONGEST or not re.fullmatch(r"[\x20-\x7e]+", value):
            return BadMachineId(offer.source, f"must be up to {_LONGEST} printable characters")
        return MachineId(offer.source, value)
    return None


def fingerprint_of(machine: MachineId, account: str) -> str:
    """64 hex digits: HMAC-SHA256 keyed by the machine's id over the account, one way.

    As systemd's machine-id(5) asks of programs: an id of another program, or of our sandbox,
    cannot be linked with this one.
    """
    message = f"shimmy-vision/{account}".encode()
    return hmac.new(machine.value.encode(), message, hashlib.sha256).hexdigest()
