"""What cannot be taken back is agreed to by typing a word."""

from __future__ import annotations

import sys


def typed(word: str, question: str = "") -> bool:
    """Ask on stderr; whether this very word was typed. The caller raises its own error."""
    asked = f"{question} " if question else ""
    print(f"{asked}Type {word} to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == word
