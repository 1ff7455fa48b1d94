"""Which accounts and addresses one set-up of the store has: a table of ``shimmy-ops.toml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from shimmy_ops.domain.credentials import looks_secret
from shimmy_ops.errors import ProfileError

ProfileName: TypeAlias = Literal["sandbox", "test", "live"]
Keeping: TypeAlias = Literal["file", "keyring"]
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
KEYGEN = "https://api.keygen.sh"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WEBHOOK_PATH, _RETURN_PATH = "/stripe-webhook", "/view-license"


@dataclass(frozen=True, slots=True)
class Profile:
    """Nothing in here is secret.

    ``webhook_url``         where Stripe delivers events; the store's own address for them
    ``keygen_product``      the id of a product that exists already; empty: found by its code
    ``keygen_permissions``  the store's token is given single permissions (Keygen Enterprise)
    ``keep``                where made secrets are kept: files in ``secrets_folder``, or the keyring
    ``state_folder``        what our own commands remember: receipts, samples, the launch's record
    ``site_url``            where the static site answers; empty: there is none
    ``site_folder``         the built site, before it goes out
    ``operator_mail``       where the store's test mails go, and whom a live transaction's go to
    ``alert_mail``          where alerts go; empty: to ``operator_mail``
    ``tickets_file``        support's tickets, exported: CSV or a mailbox
    ``release_folder``      records and artefacts of what was released
    ``wrangler``            words that begin each of Cloudflare's commands
    ``worker_env``          which of its environments; empty: production in live mode, else test
    ``container_image``     the image's name, without a tag
    ``secret_put``          words of a command that is given a secret on its input, ``{name}`` in it
    """

    name: ProfileName
    store_url: str
    keygen_account: str
    mail_from: str
    webhook_url: str
    stripe_url: str = ""
    keygen_url: str = KEYGEN
    keygen_product: str = ""
    keygen_permissions: bool = False
    portal_headline: str = ""
    privacy_url: str = ""
    terms_url: str = ""
    keep: Keeping = "file"
    secrets_folder: str = ""
    state_folder: str = ""
    site_url: str = ""
    site_folder: str = ""
    operator_mail: str = ""
    alert_mail: str = ""
    tickets_file: str = ""
    release_folder: str = ""
    site_current: str = ""
    config_current: str = ""
    restart_command: tuple[str, ...] = ()
    worker_deploy: tuple[str, ...] = ()
    smoke_paths: tuple[str, ...] = ("/health", "/pricing")
    wrangler: tuple[str, ...] = ()
    worker_env: str = ""
    container_image: str = ""
    container_build: tuple[str, ...] = ()
    container_push: tuple[str, ...] = ()
    container_deploy: tuple[str, ...] = ()
    static_deploy: tuple[str, ...] = ()
    secret_put: tuple[str, ...] = ()

    @property
    def livemode(self) -> bool:
        """Whether real money moves."""
        return self.name == "live"

    @property
    def return_url(self) -> str:
        """Where customers come back to from the portal."""
        return f"{self.store_url}{_RETURN_PATH}"


_FLAGS = ("keygen_permissions",)
_LISTS = (
    "restart_command", "worker_deploy", "smoke_paths", "wrangler", "container_build",
    "container_push", "container_deploy", "static_deploy", "secret_put",
)  # fmt: skip
_ADDRESSES = (
    "store_url", "webhook_url", "stripe_url", "keygen_url", "privacy_url", "terms_url", "site_url"
)  # fmt: skip
_FORMS: Mapping[str, tuple[str, str]] = {
    "keygen_account": (r"[\w-]+", "the account's id or slug"),
    "keygen_product": (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a product's id"),
    "mail_from": (r"[^\r\n]+@[^\r\n]+", "Name <address@example.com>"),
    "portal_headline": (r"[^\r\n]{1,60}", "one line of at most 60 letters"),
    "keep": (r"file|keyring", "file or keyring"),
    "worker_env": (r"[\w-]+", "an environment of wrangler.jsonc"),
    "container_image": (r"[\w./:-]+", "registry.example.com/shop/store"),
    **dict.fromkeys(
        ("secrets_folder", "state_folder", "site_folder", "release_folder"),
        (r"[^\0]+", "a folder"),
    ),
    **dict.fromkeys(("tickets_file", "site_current", "config_current"), (r"[^\0]+", "a file")),
    **dict.fromkeys(
        ("operator_mail", "alert_mail"), (r"[^\s@<>]+@[^\s@<>]+", "address@example.com")
    ),
    **dict.fromkeys(
        ("store_url", "stripe_url", "keygen_url"), (r"https?://[^/?#\s]+", "an origin")
    ),
    **dict.fromkeys(
        ("webhook_url", "privacy_url", "terms_url", "site_url"), (r"https?://\S+", "an address")
    ),
}
_REQUIRED = ("store_url", "keygen_account", "mail_from")


def parse_profile(data: Mapping[str, Any], name: ProfileName) -> Profile:
    """The table ``name`` of the file. Raises ProfileError that lists all that is wrong.

    A secret anywhere in the file is refused, whatever profile is asked for, and never repeated.
    """
    _refuse_secrets(data, "")
    _refuse_shared_account(data)
    table = data.get(name)
    if not isinstance(table, dict):
        raise ProfileError(
            "profile-missing",
            f"The file has no table [{name}].",
            hint="docs/ops.md shows one for each of sandbox, test and live.",
        )
    given = {
        "webhook_url": _webhook(table),
        "secrets_folder": f"shimmy-secrets/{name}",
        "state_folder": f"shimmy-state/{name}",
        "release_folder": f"shimmy-releases/{name}",
        **table,
    }
    problems = [*_unknown(data, table), *_malformed(given), *_misplaced(name, given)]
    if problems:
        raise ProfileError(
            "profile-invalid", f"Profile {name} is not complete:\n  " + "\n  ".join(problems)
        )
    lists = {one: tuple(given[one]) for one in _LISTS if one in given}
    return Profile(name=name, **{**given, **lists})


def _webhook(table: Mapping[str, Any]) -> str:
    return f"{table.get('store_url', '')}{_WEBHOOK_PATH}"


def _refuse_secrets(data: Mapping[str, Any], place: str) -> None:
    for name, value in data.items():
        here = f"{place}{name}"
        if isinstance(value, dict):
            _refuse_secrets(value, f"{here}.")
            continue
        values = value if isinstance(value, list) else [value]
        if any(looks_secret(name, one) for one in values):
            raise ProfileError(
                "secret-in-profile",
                f"{here} is, or looks like, a secret: secrets never stand in this file.",
                hint="Give it by environment, file or keyring (docs/ops.md), and replace it at "
                "whoever issued it if this file was ever shared.",
            )


def _refuse_shared_account(data: Mapping[str, Any]) -> None:
    tables = (data.get("test"), data.get("live"))
    accounts = [one.get("keygen_account") for one in tables if isinstance(one, dict)]
    if len(accounts) == len(tables) and accounts[0] == accounts[1] is not None:
        raise ProfileError(
            "keygen-account-shared",
            "Profiles test and live have one Keygen account: a licence paid with a test card would "
            "be as good as a real one.",
            hint="Make a second account at Keygen for the test profile.",
        )


def _unknown(data: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    known = {one.name for one in fields(Profile)} - {"name"}
    tables = [f"[{one}] is no profile" for one in data if one not in PROFILES]
    return tables + [f"{one} is no setting" for one in table if one not in known]


def _malformed(given: Mapping[str, Any]) -> list[str]:
    problems = [f"{name} is missing" for name in _REQUIRED if not given.get(name)]
    for name, value in given.items():
        if name in _FLAGS and not isinstance(value, bool):
            problems.append(f"{name} must be true or false")
        if name in _LISTS and not _is_words(name, value):
            problems.append(f'{name} must be a list, as in ["one", "two"]')
        if name not in _FORMS or name not in given or (name in _REQUIRED and not value):
            continue
        form, example = _FORMS[name]
        if name == "webhook_url" and not given.get("store_url"):
            continue
        if not isinstance(value, str) or not re.fullmatch(form, value):
            problems.append(f"{name} is not of the right form ({example})")
    return problems


def _is_words(name: str, value: object) -> bool:
    """A command's words, or paths that begin with a slash."""
    begins = "/" if name == "smoke_paths" else ""
    return isinstance(value, list) and all(
        isinstance(one, str) and one and one.startswith(begins) and "\0" not in one for one in value
    )


def _misplaced(profile: ProfileName, given: Mapping[str, Any]) -> list[str]:
    """Addresses that are not where this profile may reach."""
    problems = []
    for name in _ADDRESSES:
        value = given.get(name)
        if not isinstance(value, str) or not value.startswith("http"):
            continue
        inside = _host(value) in _LOOPBACK
        if profile == "sandbox" and not inside:
            problems.append(f"{name} must be on loopback: a sandbox talks to nobody else")
        if profile != "sandbox" and name in ("stripe_url", "keygen_url"):
            problems.append(f"{name} is for the sandbox only")
        elif profile != "sandbox" and (inside or not value.startswith("https://")):
            problems.append(f"{name} must be https and not on loopback")
    if profile == "sandbox":
        missing = [one for one in ("stripe_url", "keygen_url") if not given.get(one)]
        problems += [f"{one} is missing: where the sandbox is" for one in missing]
    return problems


def _host(address: str) -> str | None:
    """None where what it names cannot be."""
    try:
        place = urlsplit(address)
        return place.hostname if place.port != 0 and place.username is None else None
    except ValueError:
        return None
