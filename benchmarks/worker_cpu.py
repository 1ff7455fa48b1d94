"""What CPU time a request takes of the store as a Worker, on Pyodide in Node.

Cloudflare counts a Worker's CPU time and not its waiting. The bundle that would be deployed answers
here, over the same Python; measured is the CPU time of the whole process, Node's HTTP server
included, so that it is an upper bound. The first request opens the shop and stands apart. Webhooks
are signed events: of a type that is kept and no more, and of one after which the customer is looked
at and mail is decided, all of that included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import stripe

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "packages/store/tests/support"))

from pyodide_host import PyodideHost, open_worker, prepare_pyodide  # noqa: E402
from store_server import Store  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results/worker_cpu.json"


def main() -> int:
    """Measure and print; says so where there is no Node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="of each kind (default 200)")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            pyodide = prepare_pyodide(Path(folder) / "bundle")
        except FileNotFoundError as absent:
            print(f"worker_cpu: not measured: {absent}", file=sys.stderr)
            return 0
        began = time.monotonic()
        with open_worker(pyodide, Path(folder)) as (store, host):
            started = time.monotonic() - began
            report = {"machine": _machine(), **_measure(store, host, args.requests)}
    report["seconds_until_it_listens"] = round(started, 2)
    print(json.dumps(report, indent=2))
    if args.write:
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _measure(store: Store, host: PyodideHost, count: int) -> dict[str, Any]:
    with httpx.Client(base_url=store.url, trust_env=False, timeout=60) as client:
        before = host.idle()
        client.get("/pricing", headers={"Accept": "text/html"}).raise_for_status()
        first = host.idle() - before
        store.buy("developer", "measured@example.com").raise_for_status()
        events = store.town.browser.get(
            "/v1/events?limit=100",
            headers={"Authorization": f"Bearer {store.town.payments.api_key}"},
        ).json()["data"]
        paid = next(one for one in events if one["type"] == "invoice.paid")
        kept = {**paid, "type": "product.updated"}
        ways: dict[str, Callable[[], httpx.Response]] = {
            "asset_missing": lambda: client.get("/assets/x/look.css"),
            "pricing_json": lambda: client.get("/pricing"),
            "pricing_page": lambda: client.get("/pricing", headers={"Accept": "text/html"}),
            "licence_page": lambda: client.get("/view-license", headers={"Accept": "text/html"}),
            "webhook_kept": lambda: _deliver(client, store, kept),
            "webhook_and_its_work": lambda: _deliver(client, store, paid),
        }
        figures = {name: _cpu(host, way, count) for name, way in ways.items()}
    return {"first_request_ms": round(first * 1000, 1), "cpu_ms_a_request": figures}


def _cpu(host: PyodideHost, way: Callable[[], httpx.Response], count: int) -> float:
    for _ in range(5):
        way()
    before = host.idle()
    for _ in range(count):
        if way().is_server_error:
            raise SystemExit("worker_cpu: the store fails; its log says why")
    return round((host.idle() - before) / count * 1000, 2)


def _deliver(client: httpx.Client, store: Store, event: dict[str, Any]) -> httpx.Response:
    body = json.dumps({**event, "id": f"evt_{uuid.uuid4().hex}"})
    signature = stripe.WebhookSignature.generate_signature_header(
        body, store.settings.webhook_secrets[0], int(time.time())
    )
    headers = {"Stripe-Signature": str(signature), "Content-Type": "application/json"}
    return client.post("/stripe-webhook", content=body, headers=headers).raise_for_status()


def _machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_average_before": os.getloadavg()[0],
    }


if __name__ == "__main__":
    raise SystemExit(main())
