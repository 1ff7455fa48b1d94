"""What should be so, from Stripe's objects alone, beside what is so at Keygen and in the ledger.

None of the store's decisions is used here: subscriptions, invoices, charges and disputes are read
with stripe-python, licences over Keygen's API, the ledger with SQL, mail from the mailbox.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import httpx
import stripe

from chaos_customers import Pages
from chaos_street import ChaosStreet

Verdict: TypeAlias = Literal["must", "must-not", "may"]
# What is promised in docs/store.md, written down once more: a subscription that may still be paid
# for is good for so much longer than its month.
_GRACE = timedelta(days=3)
_RANKS = ("developer", "professional", "lifetime", "startup", "enterprise")
_TAKEN = ("needs_response", "under_review", "lost")
_BILLING = ("trialing", "active", "past_due")
_COLLECTING = (*_BILLING, "unpaid", "paused")
_PAGE = 100
# Machines hold their reports back for so long when a month begins.
_BEGINNING = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One subscription or one payment, and what of its latest month's money was kept."""

    id: str
    plan: str
    created: int
    kept: Literal["all", "none", "some"]
    collects: bool
    expiry: datetime | None
    settled: bool = True
    through: datetime | None = None
    renewals: int = 0


@dataclass(frozen=True, slots=True)
class Expected:
    """Whether there is a licence; its plan and expiry, where only one answer is right."""

    verdict: Verdict
    plan: str = ""
    expiry: datetime | None = None
    paid: bool = False
    through: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A licence at Keygen; ``usable`` now. ``month``: of the pages that ``uses`` counts.

    ``noted``: whether the count was begun anew for that month.
    """

    id: str
    key: str = field(repr=False)
    plan: str
    expiry: datetime | None
    usable: bool
    uses: int = 0
    month: tuple[datetime, datetime] | None = None
    noted: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A customer in the ledger."""

    settled: bool
    plan: str
    email: str
    merged_into: str
    origin: str


@dataclass
class Seen:
    """All that is known at one moment."""

    now: datetime
    purchases: dict[str, list[Purchase]] = field(default_factory=lambda: defaultdict(list))
    emails: dict[str, str] = field(default_factory=dict)
    licences: dict[str, list[Held]] = field(default_factory=lambda: defaultdict(list))
    rows: dict[str, Row] = field(default_factory=dict)

    def members(self, customer: str) -> list[str]:
        """Those who were made one with this customer, itself first."""
        merged = [name for name, row in self.rows.items() if row.merged_into == customer]
        return [customer, *merged]

    def expected(self, customer: str) -> Expected:
        """Of a customer who was not merged into another one."""
        bought = list(self.purchases[customer])
        for name in self.members(customer)[1:]:
            # What is left of a subscription that a merge ended was credited: it counts no more.
            bought += [one for one in self.purchases[name] if one.collects or one.expiry is None]
        return expect(bought, self.now)

    def heads(self) -> list[str]:
        """Everybody at Stripe but those who were merged into another one."""
        rows = self.rows
        return [one for one in self.emails if one not in rows or not rows[one].merged_into]


def expect(bought: Sequence[Purchase], now: datetime) -> Expected:
    """The licence that follows; "may" where the promise leaves it open."""
    paid = [one for one in bought if one.settled]
    if not paid:
        return Expected("must-not")
    alive = [one for one in paid if one.expiry is None or one.expiry > now]
    sure = [one for one in alive if one.kept == "all"]
    if not [one for one in alive if one.kept != "none"]:
        return Expected("must-not", paid=True)
    if len(sure) != len(alive) or not sure:
        return Expected("must" if sure else "may", paid=True)
    monthly = sorted((one for one in sure if one.expiry is not None), key=_order)[-1:]
    once = [one for one in sure if one.expiry is None]
    chosen = max((*monthly, *once), key=lambda one: _RANKS.index(one.plan))
    return Expected("must", chosen.plan, chosen.expiry, paid=True, through=chosen.through)


def _order(one: Purchase) -> tuple[int, str]:
    return one.created, one.id


def look(street: ChaosStreet, sdk: stripe.StripeClient) -> Seen:
    """Everybody is asked."""
    seen = Seen(street.now())
    for one in sdk.v1.customers.list({"limit": _PAGE}).auto_paging_iter():
        seen.emails[one.id] = str(one.email)
    _read_stripe(seen, sdk)
    _read_keygen(seen, street)
    sql = "SELECT customer, settled, plan, email, merged_into, origin FROM customers"
    for name, settled, plan, email, merged, origin in street.view._ask(sql):  # type: ignore[attr-defined]
        seen.rows[name] = Row(settled is not None, plan or "", email, merged, origin or "")
    return seen


def _read_stripe(seen: Seen, sdk: stripe.StripeClient) -> None:
    refunded, disputed = set[Any](), set[Any]()
    disputes = sdk.v1.disputes.list({"limit": _PAGE}).auto_paging_iter()
    taken = {one.charge for one in disputes if one.status in _TAKEN}
    for charge in sdk.v1.charges.list({"limit": _PAGE}).auto_paging_iter():
        kind: Any = "none" if charge.refunded or charge.id in taken else "all"
        if kind == "none":
            (disputed if charge.id in taken else refunded).add(charge.payment_intent)
        plan = charge.to_dict()["metadata"].get("plan")
        if charge.paid and plan == "lifetime":
            bought = Purchase(str(charge.payment_intent), plan, charge.created, kind, False, None)
            seen.purchases[str(charge.customer)].append(bought)
    asked: Any = {"limit": _PAGE, "status": "paid", "expand": ["data.payments"]}
    invoices: dict[str, list[Any]] = defaultdict(list)
    for invoice in sdk.v1.invoices.list(asked).auto_paging_iter():
        found = invoice.to_dict()
        of = ((found["parent"] or {}).get("subscription_details") or {}).get("subscription")
        invoices[str(of)].append(found)
    every: Any = {"limit": _PAGE, "status": "all"}
    for one in sdk.v1.subscriptions.list(every).auto_paging_iter():
        held = one.to_dict()
        seen.purchases[held["customer"]].append(
            _monthly(held, invoices[held["id"]], refunded, disputed)
        )


def _monthly(
    held: Mapping[str, Any], invoices: Sequence[Any], refunded: Set[Any], disputed: Set[Any]
) -> Purchase:
    """Money for the latest month that went back ends it; a dispute about any month does."""
    ends = [line["period"]["end"] for one in invoices for line in one["lines"]["data"]]
    through = max(ends, default=0)
    latest = [
        one for one in invoices if any(x["period"]["end"] == through for x in one["lines"]["data"])
    ]
    intents = _intents(latest)
    kept: Any = "some"
    if _intents(invoices) & disputed or (intents and intents <= refunded):
        kept = "none"
    elif not intents & refunded:
        kept = "all"
    renews = held["status"] in _BILLING and not held["cancel_at"]
    ends_at = datetime.fromtimestamp(through, UTC)
    expiry = ends_at + (_GRACE if renews else timedelta(0))
    plan = str(held["items"]["data"][0]["price"]["product"])
    collects = held["status"] in _COLLECTING
    renewals = sum(one["billing_reason"] == "subscription_cycle" for one in invoices)
    return Purchase(
        held["id"], plan, held["created"], kept, collects, expiry, bool(invoices), ends_at, renewals
    )  # fmt: skip


def _intents(invoices: Sequence[Any]) -> Set[Any]:
    paid = (paid for one in invoices for paid in one["payments"]["data"])
    return {one["payment"].get("payment_intent") for one in paid} - {None}


def _read_keygen(seen: Seen, street: ChaosStreet) -> None:
    settings = street.settings
    account = settings["SHIMMY_STORE_KEYGEN_ACCOUNT"]
    named = dict(one.split("=") for one in settings["SHIMMY_STORE_KEYGEN_POLICIES"].split(","))
    plans = {policy: plan for plan, policy in named.items()}
    url = f"{settings['SHIMMY_STORE_KEYGEN_URL']}/v1/accounts/{account}/licenses"
    headers = {"Authorization": f"Bearer {settings['SHIMMY_STORE_KEYGEN_TOKEN']}"}
    number, page = 0, [None] * _PAGE
    while len(page) == _PAGE:
        number += 1
        asked = {"page[size]": str(_PAGE), "page[number]": str(number)}
        reply = httpx.get(url, params=asked, headers=headers, trust_env=False, timeout=60)
        page = reply.raise_for_status().json()["data"]
        for one in page:
            customer, licence = _licence(one, plans, seen.now)
            seen.licences[customer].append(licence)


def _licence(one: Any, plans: Mapping[str, str], now: datetime) -> tuple[str, Held]:
    given = one["attributes"]
    until = datetime.fromisoformat(given["expiry"]) if given["expiry"] else None
    plan = plans.get(one["relationships"]["policy"]["data"]["id"], "unknown")
    usable = not given["suspended"] and (until is None or until > now)
    told = given["metadata"]
    begins, ends = told.get("pagesPeriodStart"), told.get("pagesPeriodEnd")
    month = (datetime.fromisoformat(begins), datetime.fromisoformat(ends)) if begins else None
    noted = told.get("pagesResetFor") == begins
    return str(told.get("customer")), Held(
        one["id"], given["key"], plan, until, usable, given["uses"], month, noted
    )  # fmt: skip


def wrong_customers(seen: Seen) -> dict[str, str]:
    """Who is not as it should be, and why; codes only, no address and no key."""
    wrong: dict[str, str] = {}
    for customer in seen.heads():
        why = _wrong(seen, customer)
        if why:
            wrong[customer] = why
    strangers = set(seen.licences) - set(seen.emails)
    return wrong | dict.fromkeys(strangers, "licence-of-nobody")


def describe(seen: Seen, customer: str, why: str) -> dict[str, Any]:
    """What is known of one of them, to find the cause by; no address and no key."""
    members = seen.members(customer)
    row = seen.rows.get(customer)
    return {
        "why": why,
        "now": str(seen.now),
        "members": members,
        "expected": str(seen.expected(customer)),
        "purchases": [str(one) for name in members for one in seen.purchases[name]],
        "licences": [str(one) for name in members for one in seen.licences[name]],
        "row": None if row is None else {**asdict(row), "email": bool(row.email)},
    }


def _wrong(seen: Seen, customer: str) -> str:
    wanted = seen.expected(customer)
    held = [one for name in seen.members(customer) for one in seen.licences[name]]
    usable = [one for one in held if one.usable]
    row = seen.rows.get(customer)
    if len(usable) > 1:
        return "several-licences"
    if wanted.verdict == "must-not" and usable:
        return "licence-unpaid-for"
    if wanted.verdict == "must" and not usable:
        return "licence-missing"
    bought = [one for name in seen.members(customer) for one in seen.purchases[name]]
    if sum(one.collects and one.settled for one in bought) > 1:
        return "pays-twice"
    if wanted.paid and (row is None or not row.settled or not row.origin):
        return "ledger-unsettled"
    if row is not None and row.settled and row.email != seen.emails[customer]:
        return "ledger-address"
    if wanted.plan and usable:
        return _differs(wanted, usable[0], row)
    return ""


def _differs(wanted: Expected, held: Held, row: Row | None) -> str:
    if held.plan != wanted.plan:
        return "plan-differs"
    if row is not None and row.plan != held.plan:
        return "ledger-plan-differs"
    if (held.expiry is None) != (wanted.expiry is None):
        return "expiry-differs"
    if held.expiry and wanted.expiry and abs(held.expiry - wanted.expiry) > timedelta(seconds=2):
        return "expiry-differs"
    if wanted.through is None:
        return ""
    ends = held.month[1] if held.month else None
    return "" if ends == wanted.through and held.noted else "month-differs"


@dataclass(frozen=True, slots=True)
class Counted:
    """Licences whose count of pages was looked at; ``anew``: those that had some of an old month.

    ``wrong``: those whose count is not that of their month.
    """

    licences: int
    anew: int
    wrong: int


def count_pages(seen: Seen, told: Sequence[Pages], machines: Set[str]) -> Counted:
    """What customers counted against what Keygen has; ``machines``: keys that count by themselves.

    A page counted while a month begins may fall on either side.
    """
    by_key: dict[str, list[Pages]] = defaultdict(list)
    for one in told:
        by_key[one.key].append(one)
    licences = anew = wrong = 0
    for held in (one for several in seen.licences.values() for one in several):
        pages = by_key.get(held.key)
        if not pages or held.key in machines or held.month is None or not held.usable:
            continue
        begins = held.month[0]
        open_ones = [one for one in pages if one.ended >= begins]
        sure = [one for one in open_ones if one.sure and one.began > begins + _BEGINNING]
        licences += 1
        anew += any(one.sure and one.ended < begins for one in pages)
        least, most = (sum(one.count for one in some) for some in (sure, open_ones))
        wrong += not least <= held.uses <= most
    return Counted(licences, anew, wrong)


def count_lost(street: ChaosStreet, handled: Set[str]) -> tuple[int, int]:
    """Events that the ledger was to be told of and no webhook ever did; and those it has not."""
    told = street.control("stripe", "deliveries")["deliveries"]
    lost = {one["event"] for one in told if one["state"] == "dropped" and one["type"] in handled}
    lost -= {one["event"] for one in told if one["state"] == "delivered"}
    known = {str(one) for (one,) in street.view._ask("SELECT id FROM events")}  # type: ignore[attr-defined]
    return len(lost), len(lost - known)


@dataclass(frozen=True, slots=True)
class Mails:
    """``owed``: by address, how many the ledger says were sent; ``got``: how many came, each once.

    ``doubles`` came again; ``keyless``: customers whose licence no mail of theirs names, of so many
    ``licences``.
    """

    owed: Mapping[str, int]
    got: Mapping[str, int]
    doubles: int
    keyless: tuple[str, ...]
    licences: int

    @property
    def missing(self) -> int:
        """Of all addresses."""
        return sum(max(count - self.got.get(one, 0), 0) for one, count in self.owed.items())


def count_mails(street: ChaosStreet, seen: Seen) -> Mails:
    """Every message by its own name, which is the same each time it is sent."""
    sql = (
        "SELECT c.email, COUNT(*) FROM outbox o JOIN customers c ON c.customer = o.customer"
        " WHERE o.state = 'sent' AND o.kind <> 'sign-in' GROUP BY c.email"
    )
    owed = {str(email): int(count) for email, count in street.view._ask(sql)}  # type: ignore[attr-defined]
    names: Counter[tuple[str, str]] = Counter()
    texts: dict[str, str] = defaultdict(str)
    for mail in street.ask("mail", "messages"):
        headers = {name.lower(): value for name, value in mail["headers"].items()}
        if "/sign-in?token=" in mail["text"]:
            continue  # Asked for by a visitor; late ones are not sent at all.
        for to in mail["to"]:
            names[to, headers["message-id"]] += 1
            texts[to] += mail["text"]
    got = Counter(to for to, _ in names)
    held = [
        (customer, one.key in texts[seen.emails[name]])
        for customer in seen.heads()
        for name in seen.members(customer)
        for one in seen.licences[name]
        if one.usable
    ]
    keyless = tuple(customer for customer, mailed in held if not mailed)
    return Mails(owed, got, sum(names.values()) - len(names), keyless, len(held))
