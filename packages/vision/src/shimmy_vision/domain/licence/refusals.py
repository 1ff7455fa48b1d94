"""What a refused user reads: why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shimmy_vision.domain.licence.licence_facts import Denial, Machine, one_line
from shimmy_vision.domain.licence.licensor import Licensor

# Verdicts that mean: the licence is good, but not activated on this machine.
NOT_ACTIVATED = frozenset({"NO_MACHINE", "NO_MACHINES", "FINGERPRINT_SCOPE_MISMATCH"})
_WRONG_PRODUCT = frozenset({"PRODUCT_SCOPE_MISMATCH", "POLICY_SCOPE_MISMATCH"})
SHOWN_ID = 8
_LONGEST_DETAIL = 200


@dataclass(frozen=True, slots=True)
class Refused:
    """Access is refused; ``code`` is stable, ``reason`` and ``remedy`` are for people."""

    code: str
    reason: str
    remedy: str


# Keygen's code: ours, the reason, the remedy.
_WORDS: Mapping[str, tuple[str, str, str]] = {
    "NOT_FOUND": (
        "licence-unknown",
        "The licence server does not know this licence key.",
        "Check it for typing errors. {account}. {plans}",
    ),
    "SUSPENDED": (
        "licence-suspended",
        "The licence is suspended, as after a refund or an unpaid invoice.",
        "{account}. Once that is settled: shimmy license refresh — {plans}",
    ),
    "EXPIRED": (
        "licence-expired",
        "The licence expired{day}.",
        "Renew it, then run: shimmy license refresh — {account}. {plans}",
    ),
    "BANNED": ("licence-banned", "The licence's owner is banned.", "{account}"),
    "ENTITLEMENTS_MISSING": (
        "licence-lacks-entitlement",
        "The licence does not include image analysis.",
        "Choose a plan that does. {plans}",
    ),
    "FINGERPRINT_TAKEN": (
        "machine-taken",
        "This machine is activated with another licence already.",
        "Deactivate that one here: shimmy license deactivate --license OTHER_KEY — then: "
        "shimmy license activate — {account}. {plans}",
    ),
    **dict.fromkeys(
        NOT_ACTIVATED,
        (
            "machine-not-activated",
            "The licence is not activated on this machine, or was deactivated.",
            "Activate it again: shimmy license activate — {plans}",
        ),
    ),
    **dict.fromkeys(
        _WRONG_PRODUCT,
        (
            "licence-wrong-product",
            "This licence key is one for another product.",
            "Use the key of Shimmy Vision. {account}. {plans}",
        ),
    ),
}
_OTHERWISE = (
    "licence-invalid",
    "The licence server refuses this licence: {clause}.",
    "{account}. {plans}",
)


def explain_denial(denial: Denial, licensor: Licensor, own_fingerprint: str = "") -> Refused:
    """The server's signed no in words; the code only chooses them, it never decides.

    The machine of ``own_fingerprint`` is marked, and never proposed for removal.
    """
    plans = see_plans(licensor)
    if denial.code == "TOO_MANY_MACHINES":
        return _too_many_machines(denial, plans, own_fingerprint)
    code, reason, remedy = _WORDS.get(denial.code, _OTHERWISE)
    day = f" on {say_day(denial.expiry)}" if denial.expiry else ""
    account = f"Your licence and payments: {licensor.portal_url}"
    return Refused(
        code,
        reason.format(day=day, clause=_clause(denial)),
        remedy.format(account=account, plans=plans),
    )


def explain_cap(
    used: int, cap: int, asked: int, resets: datetime | None, licensor: Licensor
) -> Refused:
    """No pages are left this month; numbers are pages."""
    left = max(cap - used, 0)
    when = f" More come on {say_day(resets)}." if resets else ""
    few = f" {left} left, {asked} needed." if left else ""
    wait = "Wait until then, or choose" if resets else "Choose"
    return Refused(
        "page-cap-reached",
        f"{min(used, cap):,} of {cap:,} pages are used this month.{few}{when}",
        f"{wait} a larger plan: {licensor.pricing_url}",
    )


def list_machines_briefly(machines: Sequence[Machine], own_fingerprint: str = "") -> str:
    """One line: ids, names, since when, and which is this one."""
    return "; ".join(_machine_briefly(one, own_fingerprint) for one in machines)


def _machine_briefly(one: Machine, own_fingerprint: str) -> str:
    notes = [one.name]
    if one.since:
        notes.append(f"since {say_day(one.since)}")
    if one.fingerprint == own_fingerprint:
        notes.append("this machine")
    return f"{one.id[:SHOWN_ID]} ({', '.join(notes)})"


def see_plans(licensor: Licensor) -> str:
    """Where the plans are."""
    return f"Plans: {licensor.pricing_url}"


def say_day(moment: datetime) -> str:
    """A date as people and their colleagues abroad read it the same way."""
    return f"{moment:%Y-%m-%d}"


def _clause(denial: Denial) -> str:
    """The server's own words, fit to end a sentence of ours on a terminal."""
    for text in (denial.detail, denial.code):
        clause = one_line(text, _LONGEST_DETAIL).rstrip(" .:;,…")
        if clause:
            return clause
    return "it does not say why"


def _too_many_machines(denial: Denial, plans: str, own_fingerprint: str) -> Refused:
    limit = denial.max_machines
    allowed = "its number of machines" if limit is None else _machines(limit)
    used = list_machines_briefly(denial.machines, own_fingerprint)
    others = [one for one in denial.machines if one.fingerprint != own_fingerprint]
    which = others[0].id[:SHOWN_ID] if others else "MACHINE"
    return Refused(
        "machine-limit-reached",
        f"The licence is for {allowed}" + (f", in use by: {used}." if used else ", all in use."),
        f"Free one: shimmy license deactivate {which} — then: shimmy license activate — "
        f"In containers set SHIMMY_MACHINE_ID, so that each start is the same machine. {plans}",
    )


def _machines(count: int) -> str:
    return "1 machine" if count == 1 else f"{count} machines"
