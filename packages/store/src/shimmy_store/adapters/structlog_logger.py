"""Loggers of structlog over the standard library's: an event's name, and fields beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

_FOR_LOGGING = ("exc_info", "stack_info", "stacklevel")


def logger_of(name: str) -> structlog.stdlib.BoundLogger:
    """Its lines carry what is bound where they are written: the request's id, on any thread.

    ``exc_info`` tells of an error by kind and place. Without any set-up it writes where the
    standard library does, so that whoever embeds the store hears it.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _as_record,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger


def _as_record(
    _logger: Any, _method: str, told: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    for_logging = {name: told.pop(name) for name in _FOR_LOGGING if name in told}
    event = str(told.pop("event"))
    # A percent sign in it is none of logging's, which looks for one only beside arguments.
    return (event,), {**for_logging, "extra": {"fields": dict(told)}}


@contextmanager
def log_context(**ids: str) -> Iterator[None]:
    """Every line from here on carries ``ids`` and nothing from before, until the block ends.

    A server begins a request where the last one of its connection ended, with what was bound then.
    """
    before = dict(get_contextvars())
    clear_contextvars()
    bind_contextvars(**ids)
    try:
        yield
    finally:
        clear_contextvars()
        bind_contextvars(**before)


def log_with(**ids: str) -> None:
    """Lines carry ``ids`` as well, from here to the end of the ``log_context``; outside of one no

    line does: what goes on for ever would keep them for good.
    """
    if get_contextvars():
        bind_contextvars(**ids)
