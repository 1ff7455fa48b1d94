"""Forward passes of an answer as a real model would write it, replayed through the grammar.

Random weights fill one long string, in which nothing is dictated. Here every free token is the one
that the vocabulary gives for a written answer about ``docs/samples/sign-in.png``, and every token
that the schema dictates is skipped, as ``generate_answer`` does it: one pass a free token.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from shimmy_vision.adapters.engine.llama_library import open_native_library
from shimmy_vision.adapters.engine.llama_model import LlamaWeights
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceCompiler
from shimmy_vision.domain.answer.answer_schemas import FULL_ANSWER
from shimmy_vision.settings import read_settings

_TEXTS = (
    "Acme Cloud", "Sign in", "Welcome back. Please enter your details.", "Email address",
    "you@example.com", "Password", "Remember me for 30 days", "Forgot password?", "Sign in",
    "Continue with Google", "Don't have an account? Sign up", "Privacy", "Terms", "Help",
)  # fmt: skip
_REGIONS = (
    ("Header", "A dark bar with the company's name at the left."),
    ("Sign-in form", "A white card in the middle with two fields and a button."),
    ("Footer", "Three links at the bottom of the page."),
)
_ELEMENTS = (
    ("Email address", "input"), ("Password", "input"), ("Remember me for 30 days", "checkbox"),
    ("Forgot password?", "link"), ("Sign in", "button"), ("Continue with Google", "button"),
    ("Sign up", "link"), ("Privacy", "link"), ("Terms", "link"), ("Help", "link"),
)  # fmt: skip
_SEEN = "A sign-in page: a white card on a light grey ground, with a blue button and dark text."
_USED = "The user enters an email address and a password and presses the blue button to sign in."


def written_answer() -> str:
    """Compact JSON under ``FULL_ANSWER``."""
    answer = {
        "text_blocks": [{"text": text} for text in _TEXTS],
        "layout": {
            "regions": [{"name": name, "description": told} for name, told in _REGIONS],
            "key_ui_elements": [{"name": name, "element_type": kind} for name, kind in _ELEMENTS],
        },
        "visual": {"description": _SEEN},
        "interaction": {"description": _USED},
    }
    return json.dumps(answer, separators=(",", ":"))


def replay(main: Path) -> dict[str, Any]:
    """Tokens and passes of the written answer with the vocabulary of the file ``main``."""
    answer = written_answer().encode()
    with ExitStack() as closing:
        library = open_native_library(read_settings().library_directory)
        weights = LlamaWeights(library, main, gpu_layers=0)
        closing.callback(weights.close)
        grammar = LlguidanceCompiler(weights).compile(FULL_ANSWER)
        at, chosen, forced_in_all = 0, 0, 0
        while not grammar.is_finished() and at < len(answer):
            forced = grammar.forced_tokens()
            written = b"".join(weights.pieces[token] for token in forced)
            if forced and answer.startswith(written, at):
                grammar.consume(forced)
                at, forced_in_all = at + len(written), forced_in_all + len(forced)
                continue
            token = _next(weights, answer[at:], grammar.allowed())
            grammar.consume([token])
            at, chosen = at + len(weights.pieces[token]), chosen + 1
    tokens = chosen + forced_in_all
    return {"generated": tokens, "forced": forced_in_all, "forward_passes": chosen}


def _next(weights: LlamaWeights, rest: bytes, allowed: Any) -> int:
    """The longest allowed token that ``rest`` begins with, as byte-pair merging mostly gives."""
    found = [
        token
        for token in np.flatnonzero(allowed).tolist()
        if rest.startswith(weights.pieces[token])
    ]
    found = [token for token in found if weights.pieces[token]]
    if not found:
        raise SystemExit(f"the grammar refuses what stands at: {rest[:40]!r}")
    return max(found, key=lambda token: len(weights.pieces[token]))
