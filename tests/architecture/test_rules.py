"""The house rules that no linter knows, each proved able to fail."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))
BANNED = {"utils", "util", "common", "core", "helpers", "helper", "services", "service", "manager"}
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def environment_reads(tree: ast.Module) -> list[int]:
    """Lines that read the process environment."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv", "environb")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]


def constructed(tree: ast.Module) -> list[str]:
    """Classes imported from an adapters package and called here."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and ".adapters" in node.module
        for alias in node.names
        if alias.name[0].isupper()
    }
    return [
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in imported
    ]


def public_functions(tree: ast.Module) -> list[str]:
    """Module-level functions without a leading underscore."""
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
    ]


def long_functions(tree: ast.Module) -> list[str]:
    """Functions over the limit."""
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION
    ]


def error_codes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(class, literal code) of every error built here."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        first = node.args[0]
        ours = node.func.id.endswith("Error") and not hasattr(builtins, node.func.id)
        if ours and isinstance(first, ast.Constant):
            yield node.func.id, str(first.value)


def undocumented(tree: ast.Module) -> list[str]:
    """Public modules, classes and functions without a docstring; ports' ``...`` bodies too."""
    names = [] if ast.get_docstring(tree) else ["module"]
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            names.append(node.name)
    return names


def unfinished(text: str) -> list[str]:
    """Leftovers that a finished program does not have."""
    return re.findall(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b", text)


def machine_places(text: str) -> list[str]:
    """Paths of one machine, and registries' hosts."""
    hosts = r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|deb\.debian\.org"
    return re.findall(rf"(?<![\w.])/(?:work|root|home/\w+)/\w+|{hosts}", text)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "packages")))
def test_sources_keep_the_rules(path: Path) -> None:
    tree, text = _tree(path), path.read_text(encoding="utf-8")
    assert path.stem not in BANNED
    assert text.count("\n") <= LONGEST_MODULE
    assert not long_functions(tree)
    assert not unfinished(text)
    if path.name != "settings.py":
        assert not environment_reads(tree)
    if path.name != "wiring.py" and "adapters" not in path.parts:
        assert not constructed(tree)
    if path.name != "llama_bindings.py":
        assert not undocumented(tree)


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p.parent.name == "use_cases" and p.stem != "__init__"],
    ids=lambda p: p.stem,
)
def test_use_cases_are_one_function_of_their_modules_name(path: Path) -> None:
    assert public_functions(_tree(path)) == [path.stem]


def test_error_codes_are_kebab_case_and_belong_to_one_class() -> None:
    classes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in SOURCES:
        package = path.relative_to(ROOT / "packages").parts[0]
        for kind, code in error_codes(_tree(path)):
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code), f"{path.name}: {code!r}"
            classes[package, code].add(kind)
    shared = {code: kinds for code, kinds in classes.items() if len(kinds) > 1}
    assert not shared


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = {}
    for path in _tracked():
        if path.suffix in (".png", ".gguf") or path == Path(__file__):
            continue
        places = machine_places(path.read_text(encoding="utf-8", errors="replace"))
        if places:
            found[str(path.relative_to(ROOT))] = places
    assert not found


def test_docs_and_readme_exist_and_link_to_what_exists() -> None:
    for path in [p for p in _tracked() if p.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_each_rule_can_fail() -> None:
    assert environment_reads(ast.parse("import os\nx = os.environ['A']"))
    assert constructed(ast.parse("from a.adapters.b import Thing\nThing()"))
    assert public_functions(ast.parse("def a(): ...\ndef _b(): ...\ndef c(): ...")) == ["a", "c"]
    assert long_functions(ast.parse("def a():\n" + "    pass\n" * LONGEST_FUNCTION))
    assert list(error_codes(ast.parse("ImageError('Bad Code', 'x')"))) == [
        ("ImageError", "Bad Code")
    ]
    assert undocumented(ast.parse("def a(): ...")) == ["module", "a"]
    assert unfinished("# " + "TO" + "DO: later")
    assert machine_places("see /wor" + "k/main and pyp" + "i.org") != []
