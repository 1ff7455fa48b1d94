"""A batch on a cluster as its command sees it; what Ray does is played."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shimmy_vision.adapters.batch.batch_output import parts_of
from shimmy_vision.adapters.batch.image_rows import ParquetColumns
from shimmy_vision.adapters.batch.ray_cluster import ClusterOrder
from shimmy_vision.adapters.batch.row_parts import Unit, write_part
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, DocumentRequest
from shimmy_vision.domain.batch.row_outcome import RowOutcome
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.wiring import cluster
from shimmy_vision.wiring.batch import BatchOrder


def _order(folder: Path) -> BatchOrder:
    vision = VisionOrder(None, 1, 0, 100, 100, AnalysisRequest())
    inputs = tuple((name, folder / name) for name in ("a", "b", "c"))
    return BatchOrder(vision, DocumentRequest(), inputs, folder / "out.jsonl", ParquetColumns())


def test_what_a_cluster_did_before_it_failed_is_kept_and_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def play(units: Sequence[Unit], _open: Any, _bounds: Any, parts: Path, *_: Any) -> None:
        names = [row.name for unit in units for row in unit.read()]
        asked.append(names)
        done = names[: 2 if len(asked) == 1 else None]
        write_part(parts, [RowOutcome(name, "", {"text": name}, None) for name in done])
        if len(asked) == 1:
            raise LibraryError("cluster-failed", "Lost.")

    monkeypatch.setattr(cluster, "analyse_on_cluster", play)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    order, shape = _order(tmp_path), ClusterOrder("auto", 1)
    with pytest.raises(LibraryError, match="Lost"):
        cluster.run_on_cluster(order, shape, lambda _: None, print)
    assert order.output.read_text().count("\n") == 2
    tally = cluster.run_on_cluster(order, shape, lambda _: None, print)
    assert (tally.kept, tally.done) == (2, 1)
    assert asked == [["a", "b", "c"], ["c"]]
    # Nothing is left: no machine is asked for.
    assert cluster.run_on_cluster(order, shape, lambda _: None, print).kept == 3
    assert len(asked) == 2
    lines = order.output.read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["a", "b", "c"]
    assert not parts_of(order.output).exists()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
