"""A real server on loopback before a played analyst, and both clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from client_faces import AsyncFace, Face, SyncFace
from serving import Play, PlayedAnalyst, serve

from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import OpenLicences, ServerOptions

OpenServer = Callable[..., tuple[str, PlayedAnalyst]]


@pytest.fixture
def open_server() -> Iterator[OpenServer]:
    with ExitStack() as opened:

        def opening(
            play: Play,
            check: Callable[[], None] = lambda: None,
            licences: OpenLicences | None = None,
            **options: Any,
        ) -> tuple[str, PlayedAnalyst]:
            analyst = PlayedAnalyst(play)
            app = create_app(analyst, ServerOptions(**options), check, licences=licences)
            return opened.enter_context(serve(app)), analyst

        yield opening


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> type[Face]:
    chosen: type[Face] = request.param
    return chosen


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIMMY_API_KEY", raising=False)
