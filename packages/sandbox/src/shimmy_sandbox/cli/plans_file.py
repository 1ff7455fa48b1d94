"""The plans on sale, as ``contracts/plans.json`` has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NEEDED = (
    "id",
    "name",
    "unit_amount",
    "interval",
    "pages_per_month",
    "machines",
    "entitlements",
)


class PlansError(Exception):
    """There are no plans to read; the message says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class PlansFile:
    """What is on sale, and in which money."""

    currency: str
    plans: Sequence[dict[str, Any]]


def read_plans(path: Path) -> PlansFile:
    """The plans in the file at ``path``; PlansError when it holds none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        read = PlansFile(str(document["currency"]), list(document["plans"]))
        complete = all(name in plan for plan in read.plans for name in _NEEDED)
    except OSError as problem:
        raise PlansError("plans-unreadable", f"cannot read the plans: {problem}") from problem
    except (ValueError, LookupError, TypeError) as problem:
        raise _malformed(path) from problem
    if not complete:
        raise _malformed(path)
    return read


def _malformed(path: Path) -> PlansError:
    return PlansError("plans-malformed", f"{path} holds no plans: give contracts/plans.json")
