"""A licence server on loopback and customers' machines that talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from licence_world import Customer, MakeCustomer, Shop, open_shop


@pytest.fixture(scope="module")
def lasting_shop() -> Iterator[Shop]:
    """One server for all tests of a module."""
    with open_shop() as opened:
        yield opened


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server of its own, or the module's with nothing going wrong, where it says ONE_SHOP.

    There each test works with licences of its own.
    """
    if getattr(request.module, "ONE_SHOP", False):
        shared: Shop = request.getfixturevalue("lasting_shop")
        shared.forget()
        yield shared
        return
    with open_shop() as opened:
        yield opened


@pytest.fixture
def customer(shop: Shop, tmp_path: Path) -> Iterator[MakeCustomer]:
    """Makes customers' machines; each ``machine`` has a folder of its own."""
    with ExitStack() as opened:

        def make(machine: str = "machine-1", **wishes: Any) -> Customer:
            return Customer(shop, tmp_path / machine, machine, opened=opened, **wishes)

        yield make
