"""docs/security.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"
_NAMED = re.compile(r"`((?:store|vision|ops|sandbox|tests)/[\w/]+\.py)::(\w+)`")
_COLUMNS = ("held by", "tried by", "mended")
MOST_WAYS = 60


def path_of(name: str) -> Path:
    """``store/…`` is short for ``packages/store/tests/…``."""
    first, _, rest = name.partition("/")
    return ROOT / name if first == "tests" else ROOT / "packages" / first / "tests" / rest


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    if not path.exists():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


def missing(text: str) -> list[str]:
    """Names of tests that are none."""
    return [
        f"{name}::{test}"
        for name, test in _NAMED.findall(text)
        if not test.startswith("test_") or test not in names_in(path_of(name))
    ]


def unheld(text: str) -> Iterator[str]:
    """Rows of tables whose last column names tests and does not."""
    named = False
    for line in text.splitlines():
        if not line.startswith("|"):
            named = False
            continue
        cells = [one.strip() for one in line.strip("|").split("|")]
        if cells[-1] in _COLUMNS:
            named = True
        elif named and not line.startswith("|---") and not _NAMED.search(cells[-1]):
            yield line[:80]


@pytest.fixture(scope="module")
def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_every_test_that_the_page_names_is_there(text: str) -> None:
    assert missing(text) == []
    assert len(set(_NAMED.findall(text))) > MOST_WAYS


def test_every_claim_is_held_by_a_test(text: str) -> None:
    assert list(unheld(text)) == []
    for part in ("Report a vulnerability", "What is not protected", "Fuzzing", "Privacy"):
        assert f"\n## {part}\n" in text


def test_every_way_around_the_store_is_on_the_page(text: str) -> None:
    named = set(_NAMED.findall(text))
    for path in sorted((ROOT / "packages/store/tests").glob("test_bypass_*.py")):
        tests = {one for one in names_in(path) if one.startswith("test_")}
        assert {test for name, test in named if path_of(name) == path} == tests, path.name


def test_each_rule_can_fail() -> None:
    assert missing("`store/test_nothing.py::test_x` `tests/architecture/x.py::test_y`")
    assert missing("`tests/architecture/test_security_page.py::path_of`")
    assert missing("`tests/architecture/test_security_page.py::test_each_rule_can_fail`") == []
    table = "| a | held by |\n|---|---|\n| claim | nothing |\n"
    assert list(unheld(table)) == ["| claim | nothing |"]
    assert list(unheld(table.replace("nothing", "`tests/x.py::test_y`"))) == []
    assert list(unheld("| a | b |\n|---|---|\n| claim | nothing |\n")) == []


def test_whoever_looks_for_it_at_the_root_is_led_to_the_page() -> None:
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
