"""The ``SiteSource`` port: Jinja templates and files of ``site/``, with the look of the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from shimmy_store.domain.site.plan_words import (
    interval_words,
    machines_words,
    methods_words,
    pages_words,
    price_words,
)
from shimmy_store.errors import SiteError

_PARTS = "parts"


def site_place() -> Path:
    """Where ``site/`` lies: packed into the wheel, or the repository's when installed in place."""
    packed = Path(str(resources.files("shimmy_store") / "site"))
    return packed if packed.is_dir() else Path(__file__).resolve().parents[5] / "site"


class JinjaSite:
    """See ``ports.site``."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._templates = Environment(
            loader=FileSystemLoader(place / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._templates.filters |= {
            "price": price_words,
            "interval": interval_words,
            "pages": pages_words,
            "machines": machines_words,
            "methods": methods_words,
        }

    def page_names(self) -> tuple[str, ...]:
        names = self._templates.list_templates(extensions=["html"])
        return tuple(sorted(name for name in names if not name.startswith(f"{_PARTS}/")))

    def render(self, name: str, facts: Mapping[str, Any]) -> str:
        try:
            return self._templates.get_template(name).render(facts)
        except TemplateError as error:
            raise SiteError(
                "site-template-broken",
                f"The page {name} cannot be made: {error}",
                hint="Mend site/templates, or reinstall shimmy-store.",
            ) from error

    def files(self) -> Mapping[str, bytes]:
        look = resources.files("shimmy_store.server") / "assets" / "look.css"
        try:
            found = {
                f"assets/{path.name}": path.read_bytes()
                for path in sorted((self._place / "assets").iterdir())
            }
            # Browsers and search engines look for it at the root.
            found["favicon.svg"] = found.pop("assets/favicon.svg")
            return found | {"assets/look.css": look.read_bytes()}
        except (OSError, KeyError) as error:
            raise _unreadable(error) from error

    def sample(self) -> Mapping[str, Any]:
        try:
            text = (self._place / "sample" / "sign-in.json").read_text(encoding="utf-8")
            result: dict[str, Any] = json.loads(text)
        except (OSError, ValueError) as error:
            raise _unreadable(error) from error
        return result


def _unreadable(error: Exception) -> SiteError:
    return SiteError(
        "site-source-unreadable",
        f"The site's own files cannot be read: {error}",
        hint="Reinstall shimmy-store.",
    )
