"""Which of preflight's checks can hold before a deploy, and which only after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, get_args

from shimmy_ops.domain.preflight.checking import Check, Finding
from shimmy_ops.domain.preflight.registry import CHECKS, choose_checks

Target: TypeAlias = Literal["worker", "container", "static"]
TARGETS: tuple[Target, ...] = get_args(Target)

BEFORE_DEPLOY = (
    "stripe-key-mode", "stripe-answers", "stripe-mode-agrees", "stripe-charges", "stripe-payouts",
    "stripe-details", "keygen-answers", "keygen-account-agrees", "keygen-accounts-apart",
    "keygen-replies-signed", "secrets-kept", "secrets-private", "secrets-outside-git",
    "contracts-readable", "stripe-products", "stripe-prices", "keygen-policies",
    "provision-complete", "provision-undisturbed", "once-payment-methods",
    "monthly-payment-methods", "portal-active", "portal-features", "portal-return",
    "webhook-endpoint", "webhook-version", "webhook-events", "webhook-alone", "clock-stripe",
    "operator-mail", "site-built", "site-sound", "webhook-at-store", "addresses-real",
    "tree-clean", "models-real",
)  # fmt: skip
"""All that rests on accounts, files and the profile, and on no store that runs."""
DECIDING = (
    "webhook-accepts-genuine", "webhook-refuses-forged", "store-health", "store-mode",
    "store-pricing", "store-headers", "desk-open", "desk-closed", "metrics-open",
    "metrics-closed", "ledger-schema",
)  # fmt: skip
"""What a release that is in place must do: where one of these fails, it is taken back."""
_STATIC_BEFORE = ("contracts-readable", "site-built", "site-sound", "addresses-real", "tree-clean")
_STATIC_AFTER = ("site-answers", "site-leads-to-store", "privacy-page", "terms-page")


def checks_before(target: Target, skip: Sequence[str]) -> tuple[Check, ...]:
    """Raises ProfileError for a check that there is not, or where none is left."""
    return choose_checks(_STATIC_BEFORE if target == "static" else BEFORE_DEPLOY, skip)


def checks_after(target: Target, skip: Sequence[str]) -> tuple[Check, ...]:
    """All others. Raises ProfileError."""
    later = [one.id for one in CHECKS if one.id not in BEFORE_DEPLOY]
    return choose_checks(_STATIC_AFTER if target == "static" else later, skip)


def failing(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What keeps a profile from being ready."""
    return tuple(
        one for one in findings if one.level == "error" and one.outcome in ("failed", "unknown")
    )


def deciding(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those for which a release is taken back."""
    return tuple(one for one in failing(findings) if one.id in DECIDING)
