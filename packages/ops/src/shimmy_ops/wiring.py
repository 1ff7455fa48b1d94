"""The one place where the operator's tools meet their adapters."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import stripe

from shimmy_ops.adapters.allow_list_file import find_allow_list, read_allow_list
from shimmy_ops.adapters.archive_members import ArchiveMembers
from shimmy_ops.adapters.contract_files import read_contract
from shimmy_ops.adapters.file_safe import FileSafe
from shimmy_ops.adapters.git_commands import GitCommands
from shimmy_ops.adapters.git_history import GitHistory
from shimmy_ops.adapters.keygen_licensing import KeygenLicensing
from shimmy_ops.adapters.keygen_wire import KeygenWire
from shimmy_ops.adapters.keyring_safe import KeyringSafe, SystemKeyring
from shimmy_ops.adapters.private_files import PrivateEnvironmentFile
from shimmy_ops.adapters.profile_file import read_profile_file
from shimmy_ops.adapters.scanned_files import ScannedFiles
from shimmy_ops.adapters.secret_sources import Secret, find_secret, need_secret
from shimmy_ops.adapters.stripe_billing import StripeBilling
from shimmy_ops.domain.contracts import parse_offer
from shimmy_ops.domain.credentials import CREDENTIALS, KEYGEN_TOKEN, STRIPE_KEY
from shimmy_ops.domain.profile import Profile, ProfileName, parse_profile
from shimmy_ops.domain.secrets.allowances import Allowance
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import ScanError
from shimmy_ops.ports.environment_file import EnvironmentFile
from shimmy_ops.ports.safe import Safe
from shimmy_ops.ports.scanning import PieceSource, Unpacker
from shimmy_ops.settings import given_secret
from shimmy_ops.use_cases.apply_provision import Accounts

_TIMEOUT_SECONDS = 30
_RETRIES = 2


@dataclass(frozen=True, slots=True)
class ScanOrder:
    """What is scanned, with which allow-list; ``whole`` where all that the list is for is read."""

    sources: tuple[PieceSource, ...]
    unpacker: Unpacker
    allowances: tuple[Allowance, ...]
    list_path: str
    whole: bool


def scan_order(
    places: Sequence[Path], allow_list: Path | None, *, history: bool, everything: bool
) -> ScanOrder:
    """The places, and the history around each folder of them; without any, this folder."""
    git, chosen = GitCommands(), tuple(places) or (Path(),)
    for place in chosen:
        if not place.exists():
            raise ScanError("place-missing", f"{place} does not exist.")
    folders = [place for place in chosen if place.is_dir()]
    files = [ScannedFiles(place, git, everything=everything) for place in chosen]
    histories = [GitHistory(folder, git) for folder in folders] if history else []
    if history and not histories:
        raise ScanError("place-missing", "--history needs a folder of a repository.")
    start = (folders[0] if folders else Path()).resolve()
    top = git.top(start)
    path = allow_list or find_allow_list(start, top)
    return ScanOrder(
        (*files, *histories),
        ArchiveMembers(),
        read_allow_list(path) if path else (),
        str(path or ""),
        whole=history and path is not None and top == path.resolve().parent == start,
    )


def scan_today() -> date:
    """The day that entries of an allow-list expire by."""
    return datetime.now(UTC).date()


def read_profile(config: Path, name: ProfileName) -> Profile:
    """A profile of the operator's file. Raises ProfileError."""
    return parse_profile(read_profile_file(config), name)


def find_credentials(profile: Profile) -> dict[str, Secret | None]:
    """Each secret that a profile needs, where it was found. Raises ProfileError, KeepingError."""
    keyring = SystemKeyring(profile.name)
    return {
        one: find_secret(profile.name, one, given_secret(profile.name, one), keyring)
        for one in CREDENTIALS
    }


def desired_state(profile: Profile) -> Desired:
    """What the contracts and the profile ask for. Raises ContractError."""
    offer = parse_offer(read_contract("plans.json"), read_contract("webhook_events.json"))
    return Desired(offer, profile)


@contextmanager
def open_accounts(profile: Profile, base: Path, retries: int = _RETRIES) -> Iterator[Accounts]:
    """Stripe, Keygen and the safe of a profile; ``base`` is where its folders are. Raises OpsError.

    ``retries`` of a request to Stripe, which knows each write again by its key; to Keygen none.
    """
    keyring = SystemKeyring(profile.name)
    values = {
        one: need_secret(profile.name, one, given_secret(profile.name, one), keyring)
        for one in (STRIPE_KEY, KEYGEN_TOKEN)
    }
    keeping_in_files = profile.keep == "file"
    safe: Safe = (
        FileSafe(base / profile.secrets_folder) if keeping_in_files else KeyringSafe(keyring)
    )
    with ExitStack() as stack:
        http = stripe.RequestsClient(timeout=_TIMEOUT_SECONDS)
        stack.callback(http.close)
        client = stripe.StripeClient(
            values[STRIPE_KEY],
            base_addresses={"api": profile.stripe_url} if profile.stripe_url else {},
            http_client=http,
            max_network_retries=retries,
        )
        wire = KeygenWire(stack.enter_context(_keygen_client(profile, values[KEYGEN_TOKEN])))
        yield Accounts(StripeBilling(client), KeygenLicensing(wire), safe)


def _keygen_client(profile: Profile, token: str) -> httpx.Client:
    inside = profile.name == "sandbox"
    return httpx.Client(
        base_url=f"{profile.keygen_url}/v1/accounts/{profile.keygen_account}/",
        headers={"Authorization": f"Bearer {token}"},
        timeout=_TIMEOUT_SECONDS,
        # A sandbox is on loopback: no proxy lies between, and no certificate is asked for.
        trust_env=not inside,
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if inside else True,
    )


def environment_file(path: Path) -> EnvironmentFile:
    """The file that the store is started with."""
    return PrivateEnvironmentFile(path)


def fresh_attempt() -> str:
    """What no other run says."""
    return uuid.uuid4().hex
