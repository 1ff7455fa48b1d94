"""Pages of this month, as values."""

from __future__ import annotations

from typing import Any

from shimmy_vision.use_cases.read_standing import Standing


def describe_usage(standing: Standing) -> dict[str, Any]:
    """Pages of this month and what of them the server has not counted yet; ``resets`` is the

    moment when they begin anew.
    """
    proof, usage = standing.evidence.proof, standing.usage
    if proof is None:
        return {"pages_used": None, "pages_allowed": None, "resets": None}
    limit = proof.facts.max_uses
    metered = limit is not None
    return {
        "pages_used": usage.total if metered else None,
        "pages_allowed": "unlimited" if limit is None else limit,
        "resets": proof.facts.period_end if metered else None,
        "not_yet_counted": usage.waiting + usage.reserved if metered else None,
        "analysed_on_this_machine": standing.record.total,
    }
