"""Keeps what libraries log away from the logs of whoever uses this one.

httpx logs every address, httpcore the headers of replies, Pillow the text inside image files. None
of that may reach a log, at any level.
"""

from __future__ import annotations

import logging

_TALKATIVE = ("httpx", "httpcore", "PIL")


def quiet_libraries() -> None:
    """From now on their records stop at these loggers; what they raise still arrives."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if not any(isinstance(one, logging.NullHandler) for one in logger.handlers):
            logger.addHandler(logging.NullHandler())
        logger.propagate = False
