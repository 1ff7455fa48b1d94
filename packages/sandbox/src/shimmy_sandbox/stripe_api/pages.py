"""How the hosted pages are made: HTML from templates, redirects, notices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.store import Document

_ZERO_DECIMAL = ("jpy", "krw", "vnd", "clp")


@dataclass(frozen=True, slots=True)
class Page:
    """What a browser gets; ``after`` is an event whose delivery a redirect waits for."""

    status: int = 200
    html: str = ""
    location: str | None = None
    after: str | None = None


@cache
def _templates() -> Environment:
    loader = PackageLoader("shimmy_sandbox.stripe_api", "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    made.filters |= {"money": money, "day": _day}
    return made


def rendered(books: Books, template: str, *, status: int = 200, **values: Any) -> Page:
    """A page made from ``template``."""
    html = _templates().get_template(template).render(origin=books.origin, **values)
    return Page(status, html)


def notice(
    books: Books, title: str, text: str, *, status: int = 200, link: tuple[str, str] | None = None
) -> Page:
    """A page that says one thing; ``link`` is (URL, words)."""
    return rendered(books, "notice.html", status=status, title=title, text=text, link=link)


def redirect(location: str, after: str | None = None) -> Page:
    """On to another page, by GET."""
    return Page(303, location=location, after=after)


def money(amount: int, currency: str) -> str:
    """``1200, "usd"`` is ``12.00 USD``."""
    if currency in _ZERO_DECIMAL:
        return f"{amount} {currency.upper()}"
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d} {currency.upper()}"


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %B %Y")


def cycle_words(price: Document) -> str:
    """``per month``; nothing for a price that is paid once."""
    cycle = price["recurring"]
    if not cycle:
        return ""
    count, interval = cycle["interval_count"], cycle["interval"]
    return f"per {interval}" if count == 1 else f"every {count} {interval}s"
