"""What one thread waits for and another gives, or what cancellation forestalls."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from shimmy_vision.ports.cancellation import Cancellation

T = TypeVar("T")


class Settled(Generic[T]):
    """How it ended: with a value or an error."""

    def __init__(self, value: T | None, error: BaseException | None = None) -> None:
        self._value, self._error = value, error

    def result(self) -> T:
        """The value; raises the error."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # no error, hence a value


class Ticket(Generic[T]):
    """Settled once, waited for by one thread.

    The queue takes None when the wait is called off. That may happen inside a signal handler, where
    no lock may be taken: putting into a ``SimpleQueue`` is documented as safe there.
    """

    def __init__(self) -> None:
        self._messages: SimpleQueue[Settled[T] | None] = SimpleQueue()

    def settle(self, value: T) -> None:
        self._messages.put(Settled(value))

    def fail(self, error: BaseException) -> None:
        self._messages.put(Settled(None, error))

    def wait(self, cancellation: Cancellation, leave: Callable[[], None]) -> T:
        """The value. Raises the error, or StoppedError when cancelled while waiting.

        ``leave`` is called, on this thread, when nobody waits any longer: it takes back what was
        asked for, or waits for it with ``wait_settled``.
        """
        try:
            with cancellation.when_cancelled(lambda: self._messages.put(None)):
                message = self._messages.get()
        except BaseException:
            leave()
            raise
        if message is None:
            leave()
            cancellation.check()
            raise AssertionError("called off without a reason")
        return message.result()

    def wait_settled(self) -> Settled[T]:
        """How it ended, whoever called it off."""
        while True:
            message = self._messages.get()
            if message is not None:
                return message
