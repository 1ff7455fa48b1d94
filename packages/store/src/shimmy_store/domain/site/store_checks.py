"""One store, the right one for the mode, and every button to its own plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs

from shimmy_store.domain.site.addresses import (
    DOCUMENTATION_HOSTS,
    STORE_PATHS,
    Address,
    is_loopback,
    is_placeholder_host,
    parse_address,
)
from shimmy_store.domain.site.findings import BuiltSite, Finding
from shimmy_store.domain.site.html_page import Element, HtmlPage


@dataclass(frozen=True, slots=True)
class _Naming:
    page: HtmlPage
    element: Element
    address: Address


def check_store(site: BuiltSite) -> Iterator[Finding]:
    """All that leads to a store leads to the same one; ``/buy`` names the plan it stands at."""
    namings = [one for page in site.pages.values() for one in _namings(site, page)]
    often = Counter(one.address.origin for one in namings)
    if not often:
        message = "No page leads to a store."
        remedy = "Build with --store-url."
        yield Finding("index.html", 0, "store-host-missing", message, remedy)
        return
    usual = often.most_common(1)[0][0]
    for one in namings:
        if one.address.origin != usual:
            message = f"This leads to {one.address.origin}, the others to {usual}."
            remedy = "There is one store: build with its --store-url."
            yield _at(one, "store-hosts-several", message, remedy)
        if site.mode == "live":
            yield from _live(one)
        if one.address.path == "/buy":
            yield from _plan(site, one)


def _namings(site: BuiltSite, page: HtmlPage) -> Iterator[_Naming]:
    known = DOCUMENTATION_HOSTS | site.allowed_hosts
    for one in page.elements:
        name = {"a": "href", "form": "action", "html": "data-store"}.get(one.tag, "")
        address = parse_address(one.get(name))
        if address and address.host not in known and address.path in STORE_PATHS:
            yield _Naming(page, one, address)


def _live(one: _Naming) -> Iterator[Finding]:
    host, remedy = one.address.host, "Build with the --store-url that customers use."
    if is_loopback(host) or is_placeholder_host(host):
        message = f"{host} is nothing that customers can reach."
        yield _at(one, "store-not-live", message, remedy)
    elif one.address.scheme != "https":
        yield _at(one, "store-insecure", f"{one.address.origin} is not https.", remedy)


def _plan(site: BuiltSite, one: _Naming) -> Iterator[Finding]:
    asked = parse_qs(one.address.query).get("plan", [""])[0]
    around = next(
        (outer.get("data-plan") for outer in one.page.around(one.element.parent)
         if outer.get("data-plan")), asked,
    )  # fmt: skip
    if asked not in {plan.id for plan in site.catalog.plans}:
        message = f"The plan {asked!r} is not in the catalog."
        yield _at(one, "buy-link-wrong", message, "Name one of contracts/plans.json.")
    elif asked != around:
        message = f"The button of {around} buys {asked}."
        yield _at(one, "buy-link-wrong", message, "Name the plan that it stands at.")


def _at(one: _Naming, code: str, message: str, remedy: str) -> Finding:
    return Finding(one.page.path, one.element.line, code, message, remedy)
