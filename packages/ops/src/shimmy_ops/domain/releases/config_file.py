"""The store's environment file as part of a release: names, plain values, secrets by reference."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from shimmy_ops.domain.credentials import looks_secret
from shimmy_ops.domain.secrets.detection import find_secrets
from shimmy_ops.errors import ReleaseError

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_REFERENCE = re.compile(r"\$\(keyring get [\w./-]+ [\w./-]+\)")
# Only an address without anybody's name is known to hold no password.
_MAIL = "SHIMMY_STORE_MAIL"
# Named a key, and nobody's secret: whoever has it can verify, and sign nothing.
_PUBLIC, _KEY = "SHIMMY_STORE_KEYGEN_PUBLIC_KEY", re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """``values`` are plain ones, or the command that asks the keyring."""

    values: Mapping[str, str]

    @property
    def mode(self) -> str:
        """What the store's /health then says; empty where the file does not tell."""
        return self.values.get("SHIMMY_STORE_MODE", "")

    def text(self) -> str:
        """Lines for a shell."""
        return "".join(f"export {name}={_quoted(value)}\n" for name, value in self.values.items())


def parse_config(text: str) -> ConfigFile:
    """Raises ReleaseError that names every line at fault, and repeats no value.

    Comments are left out: nobody looks for secrets in them.
    """
    values: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        problem = _read_line(line, values)
        if problem:
            problems.append(f"line {number}: {problem}")
    if not problems and not values:
        problems.append("it holds no variable")
    if problems:
        raise ReleaseError(
            "config-refused",
            "The environment file cannot be part of a release:\n  " + "\n  ".join(problems),
            hint="Put each secret into a file (0600) and name that with NAME_FILE; "
            "shimmy-ops provision --write-env does so.",
        )
    return ConfigFile(values)


def _read_line(line: str, values: dict[str, str]) -> str:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return "its quotes do not end"
    words = words[1:] if words[:1] == ["export"] else words
    if not words:
        return ""
    name, equals, value = words[0].partition("=")
    if len(words) > 1 or not equals or not _NAME.fullmatch(name):
        return "it is no NAME=value"
    if name in values:
        return f"{name} is there twice"
    if _REFERENCE.fullmatch(value):
        values[name] = value
        return ""
    if "$" in value or "`" in value:
        return f"{name} holds something that a shell would run"
    if _is_secret(name, value):
        return f"{name} holds a secret"
    values[name] = value
    return ""


def _is_secret(name: str, value: str) -> bool:
    if name.endswith("_FILE") or not value:
        return bool(find_secrets(value))
    if name == _MAIL and "@" in value:
        return True
    if name == _PUBLIC and _KEY.fullmatch(value):
        return False
    return looks_secret(name.lower(), value) or bool(find_secrets(value))


def _quoted(value: str) -> str:
    return f'"{value}"' if _REFERENCE.fullmatch(value) else shlex.quote(value)
