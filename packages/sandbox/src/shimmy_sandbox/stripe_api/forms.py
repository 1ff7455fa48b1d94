"""Stripe's bracketed forms: ``items[0][price]=p`` and ``expand[]=x`` become nested values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from shimmy_sandbox.stripe_api.wire import invalid

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_DEEPEST = 12


def parse_form(text: str) -> dict[str, Any]:
    """The nested value of a form or query; 400 for brackets that make no sense.

    Every leaf is a string. An object whose keys are 0, 1, 2, … in any order, or empty
    brackets, is a list.
    """
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="strict"):
        _put(root, _steps(name), value, name)
    return {key: _listed(value) for key, value in root.items()}


def _steps(name: str) -> list[str]:
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise invalid(f"Invalid parameter name: {name}", name)
    head, brackets = matched.groups()
    steps = [head, *re.findall(r"\[([^\[\]]*)\]", brackets)]
    if len(steps) > _DEEPEST:
        raise invalid(f"Parameter nested too deeply: {name}", name)
    return steps


def _put(root: dict[str, Any], steps: Iterable[str], value: str, name: str) -> None:
    holder, *rest = root, *steps
    for place, step in enumerate(rest):
        key = str(len(holder)) if step == "" else step
        if place == len(rest) - 1:
            if isinstance(holder.get(key), dict):
                raise invalid(f"Invalid parameter: {name} is both a value and an object", name)
            holder[key] = value
            return
        below = holder.setdefault(key, {})
        if not isinstance(below, dict):
            raise invalid(f"Invalid parameter: {name} is both a value and an object", name)
        holder = below


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(below) for key, below in value.items()}
    if inner and set(inner) == {str(place) for place in range(len(inner))}:
        return [inner[str(place)] for place in range(len(inner))]
    return inner


def form_pairs(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """The pairs that ``parse_form`` reads back as ``value``."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in entries:
            yield from form_pairs(below, f"{name}[{key}]" if name else str(key))
    else:
        yield name, value
