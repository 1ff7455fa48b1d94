"""Makes the static site of catalog, templates and operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from shimmy_store.domain.catalog import Catalog
from shimmy_store.domain.site.operator import Operator
from shimmy_store.domain.site.order import SiteOrder
from shimmy_store.domain.site.price_checks import plan_attributes
from shimmy_store.domain.site.sample import compose_sample
from shimmy_store.ports.site import SiteFolder, SiteSource

_UNKNOWN_PATHS = "404.html"


def build_site(
    order: SiteOrder,
    operator: Operator,
    catalog: Catalog,
    source: SiteSource,
    folder: SiteFolder,
) -> int:
    """Returns the number of files; the same order makes the same bytes.

    Everything is made before the folder is touched. Raises SiteError.
    """
    facts = {
        "mode": order.mode,
        "store": order.store,
        "home": order.home,
        "base": order.base,
        "operator": operator,
        "plans": catalog.plans,
        "data": {plan.id: plan_attributes(plan, catalog.currency) for plan in catalog.plans},
        "sample": compose_sample(source.sample()),
    }
    names = source.page_names()
    files = dict(source.files())
    files |= {name: _page(source, name, order, facts).encode() for name in names}
    files |= {name: text.encode() for name, text in _for_machines(order, names).items()}
    folder.replace(files)
    return len(files)


def _page(source: SiteSource, name: str, order: SiteOrder, facts: Mapping[str, Any]) -> str:
    # The page for unknown paths is shown at any depth, so only the base path leads anywhere.
    root = order.base if name == _UNKNOWN_PATHS else "../" * name.count("/")
    address = "" if name == _UNKNOWN_PATHS else _address(order, name)
    return source.render(name, {**facts, "path": name, "root": root, "address": address})


def _address(order: SiteOrder, name: str) -> str:
    return order.home and order.home + ("" if name == "index.html" else name)


def _for_machines(order: SiteOrder, names: tuple[str, ...]) -> dict[str, str]:
    """GitHub Pages must not run Jekyll; nobody should find a site of test mode by searching."""
    rule = "Disallow: /" if order.mode == "test" else "Allow: /"
    robots = ["User-agent: *", rule]
    files = {".nojekyll": ""}
    if order.cname:
        files["CNAME"] = f"{order.cname}\n"
    if order.home:
        robots.append(f"Sitemap: {order.home}sitemap.xml")
        found = [_address(order, name) for name in names if name != _UNKNOWN_PATHS]
        entries = "".join(f"  <url><loc>{escape(one)}</loc></url>\n" for one in found)
        files["sitemap.xml"] = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
            f"{entries}</urlset>\n"
        )
    return files | {"robots.txt": "\n".join(robots) + "\n"}
