"""Which parameters Stripe knows for each operation, and their values as handlers want them.

``known_parameters.json`` has one operation a line. A value's kind is written ``s`` string, ``i``
integer, ``b`` boolean, ``n`` number, ``e:a|b`` one of, ``e?:a|b`` one of or empty, ``m`` metadata,
``c`` empty clears, ``x`` known to Stripe and not simulated, ``[kind]`` list, ``{"|": [kinds]}``
either; a name that ends in ``*`` is required.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from shimmy_sandbox.stripe_api.wire import RefusalError, invalid, missing, unsimulated

_LONGEST_TEXT = 5000
_MOST_METADATA = 50


@cache
def known_parameters() -> Mapping[str, Mapping[str, Any]]:
    """The kinds of every operation's parameters, by ``"METHOD path"`` without ``/v1/``."""
    text = files("shimmy_sandbox.stripe_api").joinpath("known_parameters.json").read_text("utf-8")
    known: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return known


def checked(operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with every value read as its kind; 400 for what Stripe or we do not know."""
    values = _object(known_parameters()[operation], given, "")
    if operation.startswith("GET"):
        for name, value in values.items():
            if value is None:
                raise _empty(name)
    return values


def _object(kinds: Mapping[str, Any], given: Mapping[str, Any], path: str) -> dict[str, Any]:
    required = {name[:-1] for name in kinds if name.endswith("*")}
    by_name = {name.removesuffix("*"): kind for name, kind in kinds.items()}
    unknown = [_below(path, name) for name in given if name not in by_name]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        message = f"Received unknown parameter{plural}: {', '.join(unknown)}"
        raise invalid(message, unknown[0], "parameter_unknown")
    for name in by_name:
        if name in required and given.get(name) in (None, ""):
            raise missing(_below(path, name))
    return {name: _value(by_name[name], value, _below(path, name)) for name, value in given.items()}


def _below(path: str, name: str | int) -> str:
    return f"{path}[{name}]" if path else str(name)


def _value(kind: Any, value: Any, path: str) -> Any:
    if isinstance(kind, str):
        return _leaf(kind, value, path)
    if isinstance(kind, list):
        if value == "":
            return []
        if not isinstance(value, list):
            raise invalid(f"Invalid array: {path}", path)
        if "" in value:
            raise _empty(_below(path, value.index("")))
        return [_value(kind[0], item, _below(path, place)) for place, item in enumerate(value)]
    if "|" in kind:
        return _either(kind["|"], value, path)
    if not isinstance(value, dict):
        if value == [] or value == "":
            return {}
        raise invalid(f"Invalid object: {path}", path)
    return _object(kind, value, path)


def _either(kinds: Sequence[Any], value: Any, path: str) -> Any:
    if "c" in kinds and value == "":
        return None
    refused: RefusalError | None = None
    for kind in kinds:
        if kind == "c":
            continue
        try:
            return _value(kind, value, path)
        except RefusalError as problem:
            # The last alternative of the value's own shape words the refusal best.
            if refused is None or isinstance(value, str) == isinstance(kind, str):
                refused = problem
    raise refused or invalid(f"Invalid {path}", path)


def _leaf(kind: str, value: Any, path: str) -> Any:
    if kind == "x":
        raise unsimulated(path)
    if kind == "m":
        return _metadata(value, path)
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {path} is not a single value", path)
    if value == "":
        if kind in ("s", "c") or kind.startswith("e?"):
            return None
        raise _empty(path)
    if kind.startswith("e"):
        return _choice(kind.partition(":")[2].split("|"), value, path)
    return _READERS[kind](value, path)


def _empty(path: str) -> RefusalError:
    message = f"You passed an empty string for '{path}', which cannot be unset"
    return invalid(message, path, "parameter_invalid_empty")


def _text(value: str, path: str) -> str:
    if len(value) > _LONGEST_TEXT or "\0" in value:
        raise invalid(f"Invalid string: {path} must be at most {_LONGEST_TEXT} characters", path)
    return value


def _integer(value: str, path: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", value):
        raise invalid(f"Invalid integer: {value}", path, "parameter_invalid_integer")
    return int(value)


def _boolean(value: str, path: str) -> bool:
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", path)
    return value == "true"


def _number(value: str, path: str) -> float:
    if not re.fullmatch(r"-?\d{1,15}(\.\d+)?", value):
        raise invalid(f"Invalid decimal: {value}", path)
    return float(value)


_READERS = {"s": _text, "i": _integer, "b": _boolean, "n": _number}


def _choice(choices: Sequence[str], value: str, path: str) -> str:
    if value not in choices:
        said = ", ".join(choices[:-1]) + f", or {choices[-1]}" if choices[1:] else choices[0]
        raise invalid(f"Invalid {path}: must be one of {said}", path)
    return value


def _metadata(value: Any, path: str) -> dict[str, str]:
    if value == "" or value == []:
        return {}
    if isinstance(value, list):
        value = {str(place): item for place, item in enumerate(value)}
    if not isinstance(value, dict):
        raise invalid(f"Invalid object: {path}", path)
    if len(value) > _MOST_METADATA:
        raise invalid(f"{path} may hold at most {_MOST_METADATA} keys", path)
    for key, item in value.items():
        if not isinstance(item, str):
            raise invalid(f"Metadata values must be strings: {_below(path, key)}", path)
        if len(key) > 40 or len(item) > 500:
            message = "Metadata keys have at most 40 characters and values at most 500"
            raise invalid(message, _below(path, key))
    return value


def merged_metadata(kept: Mapping[str, str], given: Mapping[str, str] | None) -> dict[str, str]:
    """``kept`` changed as Stripe does it: an empty value removes its key, None removes all."""
    if given is None:
        return {}
    return {key: value for key, value in {**kept, **given}.items() if value != ""}
