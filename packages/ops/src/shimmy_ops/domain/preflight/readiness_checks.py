"""Mail, backups, the site, and what must not be lying about."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from shimmy_ops.domain.preflight.checking import Check, Failed, Held, Skipped, Verdict
from shimmy_ops.domain.preflight.facts import Backup, CommandSaid, MailProbe, SitePage
from shimmy_ops.domain.profile import Profile

_OFTEN = timedelta(hours=24)
_HOUR = timedelta(hours=1)
_OK = 200


def _operator_mail(profile: Profile) -> Verdict:
    if profile.operator_mail:
        return Held("operator_mail is set.")
    return Failed("operator_mail is not set: nobody gets the store's test mails.")


def _mail(mail_probe: MailProbe) -> Verdict:
    if mail_probe.refusal:
        return Failed(f"The store could not send a test mail: {mail_probe.refusal}")
    return Held(f"The store sent a test mail in {mail_probe.seconds:.1f} s.")


def _recent(backups: tuple[Backup, ...], now: datetime) -> Verdict:
    if not backups:
        return Failed("There is no backup yet.")
    age = now - max(one.made for one in backups)
    found = f"The newest backup is {age / _HOUR:.0f} hours old."
    return Held(found) if age <= _OFTEN else Failed(found)


def _verified(backups: tuple[Backup, ...]) -> Verdict:
    if not backups:
        return Failed("There is no backup that could be verified.")
    newest = max(backups, key=lambda one: one.made)
    if newest.verified is None:
        return Failed("The newest backup was not verified.")
    return Held("The newest backup was verified.")


def _site_built(site_folder: bool, profile: Profile) -> Verdict:
    if not profile.site_folder:
        return Failed("site_folder is not set.", "Set site_folder in the profile.")
    if not site_folder:
        return Failed("site_folder holds no built site.")
    return Held("site_folder holds a built site.")


def _site_check(site_check: CommandSaid) -> Verdict:
    if site_check.findings:
        return Failed(f"site check finds {site_check.findings}, the first: {site_check.first}.")
    return Held("site check finds nothing.")


def _site_answers(site_page: SitePage, profile: Profile) -> Verdict:
    if not profile.site_url:
        return _no_site(profile)
    if site_page.status == _OK:
        return Held("The site's plans answer.")
    return Failed(f"The site's plans are answered {site_page.status}.")


def _no_site(profile: Profile) -> Verdict:
    if profile.livemode:
        return Failed("site_url is not set.", "Set site_url in the profile.")
    return Skipped("site_url is not set.")


def _site_leads(site_page: SitePage, profile: Profile) -> Verdict:
    if not profile.site_url:
        return _no_site(profile)
    bought = [one for one in site_page.links if urlsplit(one).path.endswith("/buy")]
    elsewhere = [one for one in bought if not one.startswith(f"{profile.store_url}/buy")]
    if not bought:
        return Failed("The site's plans have no button that leads to the store.")
    if elsewhere:
        return Failed(f"{len(elsewhere)} of {len(bought)} buttons lead to another store.")
    return Held(f"All {len(bought)} buttons lead to the store.")


def _clean(tree_scan: CommandSaid) -> Verdict:
    if tree_scan.findings:
        return Failed(f"{tree_scan.findings} secrets in the tree, the first: {tree_scan.first}.")
    return Held("No secret is in what git tracks here.")


def _no_synthetic(synthetic: bool, profile: Profile) -> Verdict:
    if not profile.livemode:
        return Skipped("Only real money needs a real model.")
    if synthetic:
        return Failed("SHIMMY_ALLOW_SYNTHETIC is set: models of random weights would be accepted.")
    return Held("No model of random weights is accepted.")


_BUILD = "shimmy-store site build --mode MODE --store-url STORE --out FOLDER"
_BACKUP = "shimmy-ops backup make --profile PROFILE"
READINESS_CHECKS = (
    Check(
        "operator-mail", "mail", "warning", "Somebody gets the store's test mails",
        ("profile",), _operator_mail, "Set operator_mail in the profile.", live="error",
    ),
    Check(
        "mail-goes-out", "mail", "error", "Store sends mail",
        ("mail_probe",), _mail, "Correct SHIMMY_STORE_MAIL, or look at the mail provider's log.",
    ),
    Check(
        "backup-recent", "backups", "warning", "A backup is younger than a day",
        ("backups", "now"), _recent, _BACKUP, live="error",
    ),
    Check(
        "backup-verified", "backups", "warning", "Newest backup was verified",
        ("backups",), _verified, "shimmy-ops backup verify FILE --profile PROFILE", live="error",
    ),
    Check(
        "site-built", "site", "warning", "Site is built",
        ("site_folder", "profile"), _site_built, _BUILD, live="error",
    ),
    Check(
        "site-sound", "site", "error", "Site's own check finds nothing",
        ("site_check",), _site_check, "shimmy-store site check FOLDER --mode MODE shows all.",
    ),
    Check(
        "site-answers", "site", "warning", "Site answers",
        ("site_page", "profile"), _site_answers,
        "Publish site_folder where site_url leads.", live="error",
    ),
    Check(
        "site-leads-to-store", "site", "error", "Site's buttons lead to this store",
        ("site_page", "profile"), _site_leads, f"{_BUILD}, and publish it.",
    ),
    Check(
        "tree-clean", "safety", "error", "No secret is in the working tree",
        ("tree_scan",), _clean, "shimmy-ops secrets-scan shows each, and what to do.",
    ),
    Check(
        "models-real", "safety", "error", "No model of random weights in live mode",
        ("synthetic", "profile"), _no_synthetic, "unset SHIMMY_ALLOW_SYNTHETIC",
    ),
)  # fmt: skip
