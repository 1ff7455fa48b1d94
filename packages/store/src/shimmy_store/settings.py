"""How this store runs, from the environment: the only module that reads it.

Every secret may also stand in a file that ``NAME_FILE`` names, as containers hand them out. All
that is wrong is said at once; no value of a secret is ever repeated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from shimmy_store.domain.catalog import PLAN_IDS, PlanId
from shimmy_store.domain.ed25519 import is_public_key
from shimmy_store.errors import SettingsError

Mode: TypeAlias = Literal["test", "live"]
Host: TypeAlias = Literal["machine", "worker"]

_PREFIX = "SHIMMY_STORE_"
# Prometheus's client reads it too, the moment it is imported.
_SHARED_METERS = "PROMETHEUS_MULTIPROC_DIR"
# OpenTelemetry's own, by which whoever runs a machine tells all its programs where to send traces.
_COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# What must not be read by whoever may look at a deployment: a Worker keeps these as secrets.
SECRETS = ("STRIPE_KEY", "WEBHOOK_SECRETS", "KEYGEN_TOKEN", "MAIL", "SECRET")
OPTIONAL_SECRETS = ("METRICS_TOKEN", "OPERATOR_TOKEN")
PLAIN = (
    "MODE",
    "URL",
    "KEYGEN_ACCOUNT",
    "KEYGEN_POLICIES",
    "KEYGEN_PUBLIC_KEY",
    "MAIL_FROM",
    "LEDGER",
    "STRIPE_URL",
    "KEYGEN_URL",
    "PORTAL",
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STRIPE_PAGES = ("https://checkout.stripe.com", "https://billing.stripe.com")
_SHORTEST_SECRET = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """``url`` has no slash at its end. ``secrets``: the first signs, all are believed.

    ``traced``: a collector of traces is named; where it is, OpenTelemetry's SDK reads itself.
    """

    mode: Mode
    url: str
    stripe_key: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    keygen_account: str
    keygen_token: str = field(repr=False)
    policies: Mapping[PlanId, str]
    mail: str = field(repr=False)
    mail_from: str
    ledger: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    stripe_url: str = ""
    keygen_url: str = "https://api.keygen.sh"
    portal: str = ""
    metrics_tokens: tuple[str, ...] = field(repr=False, default=())
    pay_origins: tuple[str, ...] = _STRIPE_PAGES
    operator_tokens: tuple[str, ...] = field(repr=False, default=())
    keygen_public_key: str = ""
    traced: bool = False

    @property
    def livemode(self) -> bool:
        """Whether real money moves."""
        return self.mode == "live"


def variables_of(bindings: object) -> Mapping[str, str]:
    """Our variables out of a host's own object, which has each as an attribute or has it not."""
    names = [f"{_PREFIX}{name}" for name in (*PLAIN, *SECRETS, *OPTIONAL_SECRETS)]
    found = {name: getattr(bindings, name, None) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def share_meters(folder: str) -> None:
    """For processes that this one starts from now on; see ``shared_meters``."""
    os.environ[_SHARED_METERS] = folder


def shared_meters() -> str:
    """The folder in which workers of one supervisor count together, or nothing."""
    return os.environ.get(_SHARED_METERS, "")


def read_settings(environ: Mapping[str, str] | None = None, host: Host = "machine") -> Settings:
    """Raises SettingsError that lists everything missing or wrong, also for this kind of host."""
    variables = os.environ if environ is None else environ
    reading = _Reading(variables)
    mode = reading.text("MODE", pattern=r"test|live", example="test or live")
    url = reading.address("URL", example="https://store.example.com")
    stripe_url = reading.address("STRIPE_URL", optional=True)
    keys = r"(sk|rk)_live_\w+" if mode == "live" else r"(sk|rk)_test_\w+"
    settings = Settings(
        mode="live" if mode == "live" else "test",
        url=url,
        stripe_key=reading.text("STRIPE_KEY", pattern=keys, example=f"a key of {mode} mode"),
        webhook_secrets=reading.several("WEBHOOK_SECRETS", pattern=r"whsec_\S+"),
        keygen_account=reading.text("KEYGEN_ACCOUNT", pattern=r"[\w-]+", example="its id"),
        keygen_token=reading.text("KEYGEN_TOKEN", pattern=r"\S+", example="a product's token"),
        policies=reading.policies("KEYGEN_POLICIES"),
        mail=reading.mail("MAIL"),
        mail_from=reading.text("MAIL_FROM", pattern=r"[^\r\n]+@[^\r\n]+", example=_FROM),
        ledger=reading.ledger("LEDGER", host),
        secrets=reading.several("SECRET", pattern=rf"\S{{{_SHORTEST_SECRET},}}"),
        stripe_url=stripe_url,
        keygen_url=reading.address("KEYGEN_URL", optional=True) or "https://api.keygen.sh",
        portal=reading.text("PORTAL", pattern=r"bpc_\w+", optional=True),
        metrics_tokens=reading.several("METRICS_TOKEN", pattern=r"\S{16,}", optional=True),
        pay_origins=(stripe_url,) if stripe_url else _STRIPE_PAGES,
        operator_tokens=reading.several("OPERATOR_TOKEN", pattern=r"[!-~]{32,200}", optional=True),
        keygen_public_key=reading.text(
            "KEYGEN_PUBLIC_KEY", pattern=r"[0-9a-f]{64}", example=_PUBLIC_KEY, optional=True
        ),
        traced=_names_collector(variables),
    )
    reading.check_public_key(settings.keygen_public_key)
    if mode == "live":
        reading.check_live(url, stripe_url)
    if host == "worker":
        reading.check_worker(settings.mail)
    reading.finish()
    return settings


_MAIL = "smtp://user:password@host:587, smtps://… or resend://KEY@api.resend.com"
_FROM = "Shimmy Vision <licences@example.com>"
_LEDGER = "sqlite:///path/ledger.sqlite or postgresql://user@host/name"
_D1 = "d1://DB, after the binding's name"
_PUBLIC_KEY = "64 hex digits, from the account's settings"


class _Reading:
    """One pass over the environment that remembers what was wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def _value(self, name: str) -> str:
        path = self._environ.get(f"{_PREFIX}{name}_FILE")
        if not path:
            return self._environ.get(f"{_PREFIX}{name}", "").strip()
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            self._problems.append(f"{_PREFIX}{name}_FILE cannot be read: {type(error).__name__}")
            return ""

    def text(self, name: str, *, pattern: str, example: str = "", optional: bool = False) -> str:
        value = self._value(name)
        if not value and optional:
            return ""
        if not value:
            self._problems.append(f"{_PREFIX}{name} is not set ({example})")
        elif not re.fullmatch(pattern, value):
            self._problems.append(
                f"{_PREFIX}{name} is not of the right form ({example or pattern})"
            )
        return value

    def several(self, name: str, *, pattern: str, optional: bool = False) -> tuple[str, ...]:
        """Separated by commas; the first is the newest."""
        values = tuple(one.strip() for one in self._value(name).split(",") if one.strip())
        if not values and not optional:
            self._problems.append(f"{_PREFIX}{name} is not set")
        if any(not re.fullmatch(pattern, one) for one in values):
            self._problems.append(f"{_PREFIX}{name} is not of the right form ({pattern})")
        return values

    def address(self, name: str, *, example: str = "", optional: bool = False) -> str:
        value = self.text(
            name, pattern=r"https?://[\w.\-\[\]:]+(:\d+)?", example=example, optional=optional
        )
        return _origin(self._place(name, value, plain="http://"))

    def mail(self, name: str) -> str:
        value = self.text(name, pattern=r"(smtps?|resend|resend\+http)://\S+", example=_MAIL)
        return self._place(name, value, plain="resend+http://")

    def _place(self, name: str, value: str, *, plain: str) -> str:
        host = _host(value)
        if host is None:
            self._problems.append(f"{_PREFIX}{name} names no host and port that could be")
        elif value.startswith(plain) and host not in _LOOPBACK:
            self._problems.append(f"{_PREFIX}{name} must be https unless it is on loopback")
        return value

    def policies(self, name: str) -> dict[PlanId, str]:
        pairs = [one.strip().partition("=") for one in self._value(name).split(",")]
        found = {plan.strip(): policy.strip() for plan, _, policy in pairs if policy.strip()}
        missing = [plan for plan in PLAN_IDS if plan not in found]
        if missing:
            self._problems.append(
                f"{_PREFIX}{name} names no policy for {', '.join(missing)} (developer=ID,…)"
            )
        if len(set(found.values())) < len(found):
            self._problems.append(f"{_PREFIX}{name} names one policy for two plans")
        return {plan: found.get(plan, "") for plan in PLAN_IDS}

    def ledger(self, name: str, host: Host) -> str:
        if host == "worker":
            return self.text(name, pattern=r"d1://[A-Za-z_]\w*", example=_D1)
        return self.text(name, pattern=r"(sqlite|postgresql)://.+", example=_LEDGER)

    def check_worker(self, mail: str) -> None:
        if mail.startswith(("smtp://", "smtps://")):
            self._problems.append(
                f"{_PREFIX}MAIL is SMTP, which a Worker cannot speak: it has no sockets."
                " Use a mail API: resend://KEY@api.resend.com"
            )

    def check_public_key(self, given: str) -> None:
        """A placeholder, as all zeros, would let anybody sign."""
        if re.fullmatch(r"[0-9a-f]{64}", given) and not is_public_key(bytes.fromhex(given)):
            self._problems.append(f"{_PREFIX}KEYGEN_PUBLIC_KEY is nobody's key ({_PUBLIC_KEY})")

    def check_live(self, url: str, stripe_url: str) -> None:
        if _host(url) in _LOOPBACK:
            self._problems.append(f"{_PREFIX}URL is on loopback: live customers cannot come there")
        if stripe_url:
            self._problems.append(f"{_PREFIX}STRIPE_URL must not be set in live mode")

    def finish(self) -> None:
        if self._problems:
            raise SettingsError(
                "settings-incomplete",
                "The store is not set up:\n  " + "\n  ".join(self._problems),
                hint="docs/store.md lists them; `shimmy-sandbox town serve` writes a set.",
            )


def _names_collector(environ: Mapping[str, str]) -> bool:
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not off and not none and any(environ.get(name, "").strip() for name in _COLLECTORS)


def _host(address: str) -> str | None:
    """Empty where it names none; None where what it names cannot be."""
    try:
        place = urlsplit(address)
        possible = place.port != 0 and bool(place.hostname) == bool(place.netloc)
    except ValueError:
        return None
    return (place.hostname or "") if possible else None


def _origin(address: str) -> str:
    """As browsers write it: in lower case, without a port that goes without saying."""
    lower = address.lower()
    scheme = lower.partition("://")[0]
    return lower.removesuffix({"http": ":80", "https": ":443"}.get(scheme, ""))
