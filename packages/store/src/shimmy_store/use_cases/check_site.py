"""Says what is wrong with a built site before anybody sees it."""

from __future__ import annotations

from collections.abc import Mapping

from shimmy_store.domain.catalog import Catalog
from shimmy_store.domain.site.budget_checks import check_budget
from shimmy_store.domain.site.findings import BuiltSite, Finding
from shimmy_store.domain.site.link_checks import check_links
from shimmy_store.domain.site.order import SiteMode
from shimmy_store.domain.site.page_checks import check_pages
from shimmy_store.domain.site.price_checks import check_prices
from shimmy_store.domain.site.store_checks import check_store
from shimmy_store.domain.site.text_checks import check_texts
from shimmy_store.ports.site import HtmlReader, SiteFolder

_PAGE_ENDINGS = (".html", ".htm")
_CHECKS = (check_pages, check_links, check_store, check_texts, check_prices, check_budget)


def check_site(
    mode: SiteMode,
    catalog: Catalog,
    folder: SiteFolder,
    reader: HtmlReader,
    allowed_hosts: frozenset[str] = frozenset(),
) -> tuple[Finding, ...]:
    """Findings by file and line; none means that the site may go out. Raises SiteError."""
    files = folder.read()
    texts = _texts(files)
    pages = {
        path: reader.read(path, text)
        for path, text in texts.items()
        if path.lower().endswith(_PAGE_ENDINGS)
    }
    sizes = {path: len(data) for path, data in files.items()}
    site = BuiltSite(mode, sizes, texts, pages, catalog, allowed_hosts)
    return tuple(sorted({finding for check in _CHECKS for finding in check(site)}))


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    """Whatever can be read, whatever its name: a key is a key in any file."""
    found = {}
    for path, data in files.items():
        try:
            found[path] = data.decode("utf-8")
        except UnicodeDecodeError:
            if path.lower().endswith(_PAGE_ENDINGS):
                found[path] = data.decode("utf-8", errors="replace")
    return found
