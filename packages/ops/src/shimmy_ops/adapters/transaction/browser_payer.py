"""The ``Payer`` port as a person with a browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable

from shimmy_ops.domain.transaction.sightings import SeenSession


class BrowserPayer:
    """``show`` gives the page's address to the operator; it goes nowhere else."""

    def __init__(self, show: Callable[[str], None], opened: Callable[[str], bool] | None = None):
        self._show = show
        self._open = opened or webbrowser.open
        self._asked: set[str] = set()

    def ask(self, session: SeenSession) -> None:
        if session.id in self._asked:
            return
        self._asked.add(session.id)
        self._show(session.url)
        try:
            self._open(session.url)
        except (OSError, webbrowser.Error):
            # Nobody sits at this machine: the address is shown all the same.
            return
