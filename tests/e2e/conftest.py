"""What end-to-end tests run on: a town with its store, the built site, a browser, a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journeys import somebody
from looking import Eyes, need_chromium
from street import Street, open_site, open_street

from shimmy_sandbox.shopper.browser import open_browser
from shimmy_sandbox.synthetic_model import write_synthetic_pair

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with open_street(tmp_path_factory.mktemp("street")) as opened:
        yield opened


@pytest.fixture(scope="module")
def site(street: Street, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with open_site(tmp_path_factory.mktemp("site"), street.url) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser; whoever uses it has a context of their own."""
    need_chromium()
    with open_browser() as opened:
        yield opened


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    with somebody(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def eyes() -> Eyes:
    made = Eyes()
    made.folder.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_synthetic_pair(folder, "4.6", seed=0)
    return folder
