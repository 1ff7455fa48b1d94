"""A store on an empty ledger in place of the one that was lost, with the same accounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from operated_town import OperatedTown
from store_server import _Gate

from shimmy_sandbox.simulation.loopback import serve_on_loopback
from shimmy_store.server.app import create_app
from shimmy_store.wiring import open_shop


@contextmanager
def open_second_store(operated: OperatedTown) -> Iterator[str]:
    """Its address, which the operator's file names from now on."""
    with ExitStack() as stack:
        gate = _Gate()
        served = stack.enter_context(serve_on_loopback(gate))
        ledger = f"sqlite:///{operated.folder / 'second.sqlite'}"
        settings = replace(operated.store.settings, url=served.url, ledger=ledger)
        gate.app = create_app(settings, open_shop)
        stack.callback(gate.stop)
        operated.town.write_config(store_url=served.url)
        yield served.url
