"""Where something found is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shimmy_ops.domain.steps import Change


def drift(found: Any, wanted: Any, path: str = "") -> tuple[Change, ...]:
    """Each setting of ``wanted`` that ``found`` has otherwise or not at all.

    What ``wanted`` does not name is not looked at; the order of a list says nothing.
    """
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return tuple(
            change
            for name, below in wanted.items()
            for change in drift(found.get(name), below, f"{path}.{name}" if path else name)
        )
    shown = _narrowed(found, wanted)
    # As text: Python takes 1 and true for the same.
    if _written(_sorted(shown)) == _written(_sorted(wanted)):
        return ()
    return (Change(path, shown, wanted),)


def _narrowed(found: Any, wanted: Any) -> Any:
    """A list of objects without what none of those in ``wanted`` says."""
    if not isinstance(found, list) or not isinstance(wanted, list):
        return found
    known = {name for one in wanted if isinstance(one, Mapping) for name in one}
    return [
        {name: below for name, below in one.items() if name in known}
        if isinstance(one, Mapping)
        else one
        for one in found
    ]


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sorted(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return sorted((_sorted(one) for one in value), key=_written)
    return value


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)
