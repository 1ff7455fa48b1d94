"""What no published text may hold: keys; in live mode, whatever only a draft or a test has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shimmy_store.domain.site.addresses import OWN_SERVER
from shimmy_store.domain.site.findings import BuiltSite, Finding
from shimmy_store.domain.site.html_page import HtmlPage

_KEY = re.compile(r"(?<![A-Za-z])(?:(?:sk|pk|rk)_(?:test|live)_|whsec_)\w+")
_TEST_PAGE = re.compile(
    r"buy\.stripe\.com/test_\w*|billing\.stripe\.com/p/login/test_\w*|\bcs_test_\w+"
    r"|dashboard\.stripe\.com/test\b"
)
_LOOPBACK = re.compile(
    r"(?<![\w.])(?:localhost|127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[::1?\])(?::\d+)?", re.IGNORECASE
)
_EXAMPLE = re.compile(
    r"(?<![\w-])(?:[\w-]+\.)+(?:test|example|invalid)(?![\w.-]*\w)|(?<![\w-])example\.(?:com|net|org)\b",
    re.IGNORECASE,
)
# Marks of templates and of unfinished work; the letters in brackets keep this file free of them.
_DRAFT = re.compile(r"\[\[|\{\{|\{%|\bT[O]DO\b|\bFIX[M]E\b|\bXX[X]\b|lorem ipsum", re.IGNORECASE)
_SECRET_SHOWN = 8


def check_texts(site: BuiltSite) -> Iterator[Finding]:
    """Every text of the site, line by line; HTML also by where its words stand."""
    for path, text in site.texts.items():
        for number, line in enumerate(text.split("\n"), 1):
            yield from _keys(path, number, line)
            if site.mode == "live":
                yield from _drafts(path, number, line)
                if path not in site.pages:
                    yield from _places(path, number, line, in_code=False, in_sample=False)
    for page in site.pages.values():
        # Once more as browsers show them: entities could hide one.
        for words in page.words:
            yield from _keys(page.path, words.line, words.text)
        if site.mode == "live":
            yield from _page(page)


def _keys(path: str, number: int, line: str) -> Iterator[Finding]:
    for match in _KEY.finditer(line):
        message = f"A key stands here: {match.group()[:_SECRET_SHOWN]}…"
        remedy = "Remove it, and replace it at Stripe if it was ever published."
        yield Finding(path, number, "key-left", message, remedy)


def _drafts(path: str, number: int, line: str) -> Iterator[Finding]:
    for match in _DRAFT.finditer(line):
        message = f"A placeholder is left: {line[match.start() :][:60]}"
        remedy = "Build with --mode live and --operator; finish what is marked."
        yield Finding(path, number, "placeholder-left", message, remedy)
    for match in _TEST_PAGE.finditer(line):
        message = f"{match.group()} belongs to Stripe's test mode."
        remedy = "Lead to the store of live mode."
        yield Finding(path, number, "test-address-left", message, remedy)


def _page(page: HtmlPage) -> Iterator[Finding]:
    for words in page.words:
        around = list(page.around(words.parent))
        in_code = any(one.tag in ("code", "pre") for one in around)
        in_sample = any("data-sample" in one.attributes for one in around)
        for offset, line in enumerate(words.text.split("\n")):
            yield from _places(page.path, words.line + offset, line, in_code, in_sample)
    for one in page.elements:
        for value in one.attributes.values():
            yield from _places(page.path, one.line, value, in_code=False, in_sample=False)


def _places(path: str, number: int, line: str, in_code: bool, in_sample: bool) -> Iterator[Finding]:
    for match in _LOOPBACK.finditer(line):
        # The customer's own server is documented in commands, and never linked to.
        if in_code and match.group() == OWN_SERVER:
            continue
        message = f"{match.group()} is this machine, not the reader's."
        yield Finding(path, number, "loopback-left", message, "Name the public address.")
    # A sample shows what stood on somebody's screen.
    for match in () if in_sample else _EXAMPLE.finditer(line):
        message = f"{match.group()} is reserved for examples and tests."
        yield Finding(path, number, "example-left", message, "Name the real one.")
