"""Whether the keys are those of this profile, and kept where nobody else looks."""

from __future__ import annotations

from collections.abc import Mapping

from shimmy_ops.domain.licensing_steps import our_product
from shimmy_ops.domain.preflight.checking import Check, Failed, Held, Skipped, Verdict, listed
from shimmy_ops.domain.preflight.facts import (
    KeptFiles,
    KeygenAccount,
    KeyState,
    Standing,
    Unasked,
)
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.steps import BillingFound, LicensingFound, secret_name
from shimmy_ops.domain.store_env import MADE
from shimmy_ops.domain.wanted import TOKEN_NAME, Desired

_PRIVATE_FOLDER = 0o700
_PROVISION = "shimmy-ops provision --profile PROFILE --apply --write-env FILE"


def _key_mode(key: KeyState) -> Verdict:
    if key.problem:
        return Failed(key.problem, key.remedy)
    return Held("A key of the profile's mode is given.")


def _stripe_answers(billing: BillingFound | Unasked) -> Verdict:
    if isinstance(billing, Unasked):
        return Failed(billing.why, billing.remedy)
    return Held(f"Stripe let us read {len(billing.prices)} prices.")


def _mode_agrees(billing: BillingFound, profile: Profile) -> Verdict:
    shown = (*billing.prices, *billing.products, *billing.endpoints, *billing.portals)
    modes = {bool(one["livemode"]) for one in shown if "livemode" in one}
    if not modes:
        return Unasked("There is nothing at Stripe yet that would tell its mode.", _PROVISION)
    if modes != {profile.livemode}:
        return Failed(f"Stripe's objects are of {_mode(not profile.livemode)} mode.")
    return Held(f"Stripe's objects are of {_mode(profile.livemode)} mode.")


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"


def _allowed(what: str, profile: Profile, *, allowed: bool) -> Verdict:
    if not profile.livemode:
        return Skipped("Only real money needs it.")
    return Held(f"{what}: yes.") if allowed else Failed(f"{what}: no.")


def _charges(standing: Standing, profile: Profile) -> Verdict:
    return _allowed("The account may charge", profile, allowed=standing.charges_enabled)


def _payouts(standing: Standing, profile: Profile) -> Verdict:
    return _allowed("The account is paid out", profile, allowed=standing.payouts_enabled)


def _details(standing: Standing, profile: Profile) -> Verdict:
    known = standing.details_submitted
    return _allowed("The business has told Stripe about itself", profile, allowed=known)


def _keygen_answers(licensing: LicensingFound | Unasked) -> Verdict:
    if isinstance(licensing, Unasked):
        return Failed(licensing.why, licensing.remedy)
    return Held(f"Keygen let us read {len(licensing.policies)} policies.")


def _account_agrees(account: KeygenAccount, profile: Profile) -> Verdict:
    if profile.keygen_account.lower() in _names(account):
        return Held(f"The token is of account {profile.keygen_account}.")
    return Failed("The token is of another account than the profile's.")


def _accounts_apart(account: KeygenAccount, tables: Mapping[str, str], profile: Profile) -> Verdict:
    """The file may name one account by its id in one table and by its slug in the other."""
    names = {profile.keygen_account.lower(), *_names(account)}
    shared = [one for one, named in tables.items() if one != profile.name and named in names]
    if profile.name == "sandbox":
        return Skipped("A sandbox has an account of its own.")
    if shared:
        return Failed(f"Profile {listed(shared)} has the same Keygen account.")
    return Held("No other profile of the file has this Keygen account.")


def _names(account: KeygenAccount) -> set[str]:
    return {account.id.lower(), account.slug.lower()} - {""}


def _replies_signed(account: KeygenAccount) -> Verdict:
    if not account.public_key:
        return Failed("Keygen's account tells no Ed25519 key.")
    if not account.signed:
        return Failed("Keygen's reply is not signed with the key that it tells.")
    return Held("Keygen's reply is signed with the account's key.")


def _secrets_kept(
    desired: Desired, billing: BillingFound, licensing: LicensingFound, held: frozenset[str]
) -> Verdict:
    missing = sorted(set(MADE.values()) - held)
    marked = [
        one["id"]
        for one in billing.endpoints
        if (one["metadata"] or {}).get("shimmy") == "store"
        and secret_name("endpoint", one["id"]) in held
    ]
    tokens = [
        one["id"]
        for one in licensing.tokens
        if one["name"] == TOKEN_NAME and secret_name("token", one["id"]) in held
    ]
    missing += [] if marked else ["the webhook endpoint's secret"]
    missing += [] if tokens and our_product(desired, licensing) else ["the store's token"]
    if missing:
        return Failed(f"Not kept here: {listed(missing)}.")
    return Held(f"All {len(MADE) + 2} secrets that were made are kept.")


def _private(files: KeptFiles) -> Verdict:
    if files.folder_mode is None:
        return Failed("There is no folder of secrets yet.", _PROVISION)
    if files.open_files:
        return Failed(f"Not 0600: {listed(files.open_files)}.")
    if files.folder_mode != _PRIVATE_FOLDER:
        return Failed(f"The folder's mode is {files.folder_mode:04o} and not 0700.")
    return Held("The folder of secrets is 0700, and every file in it is 0600.")


def _outside_git(files: KeptFiles) -> Verdict:
    if files.in_git:
        return Failed("The folder of secrets is inside a git repository.")
    return Held("The folder of secrets is in no git repository.")


_ACTIVATE = "Stripe's dashboard, Settings, Business: answer what is still asked there."
CREDENTIAL_CHECKS = (
    Check(
        "stripe-key-mode", "credentials", "error", "Stripe key is of the profile's mode",
        ("stripe_key",), _key_mode,
        "Give the key by SHIMMY_OPS_PROFILE_STRIPE_KEY_FILE (docs/ops.md).",
    ),
    Check(
        "stripe-answers", "credentials", "error", "Stripe lets us in",
        ("billing",), _stripe_answers,
        "Check the key at Stripe's dashboard, Developers, API keys.", hears_all=True,
    ),
    Check(
        "stripe-mode-agrees", "credentials", "error", "Stripe's objects are of the profile's mode",
        ("billing", "profile"), _mode_agrees,
        "Give this profile a key of its own mode.",
    ),
    Check(
        "stripe-charges", "credentials", "info", "Stripe account may charge",
        ("standing", "profile"), _charges, _ACTIVATE, live="error",
    ),
    Check(
        "stripe-payouts", "credentials", "info", "Stripe account is paid out",
        ("standing", "profile"), _payouts, _ACTIVATE, live="error",
    ),
    Check(
        "stripe-details", "credentials", "info", "Stripe knows the business",
        ("standing", "profile"), _details, _ACTIVATE, live="error",
    ),
    Check(
        "keygen-answers", "credentials", "error", "Keygen lets us in",
        ("licensing",), _keygen_answers,
        "Give an admin's token by SHIMMY_OPS_PROFILE_KEYGEN_TOKEN_FILE.", hears_all=True,
    ),
    Check(
        "keygen-account-agrees", "credentials", "error", "Keygen account is the profile's",
        ("keygen_account", "profile"), _account_agrees,
        "Correct keygen_account in the profile, or give a token of that account.",
    ),
    Check(
        "keygen-accounts-apart", "credentials", "error", "Test and live share no Keygen account",
        ("keygen_account", "tables", "profile"), _accounts_apart,
        "Make a second account at Keygen for the test profile.",
    ),
    Check(
        "keygen-replies-signed", "credentials", "error", "Keygen signs with the account's key",
        ("keygen_account",), _replies_signed,
        "Let nothing change Keygen's replies on the way; its dashboard shows the key, too.",
    ),
    Check(
        "secrets-kept", "credentials", "error", "Secrets that were made are kept",
        ("desired", "billing", "licensing", "held"), _secrets_kept, _PROVISION,
    ),
    Check(
        "secrets-private", "credentials", "error", "Secrets are their owner's alone",
        ("kept_files",), _private,
        "chmod 700 FOLDER; chmod 600 FOLDER/*; replace the secrets if others had an account here.",
    ),
    Check(
        "secrets-outside-git", "credentials", "error", "Secrets lie in no repository",
        ("kept_files",), _outside_git,
        "Set secrets_folder to a folder outside, and move the files there.",
    ),
)  # fmt: skip
