"""The launch plan: phases, tasks in their order, and what each task waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias, get_args

from shimmy_ops.errors import LaunchError

TaskProfile: TypeAlias = Literal["none", "test", "live"]
TASK_PROFILES: tuple[TaskProfile, ...] = get_args(TaskProfile)
Command: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do before the launch, and what proves it.

    ``do``            what a person does, or the command that does it, in words
    ``act``           a command that does it; run only where somebody asks for that
    ``verify``        the command whose exit code 0 proves it; empty where a person attests it
    ``ask``           the question that a person answers; empty where a command verifies it
    ``profile``       which profile ``{profile}`` stands for; in a rehearsal all are ``sandbox``
    ``rehearse``      what a rehearsal runs instead of ``verify``, and ``rehearse_why``; it then
                      does ``rehearse_act``, or nothing, instead of ``act``
    ``after``         ids of the tasks that must hold before
    ``days``          working days of work, for the timeline
    ``valid_hours``   evidence that is older proves nothing any more; None: it never ages
    ``wait_hours``    evidence made sooner after all in ``after`` held proves nothing; None: none is
    ``this_revision`` evidence of other sources than those that lie here proves nothing
    ``criteria``      ids of the success criteria that read this task's output
    """

    id: str
    phase: int
    title: str
    why: str
    do: str
    act: Command = ()
    verify: Command = ()
    ask: str = ""
    profile: TaskProfile = "none"
    rehearse: Command = ()
    rehearse_why: str = ""
    rehearse_act: Command = ()
    after: tuple[str, ...] = ()
    days: float = 0.0
    owner: str = ""
    valid_hours: float | None = None
    wait_hours: float | None = None
    this_revision: bool = False
    criteria: tuple[str, ...] = ()
    timeout_seconds: float = 600.0

    @property
    def attested(self) -> bool:
        """Whether only a person can say that it holds."""
        return bool(self.ask)

    def proof(self, *, rehearsal: bool) -> Command:
        """The command that verifies it."""
        return self.rehearse if rehearsal and self.rehearse else self.verify

    def deed(self, *, rehearsal: bool) -> Command:
        """The command that does it, before it is verified; empty where there is none."""
        return self.rehearse_act if rehearsal and self.rehearse else self.act


@dataclass(frozen=True, slots=True)
class Bound:
    """What a criterion asks for; ``limits`` are figures by name, as the plan states them."""

    id: str
    title: str
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """``tasks`` in the order in which they run: each comes after all that it waits for.

    ``personal`` are variables that the plan leaves empty: only whoever runs it knows their values.
    """

    title: str
    phases: Mapping[int, str]
    variables: Mapping[str, str]
    bounds: tuple[Bound, ...]
    tasks: tuple[Task, ...]
    personal: frozenset[str] = frozenset()

    def find(self, name: str) -> Task | None:
        """The task of this id."""
        return next((one for one in self.tasks if one.id == name), None)

    def need(self, name: str) -> Task:
        """The task of this id. Raises LaunchError where there is none."""
        found = self.find(name)
        if found is None:
            near = get_close_matches(name, [one.id for one in self.tasks], n=3)
            raise LaunchError(
                "task-unknown",
                f"The plan has no task {name}.",
                hint=f"Near it: {', '.join(near)}."
                if near
                else "shimmy-ops launch status has all.",
            )
        return found

    def before(self, task: Task) -> tuple[str, ...]:
        """Ids of all that must hold first: earlier phases, ``after``, and what that waits for."""
        needed = {one.id for one in self.tasks if one.phase < task.phase}
        found = {one.id: one for one in self.tasks}
        left = list(task.after)
        while left:
            name = left.pop()
            if name not in needed:
                needed.add(name)
                left += found[name].after
        return tuple(one.id for one in self.tasks if one.id in needed)


def in_order(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Each after all that it waits for, otherwise as they stand; those of a cycle are left out."""
    placed: dict[str, Task] = {}
    left = sorted(tasks, key=lambda one: one.phase)
    while left:
        ready = next((one for one in left if all(name in placed for name in one.after)), None)
        if ready is None:
            break
        placed[ready.id] = ready
        left.remove(ready)
    return tuple(placed.values())
