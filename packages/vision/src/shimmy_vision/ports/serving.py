"""What the HTTP server works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shimmy_vision.ports.analyst import Analyst
from shimmy_vision.ports.licensing import Licensing


@dataclass(frozen=True, slots=True)
class Serving:
    """``check_ready`` raises what the next analysis would be refused with, as far as is known."""

    analyst: Analyst
    check_ready: Callable[[], None]
    licences: Licensing
