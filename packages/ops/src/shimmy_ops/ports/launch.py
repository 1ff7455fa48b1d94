"""What a launch asks of the outside world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shimmy_ops.domain.launch.entries import Entry, Output, Ran
from shimmy_ops.domain.launch.plan import TASK_PROFILES, Command, Task, TaskProfile
from shimmy_ops.domain.launch.record import KeptRecord, Verifier
from shimmy_ops.domain.launch.standing import REVISION, STORE, Here


class LaunchRecord(Protocol):
    """The record's files. Every method raises LaunchError."""

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else writes meanwhile; raises LaunchError (to be tried again) where one does."""
        ...

    def read(self) -> KeptRecord:
        """As it is now; empty where there is none yet."""
        ...

    def begin(self, head: bytes) -> None:
        """The note that there is nothing yet, before the first line; durable."""
        ...

    def append(self, line: bytes, head: bytes) -> None:
        """One more line, and the note that it is the last; durable. A torn end is mended first."""
        ...


class LaunchSigner(Verifier, Protocol):
    """A private key."""

    def sign(self, content: bytes) -> str:
        """Hexadecimal."""
        ...


class OutputShelf(Protocol):
    """Where outputs are kept, each under its digest. Every method raises LaunchError."""

    def keep(self, content: bytes, size: int) -> Output:
        """``content`` is what is kept of the ``size`` bytes that were said."""
        ...

    def read(self, output: Output) -> bytes | None:
        """What is kept; None where it is gone or another."""
        ...


class TaskTeller(Protocol):
    """Hears how a command goes, live."""

    def said(self, content: bytes, *, error: bool) -> None:
        """The command said this just now."""
        ...

    def silent(self, seconds: float) -> None:
        """It has been running for so long, and says nothing."""
        ...


class CommandRunner(Protocol):
    """Runs one command at a time."""

    def run(self, argv: Sequence[str], timeout_seconds: float, teller: TaskTeller) -> Ran:
        """To its end, or to the end of its time. Raises LaunchError where it cannot be begun.

        Where somebody stops us (KeyboardInterrupt), the command is stopped, too.
        """
        ...


class LaunchPlaces(Protocol):
    """What stands for the placeholders of a task's commands."""

    def fill(self, task: Task, command: Command) -> list[str]:
        """The words as they are run. Raises LaunchError, ProfileError."""
        ...

    def store(self, profile: TaskProfile) -> str | None:
        """A short digest of a profile's store and accounts; None where there is none."""
        ...


class LaunchWitness(Protocol):
    """Says what an entry was made with."""

    def versions(self) -> Mapping[str, str]:
        """Of our program, of Python, and of the sources."""
        ...


class RunTeller(TaskTeller, Protocol):
    """Hears how a run goes."""

    def begins(
        self, task: Task, argv: Sequence[str], place: tuple[int, int], *, acts: bool
    ) -> None:
        """A command is about to run, for task number ``place`` of so many."""
        ...

    def ends(self, task: Task, entry: Entry) -> None:
        """It ended, and this was recorded."""
        ...


@dataclass(frozen=True, slots=True)
class LaunchDesk:
    """All of it together. ``rehearsal`` says which of both records this is."""

    record: LaunchRecord
    signer: LaunchSigner
    shelf: OutputShelf
    runner: CommandRunner
    places: LaunchPlaces
    witness: LaunchWitness
    clock: Callable[[], datetime]
    rehearsal: bool

    def here(self) -> Here:
        """What evidence is held against, as it is now."""
        stores = {name: self.places.store(name) for name in TASK_PROFILES}
        return Here(
            self.witness.versions().get(REVISION, ""),
            {name: store for name, store in stores.items() if store is not None},
        )

    def made_with(self, task: Task) -> Mapping[str, str]:
        """What an entry of this task notes of it."""
        store = self.places.store(task.profile)
        return {**self.witness.versions(), **({} if store is None else {STORE: store})}
