"""Send what lies in the outbox, each at least once, and again later where that failed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shimmy_store.domain.catalog import Catalog, PlanId
from shimmy_store.domain.mailboxes import mailbox_of
from shimmy_store.domain.notices import Notice
from shimmy_store.domain.retry import Crash, decide_retry, read_failure
from shimmy_store.errors import MailError
from shimmy_store.ports.ledger import CustomerRecord, Ledger, Link, Message
from shimmy_store.ports.licences import Licences
from shimmy_store.ports.mail import Letter, LetterWriter, LinkName, LinkSigner, Mail, Mailer

SIGN_IN_FOR = timedelta(minutes=15)
MERGE_FOR = timedelta(days=7)
_LINKS = uuid.UUID("0c9b5b0e-4a3e-5d86-8f5e-0f4f7e1d2a77")
MOST_MAILS = 50
# Longer than a mail takes; after a crash the next worker waits so long. Under a minute: so soon
# after the last fault everybody is to have what they paid for.
_TAKEN = timedelta(seconds=45)
# What it is written from is had in this time or later; no mailer takes longer than that.
_WRITING, _HANDING_OVER = timedelta(seconds=10), timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class PostOffice:
    """What sending works with; ``url`` is the store's, without a slash at its end."""

    ledger: Ledger
    licences: Licences
    mailer: Mailer
    writer: LetterWriter
    signer: LinkSigner
    catalog: Catalog
    url: str
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Posted:
    """How many messages went out, how many have to wait, and what crashed."""

    sent: int
    waiting: int
    crashed: tuple[Crash, ...] = ()


async def send_messages(
    office: PostOffice, chance: Callable[[], float], most: int = MOST_MAILS
) -> Posted:
    """One round over what is due, over ``most`` of it. Raises LedgerError.

    Other failures are noted on their message, mistakes of ours too.
    """
    sent = waiting = 0
    crashed: list[Crash] = []
    now = office.now()
    for _ in range(most):
        # One by one: what waits for its turn behind slow ones is not taken meanwhile.
        until = office.now() + _TAKEN
        taken = await office.ledger.take_messages(now, until, 1)
        if not taken:
            break
        if office.now() + _WRITING + _HANDING_OVER > until:
            # The ledger was slow: whoever comes next would send it while we do.
            waiting += 1
        elif await _post(taken[0], office, chance, crashed):
            sent += 1
        else:
            waiting += 1
    return Posted(sent, waiting, tuple(crashed))


async def _post(
    message: Message, office: PostOffice, chance: Callable[[], float], crashed: list[Crash]
) -> bool:
    try:
        mail = await _written_in_time(message, office)
        if mail is not None:
            await office.mailer.send(mail)
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not repeat itself for ever
        failure, now = read_failure(error), office.now()
        if failure.crash:
            crashed.append(Crash(failure.crash))
        age = now - message.added
        wait = decide_retry(message.attempts + 1, age, chance(), retryable=failure.retryable)
        await office.ledger.raise_alarms(failure.alarms, now)
        again = None if wait is None else now + wait
        await office.ledger.postpone_message(message.notice.key, failure.code, again)
        return False
    await office.ledger.mark_sent(message.notice.key, office.now())
    return True


async def _written_in_time(message: Message, office: PostOffice) -> Mail | None:
    try:
        async with asyncio.timeout(_WRITING.total_seconds()):
            return await _mail(message, office)
    except TimeoutError as error:
        raise MailError(
            "mail-too-slow",
            "What the mail tells of could not be looked up in time.",
            hint="It is tried again later. If that goes on, Keygen or the ledger are very slow.",
            retryable=True,
        ) from error


async def _mail(message: Message, office: PostOffice) -> Mail | None:
    """None where there is nothing to send."""
    if message.notice.kind == "sign-in":
        return await _sign_in(message, office)
    record = await office.ledger.customer(message.customer)
    if record is None or not record.email:
        raise MailError(
            "mail-no-address",
            f"The customer {message.customer} has no address at Stripe.",
            hint="Give the customer an address in Stripe; it is sent then.",
        )
    letter = _letter(message, office)
    if message.notice.kind == "licence":
        letter = await _with_licence(letter, message, record, office)
    return Mail(message.notice.key, record.email, office.writer.write(letter))


def _letter(message: Message, office: PostOffice) -> Letter:
    facts, plans = message.notice.facts, {one.id: one for one in office.catalog.plans}
    date = facts.get("ends") or facts.get("until") or ""
    return Letter(
        message.notice.kind,
        plan=plans.get(_plan(facts.get("plan"))),  # type: ignore[arg-type]
        before=plans.get(_plan(facts.get("before"))),  # type: ignore[arg-type]
        reason=facts.get("reason", ""),
        date=_written(datetime.fromisoformat(date)) if date else "",
        links={"licence": f"{office.url}/view-license", "pricing": f"{office.url}/pricing"},
    )


def _plan(name: str | None) -> PlanId | None:
    return name  # type: ignore[return-value]


def _written(day: datetime) -> str:
    return f"{day.day} {day:%B %Y}"


async def _with_licence(
    letter: Letter, message: Message, record: CustomerRecord, office: PostOffice
) -> Letter:
    """The key, looked up now, and an offer to merge where the address has another licence."""
    issued = await office.licences.find(uuid.UUID(message.notice.facts["licence"]))
    if issued is None:
        raise MailError(
            "mail-licence-missing", "The licence to be sent is gone from Keygen.", retryable=True
        )
    links: dict[LinkName, str] = dict(letter.links)
    other = await _other_of(record, office)
    if other is not None:
        both, box = (other.customer, record.customer), mailbox_of(record.email)
        link = Link(
            # Another one for each mailbox: an old mail's link never becomes good for a new address.
            str(uuid.uuid5(_LINKS, " ".join(("merge", *both, box)))),
            "merge",
            both,
            browser="",
            expires=office.now() + MERGE_FOR,
            mailbox=box,
        )
        await office.ledger.add_link(link)
        links["merge"] = f"{office.url}/merge?token={office.signer.token(link.id)}"
    return replace(letter, key=issued.key, links=links)


async def _other_of(record: CustomerRecord, office: PostOffice) -> CustomerRecord | None:
    """Somebody else with this mailbox who has a licence of their own."""
    for other in await office.ledger.customers_of(record.email):
        same = mailbox_of(other.email) == mailbox_of(record.email)
        apart = other.customer != record.customer and not other.merged_into
        if same and apart and not record.merged_into and other.origin is not None:
            return other
    return None


async def _sign_in(message: Message, office: PostOffice) -> Mail | None:
    """The mail to one mailbox; it tells of the customers whose address is exactly that mailbox.

    The request itself becomes a message to each mailbox that looks like it: one that refuses its
    mail, or has it late, is no matter of the others.
    """
    notice = message.notice
    expires = datetime.fromisoformat(notice.facts["asked"]) + SIGN_IN_FOR
    if office.now() >= expires:
        return None
    boxes: dict[str, list[CustomerRecord]] = {}
    for record in await office.ledger.customers_of(notice.facts["email"]):
        boxes.setdefault(mailbox_of(record.email), []).append(record)
    if "mailbox" not in notice.facts:
        for box in sorted(boxes):
            key = f"sign-in/{uuid.uuid5(_LINKS, f'{notice.key} {box}')}"
            told = Notice(key, "sign-in", {**notice.facts, "mailbox": box})
            await office.ledger.add_message(told, "", office.now())
        return None
    box = notice.facts["mailbox"]
    records = boxes.get(box)
    if not records:
        return None
    customers = tuple(one.customer for one in records)
    identifier, browser = str(uuid.uuid5(_LINKS, notice.key)), notice.facts["browser"]
    link = Link(identifier, "sign-in", customers, browser, expires, mailbox=box)
    await office.ledger.add_link(link)
    address = f"{office.url}/sign-in?token={office.signer.token(link.id)}"
    written = office.writer.write(Letter("sign-in", links={"sign-in": address}))
    return Mail(notice.key, records[0].email, written)
