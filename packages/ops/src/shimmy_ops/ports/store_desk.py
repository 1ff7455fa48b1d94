"""The store, as far as its operator API and its public pages tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol, TypeAlias

Document: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """A public page: its status, its body as text, and how long it took."""

    status: int
    body: str
    seconds: float


class StoreDesk(Protocol):
    """Shapes are those of docs/store.md, "For the operator's tools". All raise DeskError."""

    def get(self, path: str) -> Answered:
        """A page as anybody sees it, without a token and whatever its status."""

    def metrics(self) -> str:
        """What the store counts, in Prometheus' format."""

    def figures(self, hours: int) -> Document:
        """Figures of the last hours, from the ledger."""

    def find_customers(self, *, customer: str = "", email: str = "") -> Sequence[Document]:
        """By exactly one of both; empty where there is none."""

    def look(self, customer: str) -> str:
        """Settle this customer now; what became of it."""

    def export(self, customer: str) -> Document:
        """All that the ledger has of one customer."""

    def erase(self, customer: str) -> Document:
        """Forget one customer; the same again changes nothing."""

    def alarms(self) -> Sequence[Document]:
        """What nobody has looked at."""

    def acknowledge(self, code: str, subject: str) -> bool:
        """Somebody has looked; False where no such alarm is open."""

    def probe_mail(self, to: str) -> float:
        """Have the store send a short mail now; the seconds that took."""

    def dump(self, into: PurePath) -> int:
        """The whole ledger into a new file (0600); its bytes."""

    def restore(self, source: PurePath) -> Document:
        """A dump into an empty ledger."""
