"""A tiny payload, compiled once, and a process that tries it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from payloads import TinyPayloads, Trials, compile_hostile, compile_tiny, open_trials


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyPayloads:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "hostile").mkdir()
    return TinyPayloads(compile_tiny(folder / "built"), compile_hostile(folder / "hostile"))


@pytest.fixture(scope="session")
def trials() -> Iterator[Trials]:
    with open_trials() as opened:
        yield opened
