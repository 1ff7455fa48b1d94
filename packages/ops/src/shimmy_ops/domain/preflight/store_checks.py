"""Whether the store answers, is well, is of this profile, and tells only whom it may."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from shimmy_ops.domain.contracts import Plan
from shimmy_ops.domain.preflight.checking import Check, Failed, Held, Skipped, Verdict, listed
from shimmy_ops.domain.preflight.facts import (
    KeygenAccount,
    MetricsDoor,
    Page,
    Unasked,
    WorkerSecrets,
)
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.wanted import Desired

LEDGER_SCHEMA = 2
"""How many steps the ledger of the store that these tools go with has taken."""
_OK, _REFUSED = 200, (401, 403, 404)
_FAST_SECONDS = 0.5
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_START = "Start the store with the environment that shimmy-ops provision --write-env wrote."


def _health(health: Page | Unasked) -> Verdict:
    if isinstance(health, Unasked):
        return Failed(health.why, health.remedy)
    checks = _document(health).get("checks")
    if not isinstance(checks, Mapping) or not checks:
        return Failed(f"/health is answered {health.status} by something else than the store.")
    ill = [f"{name} ({state})" for name, state in checks.items() if state != "ok"]
    if ill or health.status != _OK:
        return Failed(f"/health is answered {health.status}: {listed(ill) or 'failing'}.")
    return Held(f"/health says ok of {listed(checks)}.")


def _version(health: Page, version: str) -> Verdict:
    running = running_version(health)
    if running.split(".")[:2] != version.split(".")[:2]:
        return Failed(f"The store is of version {running or 'none'}, these tools of {version}.")
    return Held(f"The store is of version {running}.")


def running_version(health: Page) -> str:
    """What the store says its version is; empty where it does not."""
    return str(_document(health).get("version", ""))


def _mode(health: Page, profile: Profile) -> Verdict:
    running, wanted = _document(health).get("mode"), "live" if profile.livemode else "test"
    if running != wanted:
        return Failed(f"The store runs in {running or 'no'} mode and not in {wanted} mode.")
    return Held(f"The store runs in {wanted} mode.")


def _document(page: Page) -> Mapping[str, Any]:
    try:
        read = json.loads(page.body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _pricing(pricing: Page, desired: Desired) -> Verdict:
    read = _document(pricing)
    if pricing.status != _OK or not read:
        return Failed(f"/pricing is answered {pricing.status} without the plans.")
    shown = {one["id"]: one for one in read.get("plans", ()) if isinstance(one, dict)}
    plans = desired.offer.plans
    wrong = [plan.id for plan in plans if shown.get(plan.id) != _shown(plan)]
    wrong += sorted(set(shown) - {plan.id for plan in plans})
    if wrong or read.get("currency") != desired.offer.currency:
        return Failed(f"The store sells otherwise than the catalog: {listed(wrong) or 'currency'}.")
    return Held(f"The store sells the catalog's {len(plans)} plans.")


def _shown(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "name": plan.name,
        "unit_amount": plan.unit_amount,
        "interval": "month" if plan.monthly else "once",
        "pages_per_month": plan.pages_per_month,
        "machines": plan.machines,
    }


def _headers(pricing: Page, profile: Profile) -> Verdict:
    wanted = ["content-security-policy", "x-content-type-options", "referrer-policy"]
    wanted += ["strict-transport-security"] if profile.store_url.startswith("https") else []
    missing = [name for name in wanted if name not in pricing.headers]
    if pricing.headers.get("x-content-type-options", "nosniff") != "nosniff":
        missing.append("x-content-type-options: nosniff")
    if missing:
        return Failed(f"The store's pages lack {listed(missing)}.")
    return Held(f"The store's pages have {listed(wanted)}.")


def _health_time(health: Page) -> Verdict:
    return _fast("/health", health)


def _pricing_time(pricing: Page) -> Verdict:
    return _fast("/pricing", pricing)


def _fast(path: str, page: Page) -> Verdict:
    found = f"{path} took {page.seconds * 1000:.0f} ms, the median of several tries."
    return Held(found) if page.seconds < _FAST_SECONDS else Failed(found)


def _desk(figures: Mapping[str, Any] | Unasked) -> Verdict:
    if isinstance(figures, Unasked):
        return Failed(figures.why, figures.remedy)
    return Held("The operator's desk lets us in.")


def _desk_closed(status: int) -> Verdict:
    if status in _REFUSED:
        return Held(f"Without the token the operator's desk answers {status}.")
    return Failed(f"Without the token the operator's desk answers {status}.")


def _metrics(metrics: MetricsDoor) -> Verdict:
    if metrics.with_token == _OK:
        return Held("The metrics answer.")
    return Failed(f"With the token the metrics answer {metrics.with_token}.")


def _metrics_closed(metrics: MetricsDoor, profile: Profile) -> Verdict:
    if metrics.without in _REFUSED:
        return Held(f"Without the token the metrics answer {metrics.without}.")
    if urlsplit(profile.store_url).hostname in _LOOPBACK:
        return Skipped("On loopback they may answer anybody.")
    return Failed(f"Without the token the metrics answer {metrics.without}.")


def _alarms(figures: Mapping[str, Any]) -> Verdict:
    codes = sorted({str(one.get("code", "?")) for one in figures.get("alarms", ())})
    if codes:
        return Failed(f"{len(figures['alarms'])} alarms are open: {listed(codes)}.")
    return Held("No alarm is open.")


def _parked(figures: Mapping[str, Any]) -> Verdict:
    events = _count(figures, "events", "by_state", "parked")
    messages = _count(figures, "mail", "parked")
    found = f"{events} events and {messages} messages are parked."
    return Failed(found) if events or messages else Held(found)


def _count(figures: Any, *path: str) -> int:
    for name in path:
        figures = figures.get(name, {}) if isinstance(figures, Mapping) else {}
    return figures if isinstance(figures, int) else 0


def _keygen_key(figures: Mapping[str, Any], account: KeygenAccount) -> Verdict:
    """A store without the key believes whoever answers at Keygen's address."""
    told = figures.get("keygen_public_key")
    if not told:
        return Failed("The store acts on replies of Keygen's that nobody has signed.")
    if told != account.public_key:
        return Failed("The store believes another key than the account's.")
    return Held("The store acts on replies only that the account's key has signed.")


def _worker_secrets(worker_secrets: WorkerSecrets) -> Verdict:
    if worker_secrets.missing:
        return Failed(f"The Worker has no {listed(worker_secrets.missing)}.")
    return Held(f"The Worker has all {worker_secrets.needed} secrets that it asks for.")


def _schema(figures: Mapping[str, Any]) -> Verdict:
    found = figures.get("schema")
    if found != LEDGER_SCHEMA:
        return Failed(f"The ledger's schema is {found}, and these tools know {LEDGER_SCHEMA}.")
    return Held(f"The ledger's schema is {LEDGER_SCHEMA}.")


_SAME = "Install the same version of shimmy-store and shimmy-ops."
_LOOK = "shimmy-store alarms lists them, docs/store.md says what to do about each."
STORE_CHECKS = (
    Check(
        "store-health", "store", "error", "Store is well",
        ("health",), _health,
        "shimmy-store serve; its log says why. docs/store.md explains /health.", hears_all=True,
    ),
    Check(
        "store-version", "store", "error", "Store is of the version of these tools",
        ("health", "version"), _version, _SAME,
    ),
    Check("store-mode", "store", "error", "Store runs in the profile's mode",
          ("health", "profile"), _mode, _START),
    Check(
        "store-pricing", "store", "error", "Store sells what the catalog says",
        ("pricing", "desired"), _pricing, _SAME,
    ),
    Check(
        "store-headers", "store", "error", "Store's pages have their security headers",
        ("pricing", "profile"), _headers,
        "The store sends them: let no proxy take them away, and give it its https address as URL.",
    ),
    Check(
        "health-fast", "store", "warning", "/health answers within 500 ms",
        ("health",), _health_time, "Look at the machine's load and at shimmy-ops monitor.",
        live="error",
    ),
    Check(
        "pricing-fast", "store", "warning", "/pricing answers within 500 ms",
        ("pricing",), _pricing_time, "Look at the machine's load and at shimmy-ops monitor.",
        live="error",
    ),
    Check("desk-open", "store", "error", "Operator's desk lets us in",
          ("figures",), _desk, _START, hears_all=True),
    Check(
        "desk-closed", "store", "error", "Operator's desk lets nobody else in",
        ("desk_closed",), _desk_closed, "Let no proxy add a token; update the store.",
    ),
    Check("metrics-open", "store", "error", "Metrics answer with the token",
          ("metrics",), _metrics, _START),
    Check(
        "metrics-closed", "store", "error", "Metrics answer nobody else",
        ("metrics", "profile"), _metrics_closed, f"Set SHIMMY_STORE_METRICS_TOKEN. {_START}",
    ),
    Check("alarms-none", "store", "warning", "No alarm is open", ("figures",), _alarms, _LOOK),
    Check(
        "nothing-parked", "store", "warning", "No event or message is parked",
        ("figures",), _parked, "shimmy-store alarms, mend it, then shimmy-store retry.",
        live="error",
    ),
    Check(
        "store-keygen-key", "store", "warning", "Store believes signed replies of Keygen's only",
        ("figures", "keygen_account"), _keygen_key,
        f"Set SHIMMY_STORE_KEYGEN_PUBLIC_KEY as it is written there. {_START}", live="error",
    ),
    Check(
        "worker-secrets", "store", "error", "Worker has its secrets",
        ("worker_secrets",), _worker_secrets,
        "wrangler secret put NAME --env ENVIRONMENT; or deploy again, which puts what is missing.",
    ),
    Check("ledger-schema", "store", "error", "Ledger's schema is the newest known",
          ("figures",), _schema, _SAME),
)  # fmt: skip
