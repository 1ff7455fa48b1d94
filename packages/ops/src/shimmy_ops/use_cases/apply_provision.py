"""Take the steps that are left, keep what is shown once, and see that nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shimmy_ops.domain.provisioning import plan_provision
from shimmy_ops.domain.steps import BILLING_KINDS, Found, Step, secret_name
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import ProvisionError
from shimmy_ops.ports.billing import Billing
from shimmy_ops.ports.licensing import Licensing
from shimmy_ops.ports.safe import Safe
from shimmy_ops.use_cases.find_state import find_state


@dataclass(frozen=True, slots=True)
class Accounts:
    """Both accounts, and where their secrets go."""

    billing: Billing
    licensing: Licensing
    safe: Safe


def apply_provision(
    desired: Desired, accounts: Accounts, fresh: str, told: Callable[[Step], None]
) -> Found:
    """What is there in the end; ``told`` hears of each step that was taken.

    May be cut off anywhere: the next run goes on. ``fresh`` is said by no other run: Stripe answers
    a write that it has seen before with what it answered then, and takes it for a new one only with
    another key, so what is left after the first pass is done under a fresh one. Raises OpsError;
    ProvisionError where something is still left then.
    """
    billing, licensing, safe = accounts.billing, accounts.licensing, accounts.safe
    safe.prepare()
    for attempt in ("", fresh):
        found = find_state(desired, billing, licensing, safe)
        steps = plan_provision(desired, found).steps
        if not steps:
            return found
        for step in steps:
            _take(step, attempt, accounts)
            told(step)
    found = find_state(desired, billing, licensing, safe)
    left = plan_provision(desired, found).steps
    if left:
        raise ProvisionError(
            "provision-unsettled",
            f"After two passes something is still otherwise: {', '.join(_named(left))}.",
            hint="Somebody else may be changing the account. Run it again with --plan.",
            retryable=True,
        )
    return found


def _take(step: Step, attempt: str, accounts: Accounts) -> None:
    if step.kind in BILLING_KINDS:
        made = accounts.billing.perform(step, attempt)
    else:
        made = accounts.licensing.perform(step)
    if made.secret:
        accounts.safe.keep(secret_name(step.kind, made.id), made.secret)


def _named(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        yield f"{step.kind} {step.key}"
