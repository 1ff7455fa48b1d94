"""What the model is told, and how each MiniCPM-V version wants its turns marked.

The image stands before our own instructions, as MiniCPM-V's authors write their examples, and what
the model holds after it can be kept: another question about the same image then reads the question
alone. A caller's conversation stands as it came. Thinking is switched off: 4.5 can spend its whole
budget on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from shimmy_vision.domain.answer.analysis_request import ChatTurn, Role
from shimmy_vision.domain.model.model_family import ModelFamily


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of prompt; only ``special`` pieces may contain control tokens.

    The caller's own words are never special, so a prompt cannot end its turn.
    """

    text: str
    special: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """Segments before and after the image."""

    before_image: tuple[Segment, ...]
    after_image: tuple[Segment, ...]


FULL = (
    "Analyse this screenshot or image. Copy every visible text exactly, in reading order, one "
    "block per line or label. Name the main regions and the interface elements a user can act "
    "on. Describe what is shown and how a user would interact with it. Answer in JSON."
)
TEXT = (
    "Copy every visible text in this image exactly as written, in reading order, one block per "
    "line or label. Do not translate, correct or add anything. Answer in JSON."
)
SCENE = (
    "Analyse this screenshot or image. Name its main regions and the interface elements a user "
    "can act on. Describe what is shown and how a user would interact with it. Answer in JSON."
)
LAYOUT = (
    "Name the main regions of this screenshot or image and the interface elements a user can "
    "act on, from top to bottom. Answer in JSON."
)
BRIEF = "Describe this image in two or three sentences. Answer in JSON."
FILL_SCHEMA = "Fill in the requested fields from what is visible in this image. Answer in JSON."


_END = "<|im_end|>\n"


def instruct(instructions: str) -> tuple[ChatTurn, ...]:
    """A conversation of one turn: the image, then ``instructions``."""
    return (ChatTurn("user", "", instructions),)


def compose_prompt(family: ModelFamily, turns: Sequence[ChatTurn]) -> Prompt:
    """``turns``, one of which has the image, up to where the model's reply begins.

    Text and image of a turn stand on lines of their own, as the model's authors join them.
    """
    at = next(number for number, turn in enumerate(turns) if turn.after_image is not None)
    seen = turns[at]
    asked = f"\n{seen.after_image}" if seen.after_image else ""
    reply = Segment(f"{_END}{_start('assistant')}{_no_thinking(family)}", special=True)
    return Prompt(
        before_image=(
            *_said(turns[:at]),
            Segment(_start(seen.role), special=True),
            *_own(f"{seen.text}\n" if seen.text else ""),
        ),
        after_image=(*_own(asked), *_following(turns[at + 1 :]), reply),
    )


def _said(turns: Sequence[ChatTurn]) -> Iterator[Segment]:
    for turn in turns:
        yield Segment(_start(turn.role), special=True)
        yield from _own(turn.text)
        yield Segment(_END, special=True)


def _following(turns: Sequence[ChatTurn]) -> Iterator[Segment]:
    """Each ends the turn before it; the last is ended where the reply begins."""
    for turn in turns:
        yield Segment(f"{_END}{_start(turn.role)}", special=True)
        yield from _own(turn.text)


def _start(role: Role) -> str:
    return f"<|im_start|>{role}\n"


def _own(text: str) -> Iterator[Segment]:
    """The caller's words, or nothing."""
    if text:
        yield Segment(text, special=False)


def _no_thinking(family: ModelFamily) -> str:
    match family:
        case "4.5" | "4.6":
            return "<think>\n\n</think>\n\n"
        case "2.6" | "4.0":
            return ""
        case _:
            assert_never(family)
