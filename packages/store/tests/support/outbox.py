"""A store with an outbox, at a time that only the test moves; what it sends is kept."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from ledger_places import in_memory

from shimmy_store.adapters.contract_files import read_plans
from shimmy_store.adapters.jinja_letters import JinjaLetters
from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.catalog import parse_catalog
from shimmy_store.domain.convergence import IssuedLicence
from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.domain.notices import Notice, NoticeKind
from shimmy_store.errors import LicensingError, MailError
from shimmy_store.ports.database import Database, Statement
from shimmy_store.ports.ledger import CustomerRecord
from shimmy_store.ports.licences import Licences
from shimmy_store.ports.mail import Mail
from shimmy_store.use_cases.send_messages import Posted, PostOffice, send_messages

START = datetime(2027, 1, 15, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
URL = "https://store.example"
REFUSED = MailError("mail-refused", "no")
BUSY = MailError("mail-deferred", "later", retryable=True)


class PowerCut(BaseException):
    """The process ends here."""


@dataclass
class Keys:
    """A licence server that only knows keys."""

    keys: dict[uuid.UUID, str] = field(default_factory=dict)
    problem: LicensingError | None = None

    async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
        if self.problem:
            raise self.problem
        key = self.keys.get(identifier)
        return None if key is None else IssuedLicence(identifier, None, None, False, {}, key)

    async def create(self, step: Any) -> Literal["created", "exists"]:
        raise AssertionError("sending makes no licence")

    async def change(self, identifier: uuid.UUID, step: Any) -> None:
        raise AssertionError("sending changes no licence")


@dataclass
class Postman:
    """Keeps what it gets, or fails in the order of ``problems``; None is none."""

    mails: list[Mail] = field(default_factory=list)
    problems: list[BaseException | None] = field(default_factory=list)
    refuses: dict[str, BaseException] = field(default_factory=dict)
    lasts: Callable[[], Awaitable[None]] | None = None

    async def send(self, mail: Mail) -> None:
        problem = self.problems.pop(0) if self.problems else None
        problem = self.refuses.get(mail.to, problem)
        if problem is not None and not isinstance(problem, PowerCut):
            raise problem
        if self.lasts:
            await self.lasts()
        self.mails.append(mail)
        if problem is not None:
            raise problem


@dataclass
class Store:
    """An office over a ledger in memory, at a time that only the test moves."""

    database: Database
    keys: Keys = field(default_factory=Keys)
    postman: Postman = field(default_factory=Postman)
    time: datetime = START

    @property
    def ledger(self) -> SqlLedger:
        return SqlLedger(self.database)

    @property
    def office(self) -> PostOffice:
        licences: Licences = self.keys
        return PostOffice(
            self.ledger,
            licences,
            self.postman,
            JinjaLetters(),
            SignedLinks(["a secret of more than thirty-two signs"]),
            parse_catalog(read_plans()),
            URL,
            lambda: self.time,
        )

    async def send(self) -> Posted:
        return await send_messages(self.office, lambda: 1.0)

    async def customer(self, name: str, email: str, origin: str | None = None) -> uuid.UUID:
        """Settled with a licence of its own, unless it has no ``origin``."""
        lease = await self.ledger.lease_customer(name, "test", self.time, self.time + MINUTE)
        assert lease is not None
        record = CustomerRecord(name, origin, email, "developer")
        assert await self.ledger.settle_customer(lease, record, [], self.time)
        identifier = licence_id(origin or name)
        self.keys.keys[identifier] = f"KEY-OF-{name}"
        return identifier

    async def notice(self, kind: NoticeKind, customer: str, key: str = "n1", **facts: str) -> None:
        await self.ledger.add_message(Notice(key, kind, facts), customer, self.time)

    async def licensed(self, name: str, email: str) -> None:
        """Bought a licence, and the mail with it is due."""
        identifier = await self.customer(name, email, f"sub_{name}")
        key = f"licence/{identifier}"
        await self.notice("licence", name, key, licence=str(identifier), plan="developer")

    @property
    def sent(self) -> Sequence[tuple[str, str]]:
        return [(one.to, one.written.subject) for one in self.postman.mails]


def in_store(work: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        database = await in_memory().connect()
        try:
            await migrate_ledger(database)
            await work(Store(database))
        finally:
            await database.close()

    asyncio.run(run())


async def links_of(store: Store) -> Sequence[tuple[str, tuple[str, ...], str]]:
    found = Statement("SELECT kind, customers, browser FROM links")
    (rows,) = await store.database.batch([found])
    return [(kind, tuple(customers.split()), browser) for kind, customers, browser in rows]
