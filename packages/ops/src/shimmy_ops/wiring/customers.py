"""Where one customer is kept: store, Stripe, Keygen, and our own receipts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from shimmy_ops.adapters.accounts.keygen_customers import KeygenCustomers
from shimmy_ops.adapters.accounts.stripe_customers import StripeCustomers
from shimmy_ops.adapters.customers.erasure_files import ErasureFiles
from shimmy_ops.adapters.customers.new_document import NewDocument as NewFile
from shimmy_ops.domain.profile import Profile
from shimmy_ops.ports.erasure_records import ErasureRecords
from shimmy_ops.ports.new_document import NewDocument
from shimmy_ops.use_cases.find_candidates import Sources
from shimmy_ops.wiring.accounts import open_keygen, open_stripe
from shimmy_ops.wiring.store import open_desk


@contextmanager
def open_sources(profile: Profile, base: Path) -> Iterator[Sources]:
    """All three; ``base`` is where the profile's folders are. Raises OpsError."""
    with ExitStack() as stack:
        desk = stack.enter_context(open_desk(profile, base))
        client = stack.enter_context(open_stripe(profile))
        wire = stack.enter_context(open_keygen(profile))
        yield Sources(desk, StripeCustomers(client), KeygenCustomers(wire))


def erasure_records(profile: Profile, base: Path) -> ErasureRecords:
    """Receipts, beside what else our commands remember."""
    return ErasureFiles(base / profile.state_folder / "erasures")


def new_document(path: Path) -> NewDocument:
    """A file that is not there yet."""
    return NewFile(path)


def utc_now() -> datetime:
    """The moment it is."""
    return datetime.now(UTC)
