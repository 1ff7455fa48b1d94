"""What a check finds, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shimmy_store.domain.catalog import Catalog
from shimmy_store.domain.site.html_page import HtmlPage
from shimmy_store.domain.site.order import SiteMode


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong. ``line`` is 0 where it is about a whole file."""

    path: str
    line: int
    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class BuiltSite:
    """``sizes`` of all files in bytes, ``texts`` of those that are text, pages parsed, by path."""

    mode: SiteMode
    sizes: Mapping[str, int]
    texts: Mapping[str, str]
    pages: Mapping[str, HtmlPage]
    catalog: Catalog
    allowed_hosts: frozenset[str]
