"""The profile, its secrets, and the accounts that they open."""

from __future__ import annotations

import secrets
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import stripe

from shimmy_ops.adapters.accounts.keygen_licensing import KeygenLicensing
from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire
from shimmy_ops.adapters.accounts.stripe_billing import StripeBilling
from shimmy_ops.adapters.keeping.contract_files import read_contract
from shimmy_ops.adapters.keeping.file_safe import FileSafe
from shimmy_ops.adapters.keeping.keyring_safe import KeyringSafe, SystemKeyring
from shimmy_ops.adapters.keeping.private_files import PrivateEnvironmentFile
from shimmy_ops.adapters.keeping.profile_file import read_profile_file
from shimmy_ops.adapters.keeping.secret_sources import Secret, find_secret, need_secret
from shimmy_ops.domain.contracts import parse_offer
from shimmy_ops.domain.credentials import CREDENTIALS, KEYGEN_TOKEN, STRIPE_KEY
from shimmy_ops.domain.profile import Profile, ProfileName, parse_profile
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.ports.environment_file import EnvironmentFile
from shimmy_ops.ports.safe import Safe
from shimmy_ops.settings import given_secret
from shimmy_ops.use_cases.apply_provision import Accounts

TIMEOUT_SECONDS = 30
_RETRIES = 2


def read_profile(config: Path, name: ProfileName) -> Profile:
    """A profile of the operator's file. Raises ProfileError."""
    return parse_profile(read_profile_file(config), name)


def find_credentials(profile: Profile) -> dict[str, Secret | None]:
    """Each secret a profile may have, where it was found. Raises ProfileError, KeepingError."""
    return {one: find_credential(profile, one) for one in CREDENTIALS}


def find_credential(profile: Profile, name: str) -> Secret | None:
    """One secret, None where nobody gave it. Raises ProfileError, KeepingError."""
    keyring = SystemKeyring(profile.name)
    return find_secret(profile.name, name, given_secret(profile.name, name), keyring)


def need_credential(profile: Profile, name: str) -> str:
    """One secret. Raises ProfileError where nobody gave it."""
    keyring = SystemKeyring(profile.name)
    return need_secret(profile.name, name, given_secret(profile.name, name), keyring)


def desired_state(profile: Profile) -> Desired:
    """What the contracts and the profile ask for. Raises ContractError."""
    offer = parse_offer(read_contract("plans.json"), read_contract("webhook_events.json"))
    return Desired(offer, profile)


def open_safe(profile: Profile, base: Path) -> Safe:
    """Where made secrets are kept; ``base`` is where the profile's folders are."""
    if profile.keep == "file":
        return FileSafe(base / profile.secrets_folder)
    return KeyringSafe(SystemKeyring(profile.name))


@contextmanager
def open_stripe(profile: Profile, retries: int = _RETRIES) -> Iterator[stripe.StripeClient]:
    """Stripe's own client on the profile's key. Raises ProfileError.

    ``retries`` of a request: Stripe knows each write again by its key.
    """
    key = need_credential(profile, STRIPE_KEY)
    with ExitStack() as stack:
        http = stripe.RequestsClient(timeout=TIMEOUT_SECONDS)
        stack.callback(http.close)
        yield stripe.StripeClient(
            key,
            base_addresses={"api": profile.stripe_url} if profile.stripe_url else {},
            http_client=http,
            max_network_retries=retries,
        )


@contextmanager
def open_keygen(profile: Profile) -> Iterator[KeygenWire]:
    """Keygen as an admin; nothing is sent twice. Raises ProfileError."""
    token = need_credential(profile, KEYGEN_TOKEN)
    account = f"{profile.keygen_url}/v1/accounts/{profile.keygen_account}/"
    with http_client(profile, account, {"Authorization": f"Bearer {token}"}) as client:
        yield KeygenWire(client)


@contextmanager
def open_accounts(profile: Profile, base: Path, retries: int = _RETRIES) -> Iterator[Accounts]:
    """Stripe, Keygen and the safe; ``base`` is where the profile's folders are. Raises OpsError."""
    with ExitStack() as stack:
        client = stack.enter_context(open_stripe(profile, retries))
        wire = stack.enter_context(open_keygen(profile))
        yield Accounts(StripeBilling(client), KeygenLicensing(wire), open_safe(profile, base))


def http_client(
    profile: Profile, base_url: str, headers: Mapping[str, str] | None = None
) -> httpx.Client:
    """A client for one of a profile's servers; whoever asks closes it.

    A sandbox is on loopback: no proxy lies between, and no certificate is asked for.
    """
    inside = profile.name == "sandbox"
    return httpx.Client(
        base_url=base_url,
        headers=headers,
        timeout=TIMEOUT_SECONDS,
        trust_env=not inside,
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if inside else True,
    )


def environment_file(path: Path) -> EnvironmentFile:
    """The file that the store is started with."""
    return PrivateEnvironmentFile(path)


def fresh_secret() -> str:
    """43 letters that nobody can guess."""
    return secrets.token_urlsafe(32)


def fresh_attempt() -> str:
    """What no other run says."""
    return uuid.uuid4().hex
