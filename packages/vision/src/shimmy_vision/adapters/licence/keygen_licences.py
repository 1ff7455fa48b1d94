"""The ``LicenceServer`` port over Keygen's API, authenticated by nothing but the licence key."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar
from urllib.parse import quote

from shimmy_vision.adapters.licence.signed_exchange import Reply, SignedExchange, malformed
from shimmy_vision.domain.licence.licence_facts import (
    Denial,
    Machine,
    Verdict,
    read_licence,
    read_machine,
    read_machines,
    read_verdict,
    related_id,
)
from shimmy_vision.domain.licence.licensor import ENTITLEMENT
from shimmy_vision.errors import LicenceServerError
from shimmy_vision.ports.licence_server import Counted, MachineToActivate, NotCounted, Reading

T = TypeVar("T")

# A licence key may read no more than these: policy and product are refused by default.
_INCLUDES = ["license", "license.entitlements"]
_NONCE_BITS = 52  # Integers beyond 53 bits do not survive every JSON reader on the way.
_PAGE_SIZE = 100
# Errors of authenticated calls that say the same as a validation's code.
_DENIALS = {
    "LICENSE_SUSPENDED": "SUSPENDED",
    "LICENSE_EXPIRED": "EXPIRED",
    "LICENSE_INVALID": "NOT_FOUND",
    "LICENSE_BANNED": "BANNED",
    "USER_BANNED": "BANNED",
    "FINGERPRINT_TAKEN": "FINGERPRINT_TAKEN",
    "MACHINE_LIMIT_EXCEEDED": "TOO_MANY_MACHINES",
}


class KeygenLicences:
    """See ``ports.licence_server``; ``product`` is the pinned product's id."""

    def __init__(self, exchange: SignedExchange, product: str) -> None:
        self._exchange = exchange
        self._product = product

    def close(self) -> None:
        self._exchange.close()

    def validate(self, key: str, fingerprint: str) -> Verdict:
        nonce = secrets.randbits(_NONCE_BITS)
        scope = {
            "product": self._product,
            "fingerprint": fingerprint,
            "entitlements": [ENTITLEMENT],
        }
        body = {"meta": {"key": key, "nonce": nonce, "scope": scope}}
        reply = self._exchange.ask("POST", "licenses/actions/validate-key", body=body)
        if reply.status != 200:
            return _denial(reply)
        return _sense(lambda: read_verdict(reply.document, nonce, reply.at))

    def activate(self, key: str, machine: MachineToActivate) -> Machine | Denial:
        body = {
            "data": {
                "type": "machines",
                "attributes": {
                    "fingerprint": machine.fingerprint,
                    "name": machine.name,
                    "platform": machine.platform,
                },
                "relationships": {"license": {"data": {"type": "licenses", "id": machine.licence}}},
            }
        }
        reply = self._exchange.ask("POST", "machines", key=key, body=body)
        if reply.status == 201:
            return _sense(lambda: read_machine(_data(reply)))
        if "FINGERPRINT_TAKEN" in reply.error_codes():
            return self._own_machine(key, machine, reply)
        return _denial(reply)

    def _own_machine(
        self, key: str, machine: MachineToActivate, refused: Reply
    ) -> Machine | Denial:
        """The machine that has our fingerprint already; only this licence's counts as ours."""
        reply = self._exchange.ask("GET", f"machines/{_word(machine.fingerprint)}", key=key)
        if reply.status != 200:
            return _denial(refused)
        found = _sense(lambda: read_machine(_data(reply)))
        owner = _sense(lambda: related_id(_data(reply), "license"))
        ours = found.fingerprint == machine.fingerprint and owner == machine.licence
        return found if ours else _denial(refused)

    def machines(self, key: str) -> tuple[Machine, ...] | Denial:
        found: dict[str, Machine] = {}
        for number in count(1):
            path = f"machines?page%5Bnumber%5D={number}&page%5Bsize%5D={_PAGE_SIZE}"
            reply = self._exchange.ask("GET", path, key=key)
            if reply.status != 200:
                return _denial(reply)
            listed = _sense(lambda reply=reply: read_machines(reply.document))  # type: ignore[misc]
            before = len(found)
            found.update((one.id, one) for one in listed)
            # A server that repeats itself would be asked for ever.
            if len(listed) < _PAGE_SIZE or len(found) == before:
                break
        return tuple(sorted(found.values(), key=lambda one: (str(one.since or ""), one.id)))

    def deactivate(self, key: str, machine: str) -> bool | Denial:
        reply = self._exchange.ask("DELETE", f"machines/{_word(machine)}", key=key)
        if reply.status == 204:
            return True
        return False if _is_missing(reply) else _denial(reply)

    def check_out(self, key: str, fingerprint: str, ttl: timedelta) -> str | Denial:
        meta = {"encrypt": True, "ttl": round(ttl.total_seconds()), "include": _INCLUDES}
        path = f"machines/{_word(fingerprint)}/actions/check-out"
        reply = self._exchange.ask("POST", path, key=key, body={"meta": meta})
        if reply.status != 200:
            return _denial(reply, of_machine=True)
        certificate = _sense(lambda: _data(reply)["attributes"]["certificate"])
        if not isinstance(certificate, str):
            raise malformed()
        return certificate

    def read(self, key: str) -> Reading | Denial:
        return _read(self._exchange.ask("GET", "me", key=key))

    def increment(self, key: str, licence: str, pages: int) -> Counted:
        path = f"licenses/{_word(licence)}/actions/increment-usage"
        body = {"meta": {"increment": pages}}
        reply = self._exchange.ask("POST", path, key=key, body=body)
        if reply.status == 409 and reply.error_detail():
            return NotCounted("conflict")
        if "USES_LIMIT_EXCEEDED" in reply.error_codes():
            return NotCounted("over-limit")
        return _read(reply)


def _read(reply: Reply) -> Reading | Denial:
    if reply.status != 200:
        return _denial(reply)
    return Reading(_sense(lambda: read_licence(_data(reply))), reply.at)


def _denial(reply: Reply, *, of_machine: bool = False) -> Denial:
    """A signed refusal of this licence, as a verdict.

    Only what is said of the licence counts: a lapsed account of ours, an outdated API version or a
    policy set up wrong are our failures, and no customer is locked out by them.
    """
    detail = reply.error_detail() or f"status {reply.status}"
    for code in sorted(reply.error_codes()):
        if code in _DENIALS:
            return Denial(_DENIALS[code], detail, reply.at)
    if of_machine and _is_missing(reply):
        return Denial("FINGERPRINT_SCOPE_MISMATCH", detail, reply.at)
    raise LicenceServerError(
        "licence-server-refuses",
        f"the licence server refuses the request ({reply.status}: {detail})",
        hint="Update Shimmy Vision, or try again later.",
    )


def _is_missing(reply: Reply) -> bool:
    # The status is no part of what is signed: a refusal is one by its body.
    return reply.status == 404 and "NOT_FOUND" in reply.error_codes()


def _data(reply: Reply) -> Mapping[str, Any]:
    data = reply.document.get("data")
    if isinstance(data, dict):
        return data
    raise ValueError("data is no object")


def _sense(read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, KeyError, TypeError) as error:
        raise malformed() from error


def _word(text: str) -> str:
    return quote(text, safe="")
