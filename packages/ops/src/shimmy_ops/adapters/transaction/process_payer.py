"""The ``Payer`` port as ``shimmy-sandbox pay``, for a sandbox's checkout page."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shimmy_ops.domain.transaction.sightings import SeenSession
from shimmy_ops.errors import TransactionError

_SECONDS = 120
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(slots=True)
class ProcessPayer:
    """``program`` is ``shimmy-sandbox`` as it is called here; ``email`` is the buyer's."""

    program: Sequence[str]
    email: str = field(repr=False)
    card: str
    environ: Mapping[str, str] = field(repr=False)
    _asked: set[str] = field(default_factory=set)

    def ask(self, session: SeenSession) -> None:
        if session.id in self._asked:
            return
        self._asked.add(session.id)
        if urlsplit(session.url).hostname not in _LOOPBACK:
            raise TransactionError(
                "payment-elsewhere",
                "The checkout page is not on this machine: a sandbox pays nobody else's.",
            )
        command = [*self.program, "pay", session.url, "--email", self.email, "--card", self.card]
        try:
            done = subprocess.run(
                command, env=dict(self.environ), capture_output=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TransactionError(
                "payer-missing",
                f"{self.program[0].rpartition('/')[2]} cannot be run: {type(error).__name__}.",
                hint="Install shimmy-sandbox here.",
            ) from None
        if done.returncode:
            raise TransactionError(
                "payment-refused",
                "The checkout page was not paid: the card was declined, or the page refused.",
                hint="`live-transaction resume` tries once more, --card takes another test card.",
            )
