"""JSON from outside, read without trusting how deep it goes.

On Pyodide the parser's recursion ends in the engine's own stack and takes the whole interpreter
with it, where elsewhere it ends in an exception.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Nothing that is sent to us goes deeper than about ten.
DEEPEST = 100
# A bracket, or a whole string with whatever brackets it has in it.
_SIGNS = re.compile(r'[\[{\]}]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def parse_json(text: str) -> Any:
    """What it says. Raises ValueError for what is no JSON, and for what is nested too deep."""
    if text.count("[") + text.count("{") > DEEPEST:
        _check_depth(text)
    return json.loads(text)


def _check_depth(text: str) -> None:
    depth = 0
    for found in _SIGNS.finditer(text):
        sign = found[0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        if depth > DEEPEST:
            raise ValueError("nested too deep")
