"""What a shop does with a licence server: stocks it with plans and sells licences.

Everything goes over the wire with the sandbox's admin token, as a real shop's
fulfilment would do it with Keygen.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from shimmy_sandbox.keygen.calendar_time import add_months
from shimmy_sandbox.keygen.identity import ACCOUNT_ID, ADMIN_TOKEN, PRODUCT_ID
from shimmy_sandbox.keygen.wire import MEDIA_TYPE, metadata_out, written_time

PRODUCT_NAME: Final = "Shimmy Vision"
OFFLINE_GRACE_HOURS: Final = 24
RENEWAL_GRACE: Final = timedelta(days=3)
"""How long a monthly licence outlives the month paid for, so that a late renewal finds it valid."""


class Located(Protocol):
    """Whatever says where a licence server is: a running one, or an ``Address``."""

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""


@dataclass(frozen=True, slots=True)
class Address:
    """A licence server that runs in another process."""

    url: str


class ShopError(Exception):
    """The licence server refused, or there is nothing to do; the message says what and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def policy_id(plan_id: str) -> str:
    """The id of a plan's policy: the same in every sandbox."""
    return str(uuid.uuid5(uuid.UUID(ACCOUNT_ID), f"policy/{plan_id}"))


def entitlement_id(code: str) -> str:
    """The id of an entitlement: the same in every sandbox."""
    return str(uuid.uuid5(uuid.UUID(ACCOUNT_ID), f"entitlement/{code}"))


def stock_shop(server: Located, plans: Sequence[Mapping[str, Any]]) -> None:
    """Bring product, entitlements and one policy a plan to what ``plans`` say.

    Doing it again changes nothing; doing it with changed plans changes their policies.
    ``plans`` are those of ``contracts/plans.json``; prices are not looked at.
    """
    stock_product(server)
    with Counter(server) as counter:
        for code in sorted({code for plan in plans for code in plan["entitlements"]}):
            wanted = {"name": code.title(), "code": code}
            counter.ensure("entitlements", entitlement_id(code), wanted)
        for plan in plans:
            _stock_plan(counter, plan)


def stock_product(server: Located) -> None:
    """The product alone, whose id sandbox builds of ``shimmy`` know: for an operator to go on."""
    with Counter(server) as counter:
        counter.ensure("products", PRODUCT_ID, {"name": PRODUCT_NAME})


def _stock_plan(counter: Counter, plan: Mapping[str, Any]) -> None:
    identifier = policy_id(plan["id"])
    product = {"product": {"data": {"type": "products", "id": PRODUCT_ID}}}
    counter.ensure("policies", identifier, policy_settings(plan), product)
    path = f"policies/{identifier}/entitlements"
    attached = {one["id"] for one in counter.ask("GET", f"{path}?limit=100")["data"]}
    wanted = {entitlement_id(code) for code in plan["entitlements"]}
    for method, ids in (("POST", wanted - attached), ("DELETE", attached - wanted)):
        if ids:
            data = [{"type": "entitlements", "id": one} for one in sorted(ids)]
            counter.ask(method, path, {"data": data})


def policy_settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The policy attributes of one plan; ``expiry`` is set on each licence, not by a duration."""
    return {
        "name": plan["name"],
        "authenticationStrategy": "MIXED",
        "expirationStrategy": "RESTRICT_ACCESS",
        "floating": plan["machines"] != 1,
        "maxMachines": plan["machines"],
        "strict": True,
        "maxUses": plan["pages_per_month"],
        "duration": None,
        "overageStrategy": "NO_OVERAGE",
        "transferStrategy": "KEEP_EXPIRY",
        "metadata": {
            "plan": plan["id"],
            "interval": plan["interval"],
            "offlineGraceHours": OFFLINE_GRACE_HOURS,
        },
    }


def sell(
    server: Located,
    plan_id: str,
    *,
    expiry: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
    key: str | None = None,
    owner: str | None = None,
) -> dict[str, Any]:
    """A new licence of a plan in stock, as the wire shows it.

    ``expiry`` is by default three days after the month paid for, never for a
    plan bought once; ``metadata`` (snake_case) adds to the plan and its first
    period of pages; ``owner`` is an email, whose user is made when needed.
    ShopError when the plan is not in stock or the server refuses.
    """
    with Counter(server) as counter:
        policy = counter.find("policies", policy_id(plan_id))
        if policy is None:
            stock = ", ".join(counter.plans()) or "nothing"
            message = f"no plan {plan_id!r} is in stock (in stock: {stock})"
            raise ShopError("plan-not-in-stock", message)
        start = counter.now()
        end = add_months(start, 1)
        monthly = policy["attributes"]["metadata"]["interval"] == "month"
        ends = expiry or (end + RENEWAL_GRACE if monthly else None)
        period = {
            "plan": plan_id,
            "pages_period_start": written_time(start),
            "pages_period_end": written_time(end),
            # Copied from the policy, which a licence key may not read.
            "offline_grace_hours": policy["attributes"]["metadata"]["offlineGraceHours"],
        }
        attributes = {
            "expiry": written_time(ends) if ends else None,
            "metadata": metadata_out({**period, **(metadata or {})}),
            **({"key": key} if key else {}),
        }
        related = {"policy": {"data": {"type": "policies", "id": policy["id"]}}}
        if owner:
            related["owner"] = {"data": {"type": "users", "id": counter.user(owner)}}
        return counter.make("licenses", attributes, related)


def renew(server: Located, key: str) -> dict[str, Any]:
    """One more month for a monthly licence, as the wire shows it then.

    The plan's policy has no duration, so this is what fulfilment does when a
    month is paid: a new period of pages, an expiry three days after it, no page
    used yet. The month starts where the last one ends, or now if that is long
    ago. ShopError for a licence that was bought once or not sold by ``sell``.
    """
    with Counter(server) as counter:
        path = f"licenses/{quote(key, safe='')}"
        licence = counter.ask("GET", path)["data"]["attributes"]
        if licence["expiry"] is None:
            message = "this licence does not expire: there is nothing to renew"
            raise ShopError("licence-does-not-expire", message)
        last = licence["metadata"].get("pagesPeriodEnd")
        if last is None:
            message = "this licence was not sold here: it names no period of pages"
            raise ShopError("licence-not-sold-here", message)
        start, now = datetime.fromisoformat(last), counter.now()
        if add_months(start, 1) <= now:
            start = now
        end = add_months(start, 1)
        # The announcement comes first: clients report nothing from now on until five minutes
        # later, so that no report falls on both sides of the reset.
        period = {
            "pagesPeriodStart": written_time(start),
            "pagesPeriodEnd": written_time(end),
            "pagesResetAt": written_time(now),
        }
        changes = {
            "expiry": written_time(end + RENEWAL_GRACE),
            "metadata": {**licence["metadata"], **period},
        }
        counter.ask("PATCH", path, {"data": {"type": "licenses", "attributes": changes}})
        renewed: dict[str, Any] = counter.ask("POST", f"{path}/actions/reset-usage")["data"]
        return renewed


class Counter:
    """A connection to the licence server with the sandbox's admin token."""

    def __init__(self, server: Located) -> None:
        self._base = server.url
        self._client = httpx.Client(
            base_url=f"{server.url}/v1/accounts/{ACCOUNT_ID}/",
            headers={
                "Authorization": f"Bearer {ADMIN_TOKEN}",
                "Accept": MEDIA_TYPE,
                "Content-Type": MEDIA_TYPE,
            },
            trust_env=False,  # a proxy has no business between two local programs
            # Loopback speaks no TLS; without this, httpx reads every root certificate first.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def now(self) -> datetime:
        """What time it is in the sandbox."""
        return datetime.fromisoformat(self._client.get(f"{self._base}/_sim/clock").json()["now"])

    def control(self, path: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """POST ``order`` below ``/_sim`` and read the answer; ShopError when it is refused."""
        reply = self._client.post(f"{self._base}/_sim/{path}", json=order)
        answer: dict[str, Any] = reply.json()
        if not reply.is_success:
            raise ShopError("control-refused", str(answer.get("error", reply.status_code)))
        return answer

    def plans(self) -> list[str]:
        """The plans in stock, in the order they were put there."""
        policies = self.ask("GET", "policies?limit=100&order=asc")["data"]
        named = [one["attributes"]["metadata"].get("plan") for one in policies]
        return [name for name in named if name]

    def ask(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        """The document in answer to a request; ShopError when it is refused."""
        reply = self._client.request(method, path, json=document)
        if not reply.is_success:
            raise _refused(method, path, reply)
        answer: dict[str, Any] = reply.json() if reply.content else {}
        return answer

    def find(self, kind: str, identifier: str) -> dict[str, Any] | None:
        """The resource with this id, if it exists."""
        reply = self._client.get(f"{kind}/{identifier}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        if not reply.is_success:
            raise _refused("GET", kind, reply)
        found: dict[str, Any] = reply.json()["data"]
        return found

    def make(
        self,
        kind: str,
        attributes: Mapping[str, Any],
        related: Mapping[str, Any],
        identifier: str | None = None,
    ) -> dict[str, Any]:
        """A new resource of ``kind``."""
        chosen = {"id": identifier} if identifier else {}
        data = {"type": kind, **chosen, "attributes": attributes, "relationships": related}
        made: dict[str, Any] = self.ask("POST", kind, {"data": data})["data"]
        return made

    def ensure(
        self,
        kind: str,
        identifier: str,
        wanted: Mapping[str, Any],
        related: Mapping[str, Any] | None = None,
    ) -> None:
        """The resource with this id exists and has the attributes ``wanted``."""
        found = self.find(kind, identifier)
        if found is None:
            self.make(kind, wanted, related or {}, identifier)
            return
        changed = {
            name: value for name, value in wanted.items() if found["attributes"][name] != value
        }
        if changed:
            data = {"type": kind, "attributes": changed}
            self.ask("PATCH", f"{kind}/{identifier}", {"data": data})

    def user(self, email: str) -> str:
        """The id of the user with this email."""
        found = self.find("users", email) or self.make("users", {"email": email}, {})
        return str(found["id"])


def _refused(method: str, path: str, reply: httpx.Response) -> ShopError:
    try:
        problem = reply.json()["errors"][0]
        reason = f"{problem.get('code') or problem['title']}: {problem['detail']}"
    except (ValueError, LookupError):
        reason = f"status {reply.status_code}"
    return ShopError("request-refused", f"{method} {path.partition('/')[0]}: {reason}")
