"""The house rules that no linter knows, each proved able to fail."""

from __future__ import annotations

import ast
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
    """Lines that read the process environment, under whatever name."""
    readers = {"environ", "environb", "getenv", "getenvb"}
    called_os = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "os"
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Attribute)
            and node.attr in readers
            and isinstance(node.value, ast.Name)
            and node.value.id in called_os
        )
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and any(alias.name in readers for alias in node.names)
        )
    ]


def constructed(tree: ast.Module) -> list[str]:
    """Classes of an adapters package called here, by their own name or through their module."""
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if "adapters" in f"{getattr(node, 'module', '') or ''}.{alias.name}".split(".")
    }
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = (ast.unparse(called).split(".") for called in calls)
    return [name[-1] for name in names if name[0] in imported and name[-1][:1].isupper()]


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


def error_classes(tree: ast.Module) -> set[str]:
    """Error classes defined here."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }


def error_codes(tree: ast.Module, classes: set[str]) -> Iterator[tuple[str, str | None]]:
    """(class, code) of every error of ``classes`` built here; no literal code is None."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        kind = ast.unparse(node.func).rpartition(".")[2]
        if kind not in classes:
            continue
        named = [word.value for word in node.keywords if word.arg == "code"]
        for code in [*named, *node.args][:1]:
            for choice in (code.body, code.orelse) if isinstance(code, ast.IfExp) else (code,):
                yield kind, str(choice.value) if isinstance(choice, ast.Constant) else None


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
    wires = path.name == "wiring.py" or path.parent.name == "wiring"
    if not wires and "adapters" not in path.parts:
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


# What `decide_access` and `judge_own` decide carries its literal code; it is only passed on.
PASSED_ON = {("refuse_access.py", "LicenceError"), ("private_folder.py", "UntrustedFolderError")}


def test_error_codes_are_kebab_case_and_belong_to_one_class() -> None:
    trees = {path: _tree(path) for path in SOURCES}
    known = {name for tree in trees.values() for name in error_classes(tree)}
    classes: dict[tuple[str, str], set[str]] = defaultdict(set)
    not_literal = []
    for path, tree in trees.items():
        package = path.relative_to(ROOT / "packages").parts[0]
        for kind, code in error_codes(tree, known):
            if code is None:
                not_literal.append((path.name, kind))
                continue
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code), f"{path.name}: {code!r}"
            classes[package, code].add(kind)
    assert set(not_literal) == PASSED_ON
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
    for code in (
        "import os\nx = os.environ['A']",
        "import os as o\nx = o.getenv('A')",
        "from os import environ",
        "from os import getenv as g",
    ):
        assert environment_reads(ast.parse(code)), code
    for code in (
        "from a.adapters.b import Thing\nThing()",
        "from a.adapters.b import Thing as T\nT()",
        "from a.adapters import b\nb.Thing()",
        "import a.adapters.b\na.adapters.b.Thing()",
        "import a.adapters.b as m\nm.Thing()",
    ):
        assert constructed(ast.parse(code)), code
    assert public_functions(ast.parse("def a(): ...\ndef _b(): ...\ndef c(): ...")) == ["a", "c"]
    assert long_functions(ast.parse("def a():\n" + "    pass\n" * LONGEST_FUNCTION))
    for code, found in (
        ("ImageError('Bad Code', 'x')", ["Bad Code"]),
        ("errors.ImageError('Bad Code', 'x')", ["Bad Code"]),
        ("ImageError(code='Bad Code', message='x')", ["Bad Code"]),
        ("ImageError('a' if b else 'C', 'x')", ["a", "C"]),
        ("ImageError(code, 'x')", [None]),
        ("OtherError('Bad Code')", []),
    ):
        assert [c for _, c in error_codes(ast.parse(code), {"ImageError"})] == found, code
    assert undocumented(ast.parse("def a(): ...")) == ["module", "a"]
    assert unfinished("# " + "TO" + "DO: later")
    assert machine_places("see /wor" + "k/main and pyp" + "i.org") != []
