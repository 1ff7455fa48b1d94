"""Whether addresses lead where they should, and certificates hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from shimmy_ops.domain.preflight.checking import Check, Failed, Held, Skipped, Verdict, listed
from shimmy_ops.domain.preflight.facts import Certificate, Page, Unasked
from shimmy_ops.domain.profile import Profile

_GOOD_FOR, _GOOD_FOR_LONG = timedelta(days=14), timedelta(days=30)
_MODERN = ("TLSv1.2", "TLSv1.3")
_MOVED = (301, 302, 307, 308)
_DRAFTS = ("example.com", "example.org", "example.net")
_DRAFT_ENDS = (".example", ".test", ".invalid", ".localhost", ".local")
_OK = 200


def _resolves(addresses: tuple[str, ...] | Unasked) -> Verdict:
    if isinstance(addresses, Unasked):
        return Failed(addresses.why)
    return Held(f"The store's name leads to {len(addresses)} addresses.")


def _certificate(certificate: Certificate, now: datetime) -> Verdict:
    if certificate.problem:
        return Failed(f"The certificate is not good for the store: {certificate.problem}.")
    if certificate.not_after is None or certificate.not_after - now < _GOOD_FOR:
        return Failed(f"The certificate ends in {_days(certificate, now)} days.")
    return Held(f"The certificate is good for {_days(certificate, now)} days.")


def _lasts(certificate: Certificate, now: datetime) -> Verdict:
    left = f"The certificate ends in {_days(certificate, now)} days."
    if certificate.not_after is None or certificate.not_after - now < _GOOD_FOR_LONG:
        return Failed(left)
    return Held(left)


def _days(certificate: Certificate, now: datetime) -> int:
    return (certificate.not_after - now).days if certificate.not_after else 0


def _protocol(certificate: Certificate) -> Verdict:
    if certificate.protocol not in _MODERN:
        return Failed(f"The store speaks {certificate.protocol or 'no TLS that we know'}.")
    return Held(f"The store speaks {certificate.protocol}.")


def _redirects(insecure: Page, profile: Profile) -> Verdict:
    host = urlsplit(profile.store_url).hostname
    target = urlsplit(insecure.headers.get("location", ""))
    if insecure.status in _MOVED and target.scheme == "https" and target.hostname == host:
        return Held("Plain http leads to https.")
    return Failed(f"Plain http is answered {insecure.status} and does not lead to https.")


def _own_webhook(profile: Profile) -> Verdict:
    store, webhook = urlsplit(profile.store_url), urlsplit(profile.webhook_url)
    if (store.scheme, store.netloc, "/stripe-webhook") != (
        webhook.scheme,
        webhook.netloc,
        webhook.path,
    ):
        return Failed("webhook_url is not the store's own /stripe-webhook.")
    return Held("webhook_url is the store's own /stripe-webhook.")


def _real_addresses(profile: Profile) -> Verdict:
    if not profile.livemode:
        return Skipped("Only live mode needs real addresses.")
    draft = [name for name, host in _hosts(profile).items() if _is_draft(host)]
    if draft:
        return Failed(f"Of drafts or tests only: {listed(draft)}.")
    return Held("No address of drafts or tests is left.")


def _hosts(profile: Profile) -> Mapping[str, str]:
    urls = ("store_url", "webhook_url", "stripe_url", "keygen_url", "site_url", "privacy_url",
            "terms_url")  # fmt: skip
    mails = ("mail_from", "operator_mail", "alert_mail")
    found = {name: urlsplit(getattr(profile, name)).hostname or "" for name in urls}
    found |= {name: getattr(profile, name).rpartition("@")[2].strip(" >") for name in mails}
    return {name: host.lower() for name, host in found.items() if host}


def _is_draft(host: str) -> bool:
    labels = host.split(".")
    marked = any(one in ("test", "staging", "sandbox", "localhost") for one in labels[:-2])
    ends = any(host == one or host.endswith(f".{one}") for one in _DRAFTS)
    return marked or ends or host.endswith(_DRAFT_ENDS) or "." not in host or _is_number(host)


def _is_number(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _privacy(legal_pages: Mapping[str, int]) -> Verdict:
    return _legal("privacy_url", legal_pages)


def _terms(legal_pages: Mapping[str, int]) -> Verdict:
    return _legal("terms_url", legal_pages)


def _legal(name: str, legal_pages: Mapping[str, int]) -> Verdict:
    if name not in legal_pages:
        return Failed(f"{name} is not set.", f"Set {name} in the profile.")
    status = legal_pages[name]
    if status != _OK:
        return Failed(f"{name} is answered {status or 'by nobody'}.")
    return Held(f"{name} is answered {_OK}.")


_RENEW = "Renew the certificate where the store's name ends (proxy or Cloudflare)."
ADDRESS_CHECKS = (
    Check(
        "store-resolves", "store", "error", "Store's name resolves",
        ("addresses",), _resolves,
        "Add an A or AAAA record at whoever keeps the name, or correct store_url.", hears_all=True,
    ),
    Check("certificate-good", "store", "error", "Certificate is good for 14 days and this name",
          ("certificate", "now"), _certificate, _RENEW),
    Check("certificate-lasts", "store", "warning", "Certificate lasts 30 days",
          ("certificate", "now"), _lasts, _RENEW),
    Check(
        "tls-modern", "store", "error", "Store speaks TLS 1.2 or newer",
        ("certificate",), _protocol, "Switch older protocols off at the proxy.",
    ),
    Check(
        "http-redirects", "store", "warning", "Plain http leads to https",
        ("insecure", "profile"), _redirects,
        "Let the proxy answer http with 308 to https.", live="error",
    ),
    Check(
        "webhook-at-store", "safety", "error", "webhook_url is the store's own",
        ("profile",), _own_webhook, "Take webhook_url out of the profile, or correct it.",
    ),
    Check(
        "addresses-real", "safety", "error", "No address of drafts or tests in live mode",
        ("profile",), _real_addresses, "Correct them in the table [live].",
    ),
    Check(
        "privacy-page", "safety", "warning", "Privacy page answers",
        ("legal_pages",), _privacy, "Publish the site's privacy.html there.", live="error",
    ),
    Check(
        "terms-page", "safety", "warning", "Terms answer",
        ("legal_pages",), _terms, "Publish the site's terms.html there.", live="error",
    ),
)  # fmt: skip
