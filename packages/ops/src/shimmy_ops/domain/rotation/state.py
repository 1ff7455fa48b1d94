"""How far replacing a secret is: a file without any secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shimmy_ops.domain.rotation.sequence import STEPS, VARIABLES, Kind, Step
from shimmy_ops.errors import RotationError


@dataclass(frozen=True, slots=True)
class StepDone:
    """What a step found, in one sentence."""

    step: Step
    at: str
    said: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """``facts``: ids and times that later steps need; ``began`` tells it from others."""

    kind: Kind
    began: str
    done: tuple[StepDone, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def variable(self) -> str:
        """By which the store is told."""
        return VARIABLES[self.kind]

    @property
    def next_step(self) -> Step | None:
        """None where all are done."""
        steps = STEPS[self.kind]
        return steps[len(self.done)] if len(self.done) < len(steps) else None

    def noted(self, facts: Mapping[str, str]) -> Rotation:
        """With more facts."""
        return replace(self, facts={**self.facts, **facts})

    def after(self, step: Step, at: str, said: str) -> Rotation:
        """With a step done."""
        return replace(self, done=(*self.done, StepDone(step, at, said)))


@dataclass(frozen=True, slots=True)
class Done:
    """A step holds."""

    said: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step does not hold yet, and ``said`` is for what it waits, or who must do what."""

    said: str
    facts: Mapping[str, str] = field(default_factory=dict)


def encode_rotation(rotation: Rotation) -> str:
    """Its file's text."""
    done = [[one.step, one.at, one.said] for one in rotation.done]
    told = {
        "kind": rotation.kind,
        "began": rotation.began,
        "done": done,
        "facts": dict(rotation.facts),
    }
    return json.dumps(told, indent=2) + "\n"


def parse_rotation(text: str) -> Rotation:
    """Raises RotationError."""
    try:
        read = json.loads(text)
        kind: Kind = read["kind"]
        steps = STEPS[kind]
        done = tuple(StepDone(step, str(at), str(said)) for step, at, said in read["done"])
        if [one.step for one in done] != list(steps[: len(done)]):
            raise _damaged()
        facts = {str(name): str(value) for name, value in read["facts"].items()}
        return Rotation(kind, str(read["began"]), done, facts)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged() from error


def _damaged() -> RotationError:
    return RotationError(
        "rotation-state-damaged",
        "What is known of this rotation is damaged.",
        hint="Take rotations/ in the state folder from a backup, or finish by hand: "
        "docs/deploy.md has the steps.",
    )
