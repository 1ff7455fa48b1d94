"""A picture as one HTML page that needs nothing else: no script, no font, no other address.

Everything that comes from a picture is escaped by the template; the only markup put in as it is
are our own style sheet and the plots, which escape what they write (``domain.monitoring.plots``).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shimmy_ops.domain.monitoring.page_plots import make_plots
from shimmy_ops.domain.monitoring.panel import SIGNS
from shimmy_ops.domain.monitoring.panels import Verdict, decide_verdict, make_panels, taken_at
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.domain.monitoring.wording import plain

_PACKAGE = "shimmy_ops.adapters.monitoring"


@dataclass(frozen=True, slots=True)
class Link:
    """One of the page's own addresses; ``here`` is the one that is shown."""

    text: str
    to: str
    here: bool


def _capfirst(text: str) -> str:
    return text[:1].upper() + text[1:]


class JinjaPage:
    """Renders pages; ``policy`` is the Content-Security-Policy they are under."""

    def __init__(self) -> None:
        self._css = (resources.files(_PACKAGE) / "page" / "look.css").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(self._css.encode()).digest()).decode()
        self.policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        )
        made = Environment(
            loader=PackageLoader(_PACKAGE, "page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.filters["capfirst"] = _capfirst
        self._template = made.get_template("page.html")

    def render(
        self,
        picture: Picture,
        *,
        refresh_seconds: int = 0,
        links: Sequence[Link] = (),
        trouble: str = "",
    ) -> str:
        """``trouble`` says why nothing newer is shown; 0 seconds never refreshes."""
        verdict = decide_verdict(picture)
        if trouble:
            verdict = Verdict("bad", f"not sampled: {verdict.text} before")
        plots = [
            # Drawn by us, from numbers.
            {"title": one.title, "last": one.last, "svg": Markup(one.svg)}  # noqa: S704
            for one in make_plots(picture)
        ]
        return self._template.render(
            policy=self.policy,
            css=Markup(self._css),  # noqa: S704 - a file of ours
            refresh=refresh_seconds,
            links=links,
            trouble=plain(trouble, 400),
            verdict=verdict,
            profile=plain(picture.profile, 40),
            profile_kind="live" if picture.profile == "live" else "other",
            version=plain(picture.version, 40),
            taken=taken_at(picture),
            panels=make_panels(picture),
            plots=plots,
            signs=SIGNS,
        )
