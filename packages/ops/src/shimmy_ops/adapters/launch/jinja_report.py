"""The launch's report: Markdown to read along, HTML in one file to show and print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from shimmy_ops.adapters.keeping.private_files import write_private

_MARKDOWN_SIGNS = {sign: f"\\{sign}" for sign in r"\`*_[]<>|#"}


class JinjaReport:
    """``document`` is what ``report_document`` makes."""

    def __init__(self) -> None:
        loader = PackageLoader("shimmy_ops", "adapters/launch/templates")
        options: dict[str, Any] = {
            "loader": loader, "undefined": StrictUndefined, "trim_blocks": True,
            "lstrip_blocks": True, "keep_trailing_newline": True,
        }  # fmt: skip
        # Only HTML has HTML's rules: each form has an environment of its own.
        self._html = Environment(autoescape=True, **options)
        # Markdown is no HTML: its own filter escapes.
        self._markdown = Environment(autoescape=False, **options)  # noqa: S701
        self._markdown.filters["plain"] = _plain

    def markdown(self, document: Mapping[str, Any]) -> str:
        """One page."""
        return self._markdown.get_template("report.md.jinja").render(document)

    def html(self, document: Mapping[str, Any]) -> str:
        """One page that loads nothing."""
        return self._html.get_template("report.html.jinja").render(document)


def write_page(path: Path, text: str) -> None:
    """Whole or not at all; it names people, so it is its owner's. Raises KeepingError."""
    write_private(path, text)


def _plain(value: object) -> str:
    """Letters that mean nothing else in Markdown, on one line."""
    return "".join(_MARKDOWN_SIGNS.get(letter, letter) for letter in " ".join(str(value).split()))
