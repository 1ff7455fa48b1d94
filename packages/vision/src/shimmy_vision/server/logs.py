"""Log lines as JSON. No key, image, address or URL is ever handed to these functions."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

# These write addresses of requests, and with them ids and keys, into their logs.
_TALKATIVE = (
    "httpx",
    "httpcore",
    "uvicorn.access",
    "uvicorn.asgi",
    "uvicorn.error",
)
# It quotes what it was sent where that is no form.
_SILENT = ("python_multipart",)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, name, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        shown = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            # The kind and the place, not the message: it may hold what must not be here.
            kind, _, trace = record.exc_info
            shown["error"] = "" if kind is None else kind.__name__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                shown["at"] = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        return json.dumps(shown)


def start_logging(stream: TextIO | None = None) -> None:
    """Everything to stderr as JSON, and silence from libraries that write addresses."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.ERROR)


def log_event(logger: logging.Logger, event: str, **fields: str | float) -> None:
    """One line; ``fields`` are codes, counts and ids of requests."""
    logger.info(event, extra={"fields": fields})
