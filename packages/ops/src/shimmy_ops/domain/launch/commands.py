"""Placeholders of the plan's commands, and what makes a task another task."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from shimmy_ops.domain.credentials import looks_secret
from shimmy_ops.domain.launch.plan import Command, LaunchPlan, Task
from shimmy_ops.errors import LaunchError

PROFILED = ("profile", "state", "site_folder", "store_url", "site_url")
PLACES = (*PROFILED, "config", "root", "evidence", "python", "stamp", "set")
"""What a command may name besides the plan's variables.

``{stamp}`` is the time; ``{set}`` alone stands for all words that give a command of ours the same
plan and variables.
"""

_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_SET = "{set}"


def places_in(command: Command) -> set[str]:
    """The names between braces."""
    return {name for word in command for name in _PLACE.findall(word)}


def fill_command(command: Command, places: Mapping[str, str], given: Sequence[str]) -> list[str]:
    """The words as they are run; ``given`` is what ``{set}`` stands for.

    Raises LaunchError for a place that nothing is known of, and for what looks secret.
    """
    words = list[str]()
    for word in command:
        if word == _SET:
            words += given
        else:
            words.append(_PLACE.sub(lambda found: _filled(found[1], places), word))
    check_words(words)
    return words


def _filled(name: str, places: Mapping[str, str]) -> str:
    value = places.get(name, "")
    if not value:
        raise LaunchError(
            "launch-place-empty",
            f"A command of the plan needs {{{name}}}, and nothing says what that is.",
            hint=f"Set {name} in the task's profile, or give the variable with --set {name}=…",
        )
    return value


def check_words(words: Iterable[str]) -> None:
    """Raises LaunchError where a word is, or may be, secret: the record is for many eyes."""
    for word in words:
        name, _, value = word.partition("=")
        setting = name.lstrip("-").replace("-", "_") if name.startswith("-") else ""
        if looks_secret(setting, value) or looks_secret("", word):
            raise LaunchError(
                "secret-in-record",
                "Something that is, or looks like, a secret would stand in the record. "
                "Nothing was run or recorded.",
                hint="Give secrets by environment, file or keyring, never as words of a command.",
            )


def task_digest(task: Task, plan: LaunchPlan) -> str:
    """SHA-256 of all that says what a task's evidence proves; titles and days may change."""
    used = places_in(task.verify) | places_in(task.rehearse)
    proved = {
        "id": task.id,
        "profile": task.profile,
        "verify": task.verify,
        "rehearse": task.rehearse,
        "ask": task.ask,
        "variables": {
            name: value
            for name, value in plan.variables.items()
            if name in used and name not in plan.personal
        },
    }
    return hashlib.sha256(canonical(proved)).hexdigest()


def canonical(value: object) -> bytes:
    """The one way to write a value as JSON: sorted, no blanks, UTF-8."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return written.encode()
