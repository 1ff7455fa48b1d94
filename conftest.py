"""Settings of all tests."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests reach loopback alone, and bring the certificates that they trust. Reading all roots of the
# world takes 20 ms for each HTTP client that is opened, which a folder without any saves.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent / "tests")
# Hundreds of processes are started: each would compile what it imports again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Examples may share two cores with other tests: a slow one says nothing about the code. On CI the
# same examples are tried every time, so that a red run is about the change and can be repeated;
# everywhere else new ones are, so that what they miss is found sooner or later.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    # The same ones again find nothing new: half of them keeps the suite within its time.
    max_examples=50 if os.environ.get("CI") else 100,
)
settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole journeys first: a module of them takes a minute, and at the end would run alone."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)
