"""What every page must have to be read by anybody: people, screen readers, search engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from shimmy_store.domain.site.findings import BuiltSite, Finding
from shimmy_store.domain.site.html_page import Element, HtmlPage

# What GitHub Pages or a visitor asks for by name.
REQUIRED = (
    ".nojekyll",
    "404.html",
    "docs/api.html",
    "docs/install.html",
    "docs/licence.html",
    "docs/quickstart.html",
    "docs/troubleshooting.html",
    "favicon.svg",
    "index.html",
    "pricing.html",
    "privacy.html",
    "refunds.html",
    "robots.txt",
    "terms.html",
)


def check_pages(site: BuiltSite) -> Iterator[Finding]:
    """Structure, titles, alternatives to pictures, the banner of test mode."""
    for name in REQUIRED:
        if name not in site.sizes:
            yield Finding(
                name, 0, "page-missing", "This file is not there.", "Build the site again."
            )
    for page in site.pages.values():
        yield from _head(page)
        yield from _headings(page)
        yield from _pictures(page)
        yield from _ids(page)
        yield from _banner(page, site)
        for line, tag in page.unbalanced:
            message = f"<{tag}> is closed where it is not open, or never closed."
            yield Finding(page.path, line, "html-unbalanced", message, "Mend the template.")
    yield from _titles(site)


def _head(page: HtmlPage) -> Iterator[Finding]:
    if not any(one.get("lang") for one in page.found("html")):
        message = "The page does not say its language."
        yield Finding(page.path, 1, "lang-missing", message, 'Write <html lang="en">.')
    metas = {one.get("name").lower(): one.get("content") for one in page.found("meta")}
    if not metas.get("description", "").strip():
        message = "The page has no description."
        remedy = 'Write <meta name="description" content="…">.'
        yield Finding(page.path, 1, "description-missing", message, remedy)
    policies = {one.get("http-equiv").lower() for one in page.found("meta")}
    if "content-security-policy" not in policies:
        message = "The page has no Content-Security-Policy."
        yield Finding(page.path, 1, "policy-missing", message, "Extend base.html.")


def _headings(page: HtmlPage) -> Iterator[Finding]:
    headings = list(page.found("h1", "h2", "h3", "h4", "h5", "h6"))
    first = [one for one in headings if one.tag == "h1"]
    if len(first) != 1:
        line = first[1].line if len(first) > 1 else 1
        message = f"The page has {len(first)} h1."
        yield Finding(page.path, line, "h1-count", message, "Give it exactly one.")
    last = 0
    for one in headings:
        level = int(one.tag[1])
        if level > last + 1:
            message = f"A {one.tag} follows level {last}."
            yield Finding(page.path, one.line, "heading-skipped", message, f"Use h{last + 1}.")
        last = level


def _pictures(page: HtmlPage) -> Iterator[Finding]:
    for one in page.found("img", "svg", "input"):
        if one.tag == "input" and one.get("type") != "image":
            continue
        if not _has_alternative(one):
            message = f"<{one.tag}> says nothing to those who cannot see it."
            remedy = "Write an alt text; or aria-hidden on an svg that only decorates."
            yield Finding(page.path, one.line, "alt-missing", message, remedy)


def _has_alternative(one: Element) -> bool:
    if one.tag == "svg":
        return one.get("aria-hidden") == "true" or bool(one.get("aria-label").strip())
    # An empty alt is a decision only where the picture is said to decorate.
    return bool(one.get("alt").strip()) or (
        "alt" in one.attributes and one.get("role") == "presentation"
    )


def _ids(page: HtmlPage) -> Iterator[Finding]:
    seen: set[str] = set()
    for one in page.elements:
        name = one.get("id")
        if name and name in seen:
            message = f"The id {name!r} is there twice."
            yield Finding(page.path, one.line, "id-repeated", message, "Name one otherwise.")
        seen.add(name)


def _banner(page: HtmlPage, site: BuiltSite) -> Iterator[Finding]:
    banner = next((one for one in page.elements if one.has_class("test-mode")), None)
    if site.mode == "live" and banner is not None:
        message = "The page says that it is in test mode."
        remedy = "Build with --mode live."
        yield Finding(page.path, banner.line, "test-banner-left", message, remedy)
    if site.mode == "test" and banner is None:
        message = "Nothing on the page says that no real money moves."
        remedy = "Build with --mode test."
        yield Finding(page.path, 1, "test-banner-missing", message, remedy)


def _titles(site: BuiltSite) -> Iterator[Finding]:
    titles = {path: _title(page) for path, page in site.pages.items()}
    often = Counter(titles.values())
    for path, title in titles.items():
        if not title:
            message = "The page has no title."
            yield Finding(path, 1, "title-missing", message, "Write <title>.")
        elif often[title] > 1:
            message = f"Another page has the title {title!r}, too."
            yield Finding(path, 1, "title-repeated", message, "Give each page its own.")


def _title(page: HtmlPage) -> str:
    return next((page.text_in(one) for one in page.found("title") if _in_head(page, one)), "")


def _in_head(page: HtmlPage, one: Element) -> bool:
    # An svg may have a title, too.
    return any(outer.tag == "head" for outer in page.around(one.parent))
