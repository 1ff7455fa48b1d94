"""Both simulators for each test that asks, with an operator's file in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from operated_town import OperatedTown, open_operated_town
from provisioning_town import ProvisioningTown, open_provisioning_town


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProvisioningTown]:
    with open_provisioning_town(tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture
def operated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatedTown]:
    """Provisioned, with the store and a mailbox running."""
    with open_operated_town(tmp_path, monkeypatch) as opened:
        yield opened
