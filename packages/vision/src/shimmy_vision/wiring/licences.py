"""How the licence use cases get what they work with."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from shimmy_vision.adapters.licence.background_sync import BackgroundSync
from shimmy_vision.adapters.licence.folder_page_claims import open_claims
from shimmy_vision.adapters.licence.keygen_licences import KeygenLicences
from shimmy_vision.adapters.licence.signed_exchange import SignedExchange
from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.adapters.licence.system_machine_id import find_machine_id, in_container
from shimmy_vision.adapters.quiet_libraries import quiet_libraries
from shimmy_vision.domain.licence.licence_key import clean_key
from shimmy_vision.domain.licence.licensor import choose_api_url
from shimmy_vision.domain.licence.machine_id import MachineId, fingerprint_of
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.errors import LicenceError, UsageError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.vision_order import LicenceOrder
from shimmy_vision.settings import Settings
from shimmy_vision.use_cases.report_pages import report_pages

# The licence server answers in under half a second; on a bad line nobody waits longer for it.
_LICENCE_SECONDS = 5.0
_LAST_SYNC_SECONDS = 5.0


@contextmanager
def open_licensing(settings: Settings, order: LicenceOrder) -> Iterator[Licensing]:
    """What the licence use cases work with, for the licensor pinned in this build."""
    quiet_libraries()
    try:
        api_url = choose_api_url(PINNED, settings.licence_url)
    except ValueError as error:
        raise UsageError(
            "licence-url-refused", f"SHIMMY_LICENSE_URL: {error}.", hint="Unset it."
        ) from error
    contained = in_container(settings.container)
    state = SqliteLicenceState(
        settings.state_directory / "licence.sqlite",
        PINNED.account,
        host=platform.node() if contained else "",
    )
    given = settings.licence_key if order.key is None else order.key
    machine = find_machine_id(
        order.machine_id, settings.machine_id, settings.machine_id_file, settings.container
    ) or MachineId("kept", state.machine_id())
    fingerprint = fingerprint_of(machine, PINNED.account)
    state.use_fingerprint(fingerprint)
    exchange = SignedExchange(
        api_url,
        PINNED.account,
        PINNED.public_key,
        now=_now,
        timeout=_LICENCE_SECONDS,
        offline=settings.offline,
    )
    server = KeygenLicences(exchange, PINNED.product)
    try:
        yield Licensing(
            # As it is asked, so that messages name the server that was.
            licensor=replace(PINNED, api_url=api_url),
            server=server,
            state=state,
            fingerprint=fingerprint,
            machine_name=order.machine_name or settings.machine_name or platform.node(),
            platform=f"{platform.system()} {platform.machine()}",
            given_key=None if given is None else clean_key(given),
            now=_now,
            own_id=machine.source != "kept",
            contained=contained,
            claims=open_claims(settings.fleet_directory, fingerprint),
        )
    finally:
        server.close()
        state.close()


def report_last_pages(licences: Licensing, sync: BackgroundSync) -> None:
    """What need not be here tomorrow is reported now."""
    sync.close(_LAST_SYNC_SECONDS)
    with suppress(LicenceError):
        if licences.short_lived:
            report_pages(licences, leaving=True)


def _now() -> datetime:
    return datetime.now(UTC)
