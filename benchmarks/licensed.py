"""A licence for benchmarks: a sandbox licence server that lives as long as the block."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shimmy_sandbox.keygen.server import serve_keygen
from shimmy_sandbox.keygen.shop import sell, stock_shop

PLANS = Path(__file__).resolve().parent.parent / "contracts/plans.json"


@contextmanager
def licensed(folder: str, plan: str = "enterprise") -> Iterator[dict[str, str]]:
    """The variables of a machine with a licence of ``plan``, its state kept in ``folder``."""
    with serve_keygen(":memory:") as server:
        stock_shop(server, json.loads(PLANS.read_text(encoding="utf-8"))["plans"])
        yield {
            "SHIMMY_LICENSE_URL": server.url,
            "SHIMMY_LICENSE_KEY": sell(server, plan)["attributes"]["key"],
            "SHIMMY_MACHINE_ID": "benchmark",
            "SHIMMY_STATE_DIR": folder,
        }
