"""A licence server on loopback and customers' machines that talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from licence_world import Customer, MakeCustomer, Shop, open_shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as opened:
        yield opened


@pytest.fixture
def customer(shop: Shop, tmp_path: Path) -> Iterator[MakeCustomer]:
    """Makes customers' machines; each ``machine`` has a folder of its own."""
    with ExitStack() as opened:

        def make(machine: str = "machine-1", **wishes: Any) -> Customer:
            return Customer(shop, tmp_path / machine, machine, opened=opened, **wishes)

        yield make
