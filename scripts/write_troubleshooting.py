"""Writes ``docs/troubleshooting.md`` out of the code: every error code with cause and remedy.

    write_troubleshooting.py [--check]

Reads each place in ``packages/vision`` that makes an error of the tree in ``errors.py``, or a
refusal of the licence, with a literal code; message and hint become cause and remedy. What they do
not say stands in ``troubleshooting.toml``. Fails where a code has no remedy, or the table one that
no code has any more; with ``--check`` also where the page is not what would be written.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "packages/vision/src/shimmy_vision"
PAGE = ROOT / "docs/troubleshooting.md"
TABLE = Path(__file__).with_name("troubleshooting.toml")

_CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+|usage|interrupted|deadline")
_REFUSAL = "Refused"
# Class of the tree: under which heading, and with which exit code.
_HEADINGS = {
    "LibraryError": "Native library (exit code 3)",
    "ModelError": "Models (exit code 3)",
    "DownloadError": "Models (exit code 3)",
    "LicenceError": "Licence (exit code 2)",
    "LicenceServerError": "Licence (exit code 2)",
    "LicenceStateError": "Licence (exit code 2)",
    _REFUSAL: "Licence (exit code 2)",
    "ImageError": "Images, documents and web pages (exit code 1)",
    "SchemaError": "Schemas (exit code 64)",
    "UsageError": "Commands and requests (exit code 64)",
    "BusyError": "Server (exit code 1)",
    "OutputError": "Output (exit code 4)",
    "StoppedError": "Stopped (exit codes 130 and 5)",
    "DeadlineError": "Stopped (exit codes 130 and 5)",
}
_INTRO = """\
# Troubleshooting

Every error has a code in square brackets, which never changes its meaning. This page is written by
`scripts/write_troubleshooting.py` out of the code and `scripts/troubleshooting.toml`; do not edit
it. `…` stands for what only the moment knows. Look first at `shimmy doctor`, then at
`shimmy self-check`.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One place that makes an error: its code, class, and what it says."""

    code: str
    kind: str
    message: str
    hint: str


def find_told(path: Path) -> Iterator[Told]:
    """Every error and refusal with a literal code that the module makes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            kind = ast.unparse(node.func).rpartition(".")[2]
            # Addresses are refused too, in words that become part of an error.
            if kind in _HEADINGS and (kind != _REFUSAL or "licence" in path.parts):
                yield from _of_call(kind, node, constants)
        elif isinstance(node, ast.Tuple) and path.name == "refusals.py":
            yield from _of_table(node, constants)


def _of_call(kind: str, call: ast.Call, constants: dict[str, ast.expr]) -> Iterator[Told]:
    named = {word.arg: word.value for word in call.keywords if word.arg}
    given = dict(zip(("code", "message", "hint"), call.args, strict=False)) | {
        {"reason": "message", "remedy": "hint"}.get(name, name): value
        for name, value in named.items()
    }
    code = given.get("code")
    for one in (code.body, code.orelse) if isinstance(code, ast.IfExp) else (code,):
        if isinstance(one, ast.Constant):
            said = (_text(given.get(name), constants) for name in ("message", "hint"))
            yield Told(str(one.value), kind, *said)


def _of_table(node: ast.Tuple, constants: dict[str, ast.expr]) -> Iterator[Told]:
    """Keygen's verdicts in our words: code, reason, remedy."""
    words = [one.value for one in node.elts if isinstance(one, ast.Constant)]
    if len(node.elts) == 3 and words and _CODE.fullmatch(str(words[0])):
        yield Told(str(words[0]), _REFUSAL, *(_text(one, constants) for one in node.elts[1:]))


def _text(node: ast.expr | None, constants: dict[str, ast.expr]) -> str:
    """What an expression certainly says; the rest is an ellipsis."""
    match node:
        case None:
            return ""
        case ast.Constant(value=str(said)):
            return re.sub(r"\{\w+\}", "…", said)
        case ast.JoinedStr(values=values):
            return "".join(_text(one, constants) for one in values)
        case ast.FormattedValue(value=value):
            return _text(value, constants)
        case ast.BinOp(left=left, right=right):
            return _text(left, constants) + _text(right, constants)
        case ast.Name(id=name) if name in constants:
            return _text(constants[name], {})
        case ast.IfExp(body=body, orelse=orelse):
            first, second = _text(body, constants), _text(orelse, constants)
            return first if first == second or not second else f"{first} Or: {second}"
        case _:
            return "…"


def read_told(sources: Path = SOURCES) -> dict[str, list[Told]]:
    """By code, in the order of their texts."""
    found: dict[str, list[Told]] = {}
    for path in sorted(sources.rglob("*.py")):
        for told in find_told(path):
            if told not in found.setdefault(told.code, []):
                found[told.code].append(told)
    return found


def render(told: dict[str, list[Told]], table: dict[str, dict[str, str]]) -> str:
    """The page. Raises ValueError where a code has no remedy, or the table an old code."""
    old = sorted(code for code, row in table.items() if code not in told and "kind" not in row)
    if old:
        raise ValueError(f"troubleshooting.toml explains what no code has: {', '.join(old)}")
    rows: dict[str, list[tuple[str, str, str]]] = {heading: [] for heading in _HEADINGS.values()}
    for code, places in told.items():
        rows[_HEADINGS[places[0].kind]].append(_row(code, places, table.get(code, {})))
    for code, row in table.items():
        if "kind" in row:
            rows[_HEADINGS[row["kind"]]].append(_row(code, [], row))
    without = sorted(code for part in rows.values() for code, cause, remedy in part
                     if not (cause and remedy))  # fmt: skip
    if without:
        raise ValueError(f"troubleshooting.toml has to explain: {', '.join(without)}")
    parts = [_INTRO]
    for heading, listed in rows.items():
        lines = [f"| `{code}` | {cause} | {remedy} |" for code, cause, remedy in sorted(listed)]
        head = f"## {heading}\n\n| code | what happened | what to do |\n|---|---|---|\n"
        if lines:
            parts.append(head + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _row(code: str, places: list[Told], row: dict[str, str]) -> tuple[str, str, str]:
    causes = [row["cause"]] if "cause" in row else _distinct(one.message for one in places)
    hints = [row["remedy"]] if "remedy" in row else _distinct(one.hint for one in places)
    return code, " · ".join(map(_cell, causes)), " · ".join(map(_cell, hints))


def _distinct(texts: Iterator[str]) -> list[str]:
    kept: list[str] = []
    for text in texts:
        if text and text.strip("…. ") and text not in kept:
            kept.append(text)
    return kept


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def main() -> int:
    """1 where the page is not, or cannot be, what the code says."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    try:
        page = render(read_told(), table)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if "--check" in sys.argv[1:]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print("docs/troubleshooting.md is old: scripts/write_troubleshooting.py", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
