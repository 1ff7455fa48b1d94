"""Each check is made to fail once: by breaking what it looks at, or from facts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from account_model import applied, desired
from broken_things import BROKEN
from ready_town import (
    NOW,
    ReadyTown,
    judged,
    live_profile,
    open_ready_town,
    profile_of_tests,
)

from shimmy_ops.domain.preflight.facts import (
    Backup,
    Certificate,
    KeygenAccount,
    MetricsDoor,
    Page,
    SitePage,
    Standing,
    Unasked,
    WorkerSecrets,
)
from shimmy_ops.domain.preflight.registry import CHECKS
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.steps import BillingFound

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadyTown]:
    with (
        pytest.MonkeyPatch.context() as patch,
        open_ready_town(tmp_path_factory.mktemp("ready"), patch) as town,
    ):
        yield town


@pytest.mark.parametrize("check", BROKEN)
def test_what_is_broken_fails_its_check_and_holds_again_once_mended(
    check: str,
    ready: ReadyTown,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, BROKEN[check](ready, patch):
        ran = ready.preflight(capsys, "--only", check, "--json")
        strict = ready.preflight(capsys, "--only", check, "--json", "--strict")
    (found,) = ran.document["checks"]
    assert (found["id"], found["outcome"]) == (check, "failed"), found
    assert found["found"].endswith((".", "]")) and found["remedy"]
    assert (ran.code, strict.code) == (1 if found["level"] == "error" else 0, 1)
    # How fast the store is depends on what else this machine does now.
    monkeypatch.setattr("shimmy_ops.domain.preflight.store_checks._FAST_SECONDS", 10)
    after = ready.preflight(capsys, "--only", check, "--json")
    assert after.outcomes[check] in ("held", "skipped"), after.out


def _billing(**changes: Any) -> BillingFound:
    """What provisioning makes, each endpoint changed so."""
    found = applied(desired()).found().billing
    return replace(found, endpoints=tuple({**one, **changes} for one in found.endpoints))


def _modes(*, livemode: bool) -> BillingFound:
    found = applied(desired()).found().billing
    return replace(found, prices=tuple({**one, "livemode": livemode} for one in found.prices))


def _ends(days: int) -> Certificate:
    return Certificate("", NOW + timedelta(days=days), "TLSv1.3")


_ALL = Standing(charges_enabled=True, payouts_enabled=True, details_submitted=True)
_ACCOUNT = KeygenAccount("0aff", "shimmy")
_LIVE, _TEST = live_profile(), profile_of_tests()
_REDIRECT = Page(308, {"location": "https://store.shimmy.app/"})
_HEALTH = '{"status": "ok", "mode": "live", "version": "0.1.0", "checks": {"ledger": "ok"}}'
JUDGED: Mapping[str, tuple[Profile, Profile, Mapping[Any, Any], Mapping[Any, Any]]] = {
    # check: (profile that holds, profile that fails, facts that hold, facts that fail)
    "stripe-mode-agrees": (
        _LIVE, _LIVE, {"billing": _modes(livemode=True)}, {"billing": _modes(livemode=False)},
    ),
    "stripe-charges": (
        _LIVE, _LIVE, {"standing": _ALL}, {"standing": replace(_ALL, charges_enabled=False)},
    ),
    "stripe-payouts": (
        _LIVE, _LIVE, {"standing": _ALL}, {"standing": replace(_ALL, payouts_enabled=False)},
    ),
    "stripe-details": (
        _LIVE, _LIVE, {"standing": _ALL}, {"standing": replace(_ALL, details_submitted=False)},
    ),
    "keygen-account-agrees": (
        _LIVE, _LIVE, {"keygen_account": _ACCOUNT},
        {"keygen_account": KeygenAccount("77", "other")},
    ),
    # By its slug in one table and by its id in the other, which the file does not show.
    "keygen-accounts-apart": (
        _LIVE, _LIVE,
        {"keygen_account": _ACCOUNT, "tables": {"live": "shimmy", "test": "shimmy-test"}},
        {"keygen_account": _ACCOUNT, "tables": {"live": "shimmy", "test": "0aff"}},
    ),
    # What a command that stands in for wrangler says of it: test_deploy.py.
    "worker-secrets": (
        _LIVE, _LIVE, {"worker_secrets": WorkerSecrets(6)},
        {"worker_secrets": WorkerSecrets(6, ("SHIMMY_STORE_MAIL",))},
    ),
    "keygen-replies-signed": (
        _LIVE, _LIVE, {"keygen_account": replace(_ACCOUNT, public_key="ab" * 32, signed=True)},
        {"keygen_account": replace(_ACCOUNT, public_key="ab" * 32)},
    ),
    "webhook-version": (
        _TEST, _TEST, {"desired": desired(), "billing": _billing()},
        {"desired": desired(), "billing": _billing(api_version="2020-08-27")},
    ),
    "store-resolves": (
        _LIVE, _LIVE, {"addresses": ("203.0.113.7",)},
        {"addresses": Unasked("The name leads nowhere.")},
    ),
    "certificate-good": (
        _LIVE, _LIVE, {"certificate": _ends(14)},
        {"certificate": replace(_ends(90), problem="Hostname mismatch")},
    ),
    "certificate-lasts": (_LIVE, _LIVE, {"certificate": _ends(30)}, {"certificate": _ends(29)}),
    "tls-modern": (
        _LIVE, _LIVE, {"certificate": _ends(90)},
        {"certificate": replace(_ends(90), protocol="TLSv1.1")},
    ),
    "http-redirects": (_LIVE, _LIVE, {"insecure": _REDIRECT}, {"insecure": Page(200, {})}),
    "store-mode": (
        _LIVE, _TEST, {"health": Page(200, {}, _HEALTH)}, {"health": Page(200, {}, _HEALTH)},
    ),
    "metrics-closed": (
        _LIVE, _LIVE, {"metrics": MetricsDoor(200, 403)}, {"metrics": MetricsDoor(200, 200)},
    ),
    "addresses-real": (_LIVE, live_profile(store_url="https://store.example.com"), {}, {}),
    "models-real": (_LIVE, _LIVE, {"synthetic": False}, {"synthetic": True}),
}  # fmt: skip


@pytest.mark.parametrize("check", JUDGED)
def test_facts_that_no_sandbox_has_fail_their_check(check: str) -> None:
    holding, failing, good, bad = JUDGED[check]
    assert judged(check, holding, good)[0] == "held"
    assert judged(check, failing, bad)[0] == "failed"


def test_every_check_is_made_to_fail_once() -> None:
    assert set(BROKEN) | set(JUDGED) == {one.id for one in CHECKS}
    assert not set(BROKEN) & set(JUDGED)
    assert len(CHECKS) >= 30


@pytest.mark.parametrize(
    ("check", "profile", "bad"),
    [
        ("certificate-good", _LIVE, {"certificate": _ends(13)}),
        ("certificate-good", _LIVE, {"certificate": Certificate("no TLS", None, "")}),
        ("http-redirects", _LIVE, {"insecure": Page(301, {"location": "https://shimmy.app/"})}),
        ("http-redirects", _LIVE, {"insecure": Page(301, {"location": "http://store.shimmy.app"})}),
        ("addresses-real", live_profile(operator_mail="me@shimmy.test"), {}),
        ("addresses-real", live_profile(store_url="https://store.test.shimmy.app"), {}),
        ("addresses-real", live_profile(site_url="https://203.0.113.7"), {}),
        ("keygen-replies-signed", _LIVE, {"keygen_account": _ACCOUNT}),
        ("store-keygen-key", _LIVE, {
            "figures": {"keygen_public_key": "ba" * 32},
            "keygen_account": replace(_ACCOUNT, public_key="ab" * 32)}),
        ("store-health", _LIVE, {"health": Page(503, {}, _HEALTH)}),
        ("store-health", _LIVE, {"health": Page(200, {}, "<h1>Welcome to nginx</h1>")}),
        ("store-health", _LIVE, {"health": Page(200, {}, '{"checks": {"keygen": "too-slow"}}')}),
        ("store-version", _LIVE, {"health": Page(200, {}, "[]")}),
        ("store-pricing", _LIVE, {"pricing": Page(200, {}, "{}"), "desired": desired()}),
        ("store-headers", _LIVE, {"pricing": Page(200, {
            "content-security-policy": "x", "x-content-type-options": "nosniff",
            "referrer-policy": "x"})}),
        ("site-answers", live_profile(site_url=None), {"site_page": SitePage(0)}),
        ("site-leads-to-store", _LIVE, {"site_page": SitePage(200, ("/about",))}),
        ("backup-recent", _LIVE, {"backups": ()}),
        ("backup-verified", _LIVE, {"backups": (Backup(NOW, None), Backup(
            NOW - timedelta(hours=3), NOW))}),
        ("site-built", live_profile(site_folder=None), {"site_folder": False}),
    ],
)  # fmt: skip
def test_other_ways_to_fail(check: str, profile: Profile, bad: Mapping[Any, Any]) -> None:
    assert judged(check, profile, bad) == (
        "failed", "warning" if check == "certificate-lasts" else "error",
    )  # fmt: skip
