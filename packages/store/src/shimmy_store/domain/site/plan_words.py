"""How a plan is put into words: the build writes these, the check expects them."""

from __future__ import annotations

from shimmy_store.domain.catalog import PaymentMethod, Plan

_METHODS: dict[PaymentMethod, str] = {
    "card": "card",
    "link": "Link",
    "alipay": "Alipay",
    "wechat_pay": "WeChat Pay",
}


def price_words(plan: Plan) -> str:
    """``$12``, ``$1,499.50``."""
    whole, cents = divmod(plan.unit_amount, 100)
    return f"${whole:,}" + (f".{cents:02}" if cents else "")


def interval_words(plan: Plan) -> str:
    """``a month`` or ``once``."""
    return "a month" if plan.interval == "month" else "once"


def pages_words(plan: Plan) -> str:
    """``2,500 pages a month`` or ``Unlimited pages``."""
    if plan.pages_per_month is None:
        return "Unlimited pages"
    return f"{plan.pages_per_month:,} pages a month"


def machines_words(plan: Plan) -> str:
    """``1 machine``, ``5 machines`` or ``Unlimited machines``."""
    if plan.machines is None:
        return "Unlimited machines"
    return "1 machine" if plan.machines == 1 else f"{plan.machines:,} machines"


def methods_words(plan: Plan) -> str:
    """``Card or Link``; ``Card, Link, Alipay or WeChat Pay``."""
    names = [_METHODS[method] for method in plan.payment_methods]
    text = " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    return text[0].upper() + text[1:]
