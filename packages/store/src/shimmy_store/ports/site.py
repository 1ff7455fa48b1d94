"""What building and checking the static site need from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shimmy_store.domain.site.html_page import HtmlPage


class SiteSource(Protocol):
    """The site's templates and files, as they come with the program."""

    def page_names(self) -> tuple[str, ...]:
        """Paths of all pages, like ``docs/api.html``, sorted."""
        ...

    def render(self, name: str, facts: Mapping[str, Any]) -> str:
        """A page's HTML. Raises SiteError where the template cannot be used."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """Everything that is copied as it is, by path in the site. Raises SiteError."""
        ...

    def sample(self) -> Mapping[str, Any]:
        """The result of ``shimmy vision`` on the front page. Raises SiteError."""
        ...


class SiteFolder(Protocol):
    """A folder that holds one built site."""

    def replace(self, files: Mapping[str, bytes]) -> None:
        """All of the new site or, on SiteError, all of the old one. Raises SiteError."""
        ...

    def read(self) -> Mapping[str, bytes]:
        """Every file by its path with slashes. Raises SiteError where there is no site."""
        ...


class HtmlReader(Protocol):
    """Makes values of HTML."""

    def read(self, path: str, text: str) -> HtmlPage:
        """Never fails: what does not fit together stands in ``unbalanced``."""
        ...
