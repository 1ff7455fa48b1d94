"""Ask the store until it answers as it must, or the patience is over."""

from __future__ import annotations

from shimmy_ops.domain.releases.smoke import Expected, judge_answers
from shimmy_ops.use_cases.put_in_place import Yard


def await_store(yard: Yard, started: str) -> str:
    """What is wrong; empty where nothing is. It must have begun since ``started``."""
    expected = Expected(yard.paths, yard.mode, started=started)
    yard.witness.begin()
    while True:
        answers = yard.witness.answers(expected.paths, site=False, started=bool(started))
        problems = judge_answers(expected, answers)
        if not problems or not yard.witness.pause():
            return "; ".join(problems)
