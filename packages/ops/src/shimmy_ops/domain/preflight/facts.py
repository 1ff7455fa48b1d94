"""What is gathered for the checks: one value a source, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

Source: TypeAlias = Literal[
    "stripe_key",
    "tables",
    "desired",
    "billing",
    "licensing",
    "held",
    "standing",
    "methods",
    "keygen_account",
    "kept_files",
    "worker_secrets",
    "deliveries",
    "stripe_clock",
    "store_clock",
    "addresses",
    "certificate",
    "insecure",
    "health",
    "pricing",
    "desk_closed",
    "figures",
    "metrics",
    "mail_probe",
    "backups",
    "site_folder",
    "site_check",
    "site_page",
    "tree_scan",
    "legal_pages",
    "synthetic",
]
SOURCES: tuple[Source, ...] = get_args(Source)


@dataclass(frozen=True, slots=True)
class Unasked:
    """Nothing was gathered. ``needless``: this set-up has nothing of the kind to ask."""

    why: str
    remedy: str = ""
    needless: bool = False


@dataclass(frozen=True, slots=True)
class KeyState:
    """A credential as it was given; ``problem`` is empty where it may be used."""

    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What Stripe lets the account do."""

    charges_enabled: bool
    payouts_enabled: bool
    details_submitted: bool


@dataclass(frozen=True, slots=True)
class KeygenAccount:
    """The account that the token is of.

    ``public_key``  64 hex digits by which it signs its replies; empty where it tells none
    ``signed``      whether the reply that told this was signed by that key
    """

    id: str
    slug: str
    public_key: str = ""
    signed: bool = False


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """``folder_mode`` and names of files whose mode is not 0600; None where there is no folder."""

    folder_mode: int | None
    open_files: tuple[str, ...] = ()
    in_git: bool = False


@dataclass(frozen=True, slots=True)
class WorkerSecrets:
    """``missing``: names that the Worker in place must have and has not; ``needed`` counts all."""

    needed: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The statuses that answered a genuinely signed event, and one signed with another secret."""

    genuine: int
    forged: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """``problem`` is empty where it is trusted for the host; ``protocol`` as in TLSv1.3."""

    problem: str
    not_after: datetime | None
    protocol: str


@dataclass(frozen=True, slots=True)
class Page:
    """``seconds`` is the median of several tries; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MetricsDoor:
    """The statuses that answered with the token and without."""

    with_token: int
    without: int


@dataclass(frozen=True, slots=True)
class MailProbe:
    """``refusal`` is empty where the store's mailer took the mail."""

    seconds: float = 0.0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Backup:
    """One entry of ``backups.json``."""

    made: datetime
    verified: datetime | None


@dataclass(frozen=True, slots=True)
class CommandSaid:
    """``findings`` counts them; ``first`` names the first one, without what it is about."""

    findings: int
    first: str = ""


@dataclass(frozen=True, slots=True)
class SitePage:
    """The status of the site's plans, and where their buttons lead."""

    status: int
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """``answers`` has a value or an Unasked for each source that was wanted."""

    profile: Any
    now: datetime
    version: str
    answers: Mapping[Source, Any]

    def answer(self, name: str) -> Any:
        """What is known under this name; Unasked where nobody asked."""
        if name in ("profile", "now", "version"):
            return getattr(self, name)
        for source, found in self.answers.items():
            if source == name:
                return found
        return Unasked("It was not asked.")
