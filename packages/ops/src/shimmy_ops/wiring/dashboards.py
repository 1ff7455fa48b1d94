"""A picture as a page: in a file, or served on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.adapters.monitoring.http_page_server import LOOPBACK, PageServer
from shimmy_ops.adapters.monitoring.jinja_page import JinjaPage
from shimmy_ops.adapters.monitoring.threading_shelf import PictureShelf
from shimmy_ops.domain.monitoring.picture import Picture


@dataclass(frozen=True, slots=True)
class ServedPages:
    """A server that answers; ``keep_filled`` samples for it until something ends it."""

    url: str
    keep_filled: Callable[[Callable[[str], Picture]], None]


def render_page(picture: Picture) -> str:
    """A page that stands alone and does not refresh."""
    return JinjaPage().render(picture)


def save_page(picture: Picture, path: Path) -> None:
    """Mode 0600: revenue and customers' ids are nobody else's. Raises KeepingError."""
    write_private(path, render_page(picture))


@contextmanager
def serve_pages(interval_seconds: float, port: int) -> Iterator[ServedPages]:
    """Answers in a thread until the block is left. Raises MonitorError where the port is taken."""
    shelf = PictureShelf(interval_seconds)
    with PageServer(port, JinjaPage(), shelf, interval_seconds) as server:
        answering = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        answering.start()
        try:
            yield ServedPages(f"http://{LOOPBACK}:{server.server_port}", shelf.keep_filled)
        finally:
            server.shutdown()
            answering.join()
