"""Whether the next analysis would be admitted and could run, as far as is known without one."""

from __future__ import annotations

from collections.abc import Callable

from shimmy_vision.ports.analyst import Analyst
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.serving import HasFamily
from shimmy_vision.use_cases.pass_gate import pass_gate


def check_ready(licensing: Licensing, analyst: Analyst, locate: Callable[[], HasFamily]) -> None:
    """Raises LicenceError, or what ``locate`` raises where no model is in memory."""
    pass_gate(licensing)
    licensing.claims.check()
    if analyst.status().model is None:
        locate()
