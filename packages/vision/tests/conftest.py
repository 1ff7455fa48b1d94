"""Synthetic pairs and engines shared by all vision tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from licence_world import Shop, open_shop

from shimmy_sandbox.synthetic_model import SyntheticPair, write_synthetic_pair
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.settings import read_settings

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE = REPOSITORY / "docs/samples/sign-in.png"


@pytest.fixture(scope="session")
def synthetic_26(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    return write_synthetic_pair(tmp_path_factory.mktemp("pair-26"), "2.6")


@pytest.fixture(scope="session")
def synthetic_46(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    return write_synthetic_pair(tmp_path_factory.mktemp("pair-46"), "4.6")


@pytest.fixture(scope="session")
def library_directory() -> Path:
    return read_settings({}).library_directory


@pytest.fixture(scope="session")
def session_shop() -> Iterator[Shop]:
    """A licence server for tests that need a licence and are not about it."""
    with open_shop() as opened:
        yield opened


@pytest.fixture(scope="session")
def licence_variables(session_shop: Shop) -> dict[str, str]:
    """What makes any ``shimmy`` process a licensed one."""
    return {
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        "SHIMMY_LICENSE_KEY": session_shop.sell("enterprise").key,
        "SHIMMY_MACHINE_ID": "tests",
    }


OpenEngine = Callable[..., LlamaEngine]


@pytest.fixture(scope="session")
def open_engine(library_directory: Path) -> OpenEngine:
    def opened(
        pair: SyntheticPair,
        family: ModelFamily,
        context: int = 4096,
        sequences: int = 1,
        caches: EngineCaches | None = None,
    ) -> LlamaEngine:
        files = EngineFiles(pair.main, pair.projector, family, True, "m" * 64, "p" * 64)
        options = EngineOptions(2, 0, context, sequences)
        return LlamaEngine(library_directory, files, options, caches)

    return opened


@pytest.fixture(scope="module", params=["2.6", "4.6"])
def engine(
    request: pytest.FixtureRequest,
    synthetic_26: SyntheticPair,
    synthetic_46: SyntheticPair,
    open_engine: OpenEngine,
) -> Iterator[LlamaEngine]:
    pair = synthetic_26 if request.param == "2.6" else synthetic_46
    opened = open_engine(pair, request.param)
    yield opened
    opened.close()
