"""``plan_provision``: from what is found at Stripe and Keygen to the writes that are left."""

from __future__ import annotations

from shimmy_ops.domain.billing_steps import note_billing, plan_billing
from shimmy_ops.domain.licensing_steps import note_licensing, plan_licensing
from shimmy_ops.domain.steps import Found, Plan
from shimmy_ops.domain.wanted import Desired


def plan_provision(desired: Desired, found: Found) -> Plan:
    """No steps where everything is as desired; what is not ours is in none of them.

    Keygen comes first, so that nothing is on sale whose licence could not be made. Raises
    ProvisionError where a person must decide.
    """
    steps = (*plan_licensing(desired, found), *plan_billing(desired, found))
    notes = (*note_licensing(desired, found), *note_billing(desired, found))
    return Plan(steps, notes)
