"""How much a first visit loads."""

from __future__ import annotations

from collections.abc import Iterator

from shimmy_store.domain.site.findings import BuiltSite, Finding
from shimmy_store.domain.site.html_page import HtmlPage
from shimmy_store.domain.site.link_checks import file_of, loaded_by

MOST_BYTES = 100_000


def first_load(site: BuiltSite, page: HtmlPage) -> int:
    """Bytes of a page with all it loads, uncompressed."""
    files = {file_of(page, address) for _, address in loaded_by(page)} | {page.path}
    return sum(site.sizes.get(name, 0) for name in files if name is not None)


def check_budget(site: BuiltSite) -> Iterator[Finding]:
    """Pages that load more than they may."""
    for page in site.pages.values():
        size = first_load(site, page)
        if size > MOST_BYTES:
            message = f"A first visit loads {size:,} bytes; {MOST_BYTES:,} are the limit."
            remedy = "Shrink pictures or styles."
            yield Finding(page.path, 0, "load-too-large", message, remedy)
