"""The ``Payer`` port as a person with a browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping

from shimmy_ops.domain.transaction.sightings import SeenSession

_PATIENCE_SECONDS = 20


class BrowserPayer:
    """``show`` gives the page's address to the operator; ``opens`` gives it to a browser."""

    def __init__(self, show: Callable[[str], None], opens: Callable[[str], None]) -> None:
        self._show = show
        self._open = opens
        self._asked: set[str] = set()

    def ask(self, session: SeenSession) -> None:
        if session.id in self._asked:
            return
        self._asked.add(session.id)
        self._show(session.url)
        self._open(session.url)


class SystemBrowser:
    """The browser of whoever sits here, without the keys that are in our environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def __call__(self, url: str) -> None:
        command = [sys.executable, "-m", "webbrowser", url]
        try:
            subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            # Nobody sits at this machine: the address is shown all the same.
            return
