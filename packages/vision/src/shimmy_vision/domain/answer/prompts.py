"""What the model is told, and how each MiniCPM-V version wants its turns marked.

Instructions stand before the image, so that their state can be kept and reused
for every image. Thinking is switched off: 4.5 can spend its whole budget on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

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


def compose_prompt(family: ModelFamily, instructions: str) -> Prompt:
    """The turn for one image under ``instructions``."""
    return Prompt(
        before_image=(
            Segment("<|im_start|>user\n", special=True),
            Segment(f"{instructions}\n", special=False),
        ),
        after_image=(
            Segment(f"<|im_end|>\n<|im_start|>assistant\n{_no_thinking(family)}", special=True),
        ),
    )


def _no_thinking(family: ModelFamily) -> str:
    match family:
        case "4.5" | "4.6":
            return "<think>\n\n</think>\n\n"
        case "2.6" | "4.0":
            return ""
        case _:
            assert_never(family)
