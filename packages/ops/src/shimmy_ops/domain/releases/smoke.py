"""Does what was put in place answer as it must?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

_OK = 200
HEALTH = "/health"


@dataclass(frozen=True, slots=True)
class Expected:
    """Empty: not asked.

    ``index``    SHA-256 of the site's first page, as its bytes are served
    ``started``  when the store began to serve before it was restarted: it must say another time
    """

    paths: tuple[str, ...]
    mode: str = ""
    store_version: str = ""
    index: str = ""
    started: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What came back; status 0 where nothing did."""

    status: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """``index``: the SHA-256 of the site's first page, empty where it was not asked or not got."""

    pages: Mapping[str, Page]
    index: str = ""
    started: str = ""


def judge_answers(expected: Expected, answers: Answers) -> list[str]:
    """What is wrong; empty where all is as it must be."""
    problems = []
    for path in expected.paths:
        page = answers.pages.get(path, Page(0))
        if page.status != _OK:
            said = f"answers {page.status}" if page.status else "does not answer"
            problems.append(f"{path} {said}{_failing(page)}")
        elif path == HEALTH:
            problems += _judge_health(expected, page)
    if expected.started and answers.started == expected.started:
        problems.append("the store was not restarted")
    if expected.index and answers.index != expected.index:
        said = "is another page" if answers.index else "does not answer"
        problems.append(f"the site's first page {said}")
    return problems


def _judge_health(expected: Expected, page: Page) -> list[str]:
    told = _document(page)
    problems = [] if told.get("status") == "ok" else [f"{HEALTH} says that something fails"]
    for name, wanted in (("mode", expected.mode), ("version", expected.store_version)):
        if wanted and name in told and told[name] != wanted:
            problems.append(f"{HEALTH} tells another {name}")
    return problems


def _failing(page: Page) -> str:
    """The names of the checks that fail: codes, no values."""
    checks = _document(page).get("checks")
    if not isinstance(checks, Mapping):
        return ""
    failing = sorted(f"{name}: {code}" for name, code in checks.items() if code != "ok")
    return f" ({', '.join(failing)})" if failing else ""


def _document(page: Page) -> Mapping[str, object]:
    try:
        told = json.loads(page.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
