"""Where pages lead, and what they load: everything there, nothing from elsewhere, one store."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from shimmy_store.domain.site.addresses import DOCUMENTATION_HOSTS, STORE_PATHS, parse_address
from shimmy_store.domain.site.findings import BuiltSite, Finding
from shimmy_store.domain.site.html_page import Element, HtmlPage

_UNKNOWN_PATHS = "404.html"
_LOADING_LINKS = frozenset({"stylesheet", "icon", "preload", "modulepreload", "manifest"})
_LOADING = {
    "img": ("src", "srcset"), "script": ("src",), "iframe": ("src",), "source": ("src", "srcset"),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",),
    "track": ("src",), "image": ("href", "xlink:href"), "use": ("href", "xlink:href"),
}  # fmt: skip
_LEADING = {"a": "href", "area": "href", "form": "action"}
_IN_CSS = re.compile(r"""url\(\s*['"]?([^'")]*)|@import\s+['"]([^'"]*)""", re.IGNORECASE)
_LOCATION = re.compile(r"<loc>([^<]*)</loc>")


def loaded_by(page: HtmlPage) -> Iterator[tuple[Element, str]]:
    """Every address that a browser fetches by itself for this page."""
    for one in page.elements:
        if one.tag == "link":
            if _LOADING_LINKS & set(one.get("rel").lower().split()):
                yield one, one.get("href")
            continue
        for name in _LOADING.get(one.tag, ()):
            if name in one.attributes:
                parts = one.get(name).split(",") if name == "srcset" else [one.get(name)]
                yield from ((one, part.split()[0]) for part in parts if part.split())


def file_of(page: HtmlPage, address: str) -> str | None:
    """The site's file that an address on this page means; None where it lies outside its root."""
    path = unquote(urlsplit(address).path)
    if path.startswith("/"):
        base = next((one.get("data-base") for one in page.found("html")), "") or "/"
        if not path.startswith(base):
            return None
        path = path.removeprefix(base)
    elif path:
        path = posixpath.join(posixpath.dirname(page.path), path)
    else:
        return page.path
    found = posixpath.normpath(path) if path else "."
    if found.startswith(".."):
        return None
    # Servers of files answer a folder with its index.
    folder = found == "." or path.endswith("/")
    return posixpath.normpath(posixpath.join(found, "index.html")) if folder else found


def check_links(site: BuiltSite) -> Iterator[Finding]:
    """Links, anchors, what is loaded, style sheets, the site map."""
    for page in site.pages.values():
        for one, address in loaded_by(page):
            yield from _loaded(site, page, one, address)
        for one in page.elements:
            name = _LEADING.get(one.tag, "")
            if name in one.attributes:
                yield from _led(site, page, one, one.get(name).strip())
    for path, text in site.texts.items():
        if path.endswith(".css"):
            yield from _style(site, path, text)
    yield from _map(site)


def _loaded(site: BuiltSite, page: HtmlPage, one: Element, address: str) -> Iterator[Finding]:
    if urlsplit(address).scheme or address.startswith("//"):
        message = f"<{one.tag}> loads {address[:80]} from elsewhere."
        remedy = "Keep a copy in the site: pages ask nobody else for anything."
        yield Finding(page.path, one.line, "resource-outside", message, remedy)
    else:
        yield from _there(site, page, one, address)


def _led(site: BuiltSite, page: HtmlPage, one: Element, address: str) -> Iterator[Finding]:
    scheme = urlsplit(address).scheme
    if scheme in ("http", "https") or address.startswith("//"):
        yield from _outside(site, page, one, address)
    elif scheme == "mailto":
        if "@" not in address:
            yield _broken(page, one, address, "is no mail address")
    elif scheme or not address:
        message = f"A link has the address {address[:80]!r}."
        remedy = "Lead to a page, or make it a button."
        yield Finding(page.path, one.line, "link-empty", message, remedy)
    else:
        yield from _there(site, page, one, address)


def _outside(site: BuiltSite, page: HtmlPage, one: Element, address: str) -> Iterator[Finding]:
    place = parse_address(address)
    known = DOCUMENTATION_HOSTS | site.allowed_hosts
    if place is not None and place.host in known:
        if place.scheme == "http":
            message = f"{address[:80]} is not https."
            yield Finding(page.path, one.line, "link-insecure", message, "Link to https.")
        return
    # Which of them is the store is looked at by itself.
    if place is None or place.path not in STORE_PATHS:
        message = f"A link leads to {address[:80]}, which is neither the store nor documentation."
        remedy = "Remove it, or allow its host with --allow-host."
        yield Finding(page.path, one.line, "link-outside", message, remedy)


def _there(site: BuiltSite, page: HtmlPage, one: Element, address: str) -> Iterator[Finding]:
    if page.path == _UNKNOWN_PATHS and not address.startswith(("/", "#")):
        message = f"{address!r} is relative, but this page is shown at any depth."
        remedy = "Begin with the site's base path."
        yield Finding(page.path, one.line, "link-relative", message, remedy)
        return
    target = file_of(page, address)
    if target is None or target not in site.sizes:
        yield _broken(page, one, address, "is not in the site")
        return
    anchor = unquote(urlsplit(address).fragment)
    if anchor and target in site.pages and anchor not in site.pages[target].names():
        message = f"{address!r} leads to a place that {target} does not have."
        remedy = "Correct the anchor, or give its target that id."
        yield Finding(page.path, one.line, "anchor-missing", message, remedy)


def _broken(page: HtmlPage, one: Element, address: str, why: str) -> Finding:
    message = f"{address[:80]!r} {why}."
    return Finding(page.path, one.line, "link-broken", message, "Correct the address.")


def _style(site: BuiltSite, path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.split("\n"), 1):
        for match in _IN_CSS.finditer(line):
            address = match.group(1) or match.group(2) or ""
            if address.startswith(("#", "data:image/")):
                continue
            if urlsplit(address).scheme or address.startswith("//"):
                message = f"The style sheet loads {address[:80]} from elsewhere."
                remedy = "Keep a copy in the site."
                yield Finding(path, number, "resource-outside", message, remedy)
            elif posixpath.normpath(posixpath.join(posixpath.dirname(path), address)) not in (
                site.sizes
            ):
                message = f"{address[:80]!r} is not in the site."
                yield Finding(path, number, "link-broken", message, "Correct the address.")


def _map(site: BuiltSite) -> Iterator[Finding]:
    front = site.pages.get("index.html")
    links = front.found("link") if front else iter(())
    home = next((one.get("href") for one in links if one.get("rel") == "canonical"), "")
    for number, line in enumerate(site.texts.get("sitemap.xml", "").split("\n"), 1):
        for address in _LOCATION.findall(line):
            name = address.removeprefix(home) or "index.html"
            if not home or not address.startswith(home) or name not in site.sizes:
                message = f"The map names {address[:80]}, which is not a page of this site."
                remedy = "Build the site again."
                yield Finding("sitemap.xml", number, "link-broken", message, remedy)
