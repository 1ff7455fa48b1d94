"""What replacing a secret is done with, on a profile's settings and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import stripe

from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire
from shimmy_ops.adapters.deploying.logged_commands import LoggedCommands
from shimmy_ops.adapters.gathering.web_pages import WebPages
from shimmy_ops.adapters.rotation.environment_secrets import EnvironmentSecrets, Put
from shimmy_ops.adapters.rotation.rotation_files import RotationFiles
from shimmy_ops.adapters.rotation.tried_secrets import TriedSecrets
from shimmy_ops.domain.deploying.images import image_words
from shimmy_ops.domain.deploying.worker_words import worker_words
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.rotation.sequence import GIVEN, Kind
from shimmy_ops.domain.rotation.state import Rotation
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import RotationError
from shimmy_ops.settings import child_environment
from shimmy_ops.use_cases.put_in_place import Yard
from shimmy_ops.use_cases.tell_store import Hands
from shimmy_ops.wiring.accounts import (
    TIMEOUT_SECONDS,
    desired_state,
    fresh_attempt,
    fresh_secret,
    http_client,
    need_credential,
    open_accounts,
    open_stripe,
)
from shimmy_ops.wiring.releases import open_yard, release_time
from shimmy_ops.wiring.store import open_desk


@dataclass(frozen=True, slots=True)
class Asked:
    """How a secret is to be replaced; ``environment`` is the store's file."""

    environment: Path | None
    patience_seconds: float
    attested: str = ""
    at_once: bool = False


def rotations(profile: Profile, base: Path) -> tuple[Rotation, ...]:
    """The newest of each kind."""
    return RotationFiles(base / profile.state_folder / "rotations").listed()


def refuse_open_rotations(profile: Profile, base: Path, kinds: Sequence[Kind]) -> None:
    """Raises RotationError while one of these is being replaced."""
    for one in rotations(profile, base):
        if one.kind in kinds and one.next_step is not None:
            raise RotationError(
                "rotation-unfinished",
                f"The {one.kind} is being replaced.",
                hint=f"shimmy-ops rotate {one.kind} --profile {profile.name} ends that first.",
            )


@contextmanager
def open_hands(
    profile: Profile, base: Path, kind: Kind, asked: Asked, told: Callable[[str], None]
) -> Iterator[tuple[Desired, Hands]]:
    """Raises OpsError."""
    log = base / profile.state_folder / "rotations" / f"{kind}.log"
    commands = LoggedCommands(base, log, child_environment())
    with ExitStack() as stack:
        yard = stack.enter_context(open_yard(profile, base, told, asked.patience_seconds))
        put = _put(profile, yard, commands)
        desired = desired_state(profile)
        yield (
            desired,
            Hands(
                profile=profile,
                yard=yard,
                secrets=EnvironmentSecrets(_environment(profile, base, asked), base, put),
                states=RotationFiles(base / profile.state_folder / "rotations"),
                believers=_believers(profile, base, desired, stack),
                accounts=stack.enter_context(open_accounts(profile, base)),
                begins_anew=yard.places.restarts() or put is not None,
                fresh=fresh_secret,
                attempt=fresh_attempt,
                given=lambda: need_credential(profile, GIVEN[kind]),
                attested=asked.attested,
                at_once=asked.at_once,
            ),
        )


def _environment(profile: Profile, base: Path, asked: Asked) -> str:
    path = asked.environment
    if path is None and profile.config_current:
        path = base / profile.config_current
    if path is None:
        raise RotationError(
            "rotation-no-environment",
            "Nobody says which environment the store is started with.",
            hint="--env FILE, or config_current in the profile.",
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RotationError(
            "rotation-environment-unreadable", f"{path} cannot be read: {type(error).__name__}."
        ) from error


def _put(profile: Profile, yard: Yard, commands: LoggedCommands) -> Put | None:
    """How whoever runs the store elsewhere is told; None where it reads our files."""
    words = profile.secret_put
    state = yard.shelf.state()
    if not words and profile.wrangler and state.active is not None:
        active = yard.shelf.history().find(state.active)
        if "worker" in active.parts:
            folder = yard.shelf.folder(active.parts["worker"])
            words = worker_words(profile, str(folder)).put_secret("{name}")
    if not words:
        return None

    def put(variable: str, value: str) -> None:
        said = commands.run(image_words(words, {"name": variable}), value)
        if said.code:
            raise RotationError(
                "secret-not-put",
                f"Putting {variable} ended with {said.code}.",
                hint="The log in rotations/ has what it said; run the same command again.",
            )

    return put


def _believers(profile: Profile, base: Path, desired: Desired, stack: ExitStack) -> TriedSecrets:
    pages = WebPages(stack.enter_context(http_client(profile, "")))
    ours = stack.enter_context(open_stripe(profile))
    plans = [plan.id for plan in desired.offer.plans]

    def at_keygen(token: str) -> AbstractContextManager[KeygenWire]:
        return _keygen_on(profile, token)

    def at_stripe(key: str) -> AbstractContextManager[stripe.StripeClient]:
        return _stripe_on(profile, key)

    return TriedSecrets(
        profile, pages, lambda: open_desk(profile, base), (at_stripe, at_keygen, ours),
        release_time, plans,
    )  # fmt: skip


@contextmanager
def _keygen_on(profile: Profile, token: str) -> Iterator[KeygenWire]:
    account = f"{profile.keygen_url}/v1/accounts/{profile.keygen_account}/"
    with http_client(profile, account, {"Authorization": f"Bearer {token}"}) as client:
        yield KeygenWire(client)


@contextmanager
def _stripe_on(profile: Profile, key: str) -> Iterator[stripe.StripeClient]:
    http = stripe.RequestsClient(timeout=TIMEOUT_SECONDS)
    try:
        yield stripe.StripeClient(
            key,
            base_addresses={"api": profile.stripe_url} if profile.stripe_url else {},
            http_client=http,
        )
    finally:
        http.close()  # type: ignore[no-untyped-call]
