"""``shimmy batch --ray`` on a cluster of two machines on loopback, with one of them lost half-way.

    python benchmarks/ray_cluster.py                    all trials (about two minutes)
    python benchmarks/ray_cluster.py --trial actor      some of them

Trials: ``actor`` kills the process of one engine's actor, ``node`` all of a machine, ``driver`` the
command itself, which is then given again. After each, every row must be in the output once, and
every page must be counted once; exit code 1 otherwise. Ray is no part of the tests' environment:
requirements/ray.lock is installed beside it, in the user's cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from bench_environment import locked_python
from licensed import licensed
from shimmy_sandbox.synthetic_model import write_synthetic_pair

LOCK = Path(__file__).resolve().parent.parent / "requirements/ray.lock"
RESULTS = Path(__file__).resolve().parent / "results/ray_cluster.json"
TRIALS = ("actor", "node", "driver")
_ACTOR = "MapWorker(MapBatches(Engine))"
_PATIENCE_SECONDS = 400


def main() -> int:
    """Try, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--trial", choices=TRIALS, action="append", help="default: all")
    parser.add_argument("--max-tokens", type=int, default=20)
    parser.add_argument("--write", action="store_true", help=f"keep them in {RESULTS.name}")
    args = parser.parse_args()
    _be_where_ray_is()
    told = {name: _trial(name, args) for name in args.trial or TRIALS}
    print(json.dumps(told, indent=2))
    if args.write:
        RESULTS.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 1 if any(one["broken"] for one in told.values()) else 0


def _add_ours(place: Path) -> None:
    # Behind its own: what both have is the same version, as both locks say.
    (site,) = place.glob("lib/python*/site-packages")
    ours = [one for one in sys.path if one.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({one!r})" for one in ours]
    (site / "ours.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _be_where_ray_is() -> None:
    """Go on in an environment that has this one's packages and Ray."""
    with suppress(ImportError):
        __import__("ray.data")
        return
    python = locked_python(LOCK, "ray-venv", sys.prefix, _add_ours)
    os.execv(python, [str(python), *sys.argv])  # noqa: S606 - our own interpreter and arguments


def _trial(name: str, args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="shimmy-ray-") as folder:
        place = Path(folder)
        pair = write_synthetic_pair(place / "pair", "4.6")
        _write_rows(place / "in.parquet", args.rows)
        with licensed(str(place / "state"), "startup") as licence:
            own = {"SHIMMY_ALLOW_SYNTHETIC": "1", "SHIMMY_MODEL": f"{pair.main.parent}/"}
            # Nothing of Ray's stays in the user's home.
            ray = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
            os.environ.update({**licence, **own, **ray})
            with _cluster() as cluster:
                told = _batch(name, args, place, cluster)
            told["pages_counted"] = _pages()
    rows, names = args.rows, Counter(told.pop("names"))
    lost, doubled = rows - len(names), sum(names.values()) - len(names)
    # One row of each trial holds no image.
    counted = told["pages_counted"] - (rows - 1)
    broken = [*(["rows lost"] if lost else []), *(["rows doubled"] if doubled else [])]
    broken += ["pages counted wrongly"] if counted else []
    broken += ["it was lost too late"] if told["written_at_loss"] >= rows else []
    return {**told, "rows": rows, "lost": lost, "doubled": doubled, "broken": broken}


def _batch(name: str, args: argparse.Namespace, place: Path, cluster: Any) -> dict[str, Any]:
    output = place / "out.parquet"
    words = (
        *("batch", str(place / "in.parquet"), "--output", str(output)),
        *("--ray", cluster.address, "--actors", "2", "--threads", "1"),
        *("--max-tokens", str(args.max_tokens)),
    )
    began = time.monotonic()
    running = _start(words)
    _await(lambda: any(output.with_name("out.parquet.parts").rglob("*.parquet")), running)
    written = sum(map(_rows_of, output.with_name("out.parquet.parts").rglob("*.parquet")))
    at = _lose(name, cluster, running)
    killed = running.returncode
    if name == "driver":
        running = _start(words)
    out, told = running.communicate(timeout=_PATIENCE_SECONDS)
    table = pq.read_table(output) if output.exists() else {"image": pa.chunked_array([[]])}
    return {
        "written_at_loss": written,
        "lost_after_s": round(at - began, 1),
        "seconds": round(time.monotonic() - began, 1),
        "first_exit": killed,
        "exit": running.returncode,
        "said": _said(out) or [out[-2000:], told[-2000:]],
        "names": table["image"].to_pylist(),
    }


def _said(out: str) -> Any:
    """What the command told at its end, but for where its output lay."""
    with suppress(ValueError):
        told = json.loads(out)
        return {name: value for name, value in told.items() if name != "output"}
    return None


def _rows_of(part: Path) -> int:
    with suppress(pa.ArrowInvalid, OSError):
        return int(pq.ParquetFile(part).metadata.num_rows)
    return 0


def _start(words: tuple[str, ...]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shimmy_vision", *words],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _lose(name: str, cluster: Any, running: subprocess.Popen[str]) -> float:
    match name:
        case "actor":
            actors = [one for one in psutil.process_iter(["cmdline"]) if _is_actor(one)]
            actors[0].kill()
        case "node":
            cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        case _:
            running.send_signal(signal.SIGKILL)
            running.communicate()
    return time.monotonic()


def _is_actor(process: psutil.Process) -> bool:
    return any(_ACTOR in word for word in process.info["cmdline"] or ())


def _await(true: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        if running.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the batch ended early: {running.communicate()}")
        time.sleep(0.05)


@contextmanager
def _cluster() -> Iterator[Any]:
    """A head without cores, and two machines with one each."""
    from ray.cluster_utils import Cluster

    # Short: it is part of sockets' names.
    with tempfile.TemporaryDirectory(prefix="ray") as short:
        small = {"object_store_memory": 100_000_000}
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": short, **small}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, **small)
            yield cluster
        finally:
            cluster.shutdown()


def _pages() -> int:
    """What the licence server has counted once everything is reported."""
    shimmy: Mapping[str, Any] = {"check": True, "capture_output": True}
    subprocess.run([sys.executable, "-m", "shimmy_vision", "license", "refresh"], **shimmy)
    words = ("license", "usage", "--json")
    done = subprocess.run([sys.executable, "-m", "shimmy_vision", *words], **shimmy)
    told = json.loads(done.stdout)
    return int(told["pages_used"]) + int(told["not_yet_counted"])


def _write_rows(path: Path, rows: int) -> None:
    images: list[bytes | None] = []
    for number in range(rows):
        image = Image.new("RGB", (200, 120), "white")
        ImageDraw.Draw(image).text((10, 10), f"row {number}", fill="black")
        data = io.BytesIO()
        image.save(data, "PNG")
        images.append(data.getvalue())
    images[rows // 2] = None
    pq.write_table(pa.table({"image": images}), path, row_group_size=64)


if __name__ == "__main__":
    sys.exit(main())
