"""A tree of commands as completion scripts of three shells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from shimmy_vision.cli.command_tree import Node, Option

_BASH = """\
# Completion of shimmy for bash. Made by: shimmy completion bash
_shimmy() {{
    local current previous words path word options
    current="${{COMP_WORDS[COMP_CWORD]}}"
    previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    path=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$path $word" in
{paths}
        esac
    done
    words="" options=""
    case "$path" in
{nodes}
    esac
    case "$path $previous" in
{values}
    esac
    case "$current" in
        -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    esac
    [ "${{#COMPREPLY[@]}}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _shimmy shimmy
"""


def bash_script(nodes: Sequence[Node]) -> str:
    """For bash 3.2 and newer."""
    paths = [
        f'            "{_above(one)} {one.path[-1]}") path="{_key(one)}" ;;' for one in nodes[1:]
    ]
    listed = [
        f'        "{_key(one)}") words="{" ".join(one.words)}"\n'
        f'            options="{" ".join(_names(one.options))}" ;;'
        for one in nodes
    ]
    values = [
        f"        {_alternatives(one, option)})\n"
        f'            COMPREPLY=($(compgen {_taken(option)} -- "$current")); return ;;'
        for one in nodes
        for option in one.options
        if option.takes
    ]
    return _BASH.format(paths="\n".join(paths), nodes="\n".join(listed), values="\n".join(values))


def zsh_script(nodes: Sequence[Node]) -> str:
    """For zsh: one function a command, which ``_arguments`` is told of."""
    functions = [_zsh_function(one, nodes) for one in nodes]
    return (
        "#compdef shimmy\n# Made by: shimmy completion zsh\n"
        + "".join(functions)
        + (
            'if [ "$funcstack[1]" = "_shimmy" ]; then\n    _shimmy "$@"\nelse\n'
            "    compdef _shimmy shimmy\nfi\n"
        )
    )


def _zsh_function(node: Node, nodes: Sequence[Node]) -> str:
    below = [one for one in nodes if one.path[:-1] == node.path and one.path]
    specs = [_zsh_option(option) for option in node.options]
    name = _function(node)
    if not below:
        rest = f"'*:word:({' '.join(node.words)})'" if node.words else "'*:file:_files'"
        return f"{name}() {{\n    _arguments -S {' '.join([*specs, rest])}\n}}\n"
    listed = " ".join(f"{_quoted(f'{one.path[-1]}:{_plain(one.summary)}')}" for one in below)
    cases = "\n".join(f"            {one.path[-1]}) {_function(one)} ;;" for one in below)
    return (
        f"{name}() {{\n"
        "    local state line\n"
        "    typeset -A opt_args\n"
        f"    _arguments -C {' '.join(specs)} '1:command:->command' '*::argument:->rest'\n"
        '    case "$state" in\n'
        f"        command) local -a commands=({listed}); _describe command commands ;;\n"
        '        rest) case "$line[1]" in\n'
        f"{cases}\n"
        "        esac ;;\n"
        "    esac\n"
        "}\n"
    )


def _zsh_option(option: Option) -> str:
    said = re.sub(r"[\[\]:]", " ", _plain(option.summary))
    value = ""
    if option.takes:
        value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
    return " ".join(_quoted(f"{name}[{said}]{value}") for name in option.names)


def fish_script(nodes: Sequence[Node]) -> str:
    """For fish 3 and newer."""
    lines = ["# Completion of shimmy for fish. Made by: shimmy completion fish"]
    for node in nodes:
        below = [one for one in nodes if one.path[:-1] == node.path and one.path]
        when = _fish_condition(node, [one.path[-1] for one in below])
        lines += [
            f"complete -c shimmy -n {_quoted(when)} -f -a {one.path[-1]}"
            f" -d {_quoted(_plain(one.summary))}"
            for one in below
        ]
        words = [word for word in node.words if word not in {one.path[-1] for one in below}]
        if words:
            lines.append(f"complete -c shimmy -n {_quoted(when)} -f -a {_quoted(' '.join(words))}")
        lines += [f"complete -c shimmy -n {_quoted(when)} {_fish_option(o)}" for o in node.options]
    return "\n".join(lines) + "\n"


def _fish_condition(node: Node, below: Iterable[str]) -> str:
    if not node.path:
        return "__fish_use_subcommand"
    said = [f"__fish_seen_subcommand_from {word}" for word in node.path]
    names = " ".join(below)
    return "; and ".join([*said, *([f"not __fish_seen_subcommand_from {names}"] if names else [])])


def _fish_option(option: Option) -> str:
    names = [f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in option.names]
    value = ["-r"] if option.takes else []
    if option.choices:
        value = ["-x", "-a", _quoted(" ".join(option.choices))]
    said = ["-d", _quoted(_plain(option.summary))] if option.summary else []
    return " ".join([*names, *value, *said])


def _above(node: Node) -> str:
    return " ".join(node.path[:-1])


def _key(node: Node) -> str:
    return " ".join(node.path)


def _function(node: Node) -> str:
    return "_".join(["_shimmy", *(word.replace("-", "_") for word in node.path)])


def _names(options: Iterable[Option]) -> list[str]:
    return [name for one in options for name in one.names]


def _alternatives(node: Node, option: Option) -> str:
    return "|".join(f'"{_key(node)} {name}"' for name in option.names)


def _taken(option: Option) -> str:
    return f'-W "{" ".join(option.choices)}"' if option.choices else "-f"


def _plain(text: str) -> str:
    """Without what a shell would do something about."""
    return re.sub(r"[`$\"\\]", "", text)


def _quoted(text: str) -> str:
    """As one word, to all three shells."""
    return "'" + text.replace("'", r"'\''") + "'"
