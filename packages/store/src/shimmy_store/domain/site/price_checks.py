"""Every price that is shown is the catalog's, in numbers and in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shimmy_store.domain.catalog import Plan
from shimmy_store.domain.site.findings import BuiltSite, Finding
from shimmy_store.domain.site.html_page import Element, HtmlPage
from shimmy_store.domain.site.plan_words import (
    interval_words,
    machines_words,
    pages_words,
    price_words,
)

_AMOUNT = re.compile(r"\$\s?\d[\d,]*(?:\.\d+)?")
_REMEDY = "Build the site again: prices come from contracts/plans.json."


def plan_attributes(plan: Plan, currency: str) -> dict[str, str]:
    """What an element with ``data-plan`` carries."""
    unlimited = "unlimited"
    return {
        "data-plan": plan.id,
        "data-amount": str(plan.unit_amount),
        "data-currency": currency,
        "data-interval": plan.interval,
        "data-pages": str(plan.pages_per_month or unlimited),
        "data-machines": str(plan.machines or unlimited),
    }


def check_prices(site: BuiltSite) -> Iterator[Finding]:
    """Plans as data and as words; amounts anywhere in the text; all plans on the pricing page."""
    for page in site.pages.values():
        for one in page.elements:
            if "data-plan" in one.attributes:
                yield from _plan(site, page, one)
        yield from _amounts(site, page)
    pricing = site.pages.get("pricing.html")
    shown = {one.get("data-plan") for one in pricing.elements} if pricing else set()
    for plan in site.catalog.plans:
        if plan.id not in shown:
            message = f"The plan {plan.id} is not on the pricing page."
            yield Finding("pricing.html", 0, "plan-missing", message, _REMEDY)


def _plan(site: BuiltSite, page: HtmlPage, one: Element) -> Iterator[Finding]:
    plan = next((plan for plan in site.catalog.plans if plan.id == one.get("data-plan")), None)
    if plan is None:
        message = f"The plan {one.get('data-plan')!r} is not in the catalog."
        yield Finding(page.path, one.line, "plan-unknown", message, _REMEDY)
        return
    for name, value in plan_attributes(plan, site.catalog.currency).items():
        if one.get(name) != value:
            message = f"{plan.name}: {name} is {one.get(name)!r}, in the catalog {value!r}."
            yield Finding(page.path, one.line, "price-differs", message, _REMEDY)
    text = page.text_in(one)
    shown = _AMOUNT.findall(text)
    if shown != [price_words(plan)]:
        message = (
            f"{plan.name}: {', '.join(shown) or 'no price'} is shown, not {price_words(plan)}."
        )
        yield Finding(page.path, one.line, "price-differs", message, _REMEDY)
    for words in (interval_words(plan), pages_words(plan), machines_words(plan)):
        if words not in text:
            message = f"{plan.name}: {words!r} is not said."
            yield Finding(page.path, one.line, "price-differs", message, _REMEDY)


def _amounts(site: BuiltSite, page: HtmlPage) -> Iterator[Finding]:
    known = {price_words(plan) for plan in site.catalog.plans}
    for words in page.words:
        around = list(page.around(words.parent))
        if any(one.tag in ("code", "pre") or "data-plan" in one.attributes for one in around):
            continue
        for amount in _AMOUNT.findall(words.text):
            if amount not in known:
                message = f"{amount} is no price of the catalog."
                yield Finding(page.path, words.line, "price-unknown", message, _REMEDY)
