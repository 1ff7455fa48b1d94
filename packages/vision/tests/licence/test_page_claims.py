"""One page that several machines of a fleet analyse is counted by one of them."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licence_world import MakeCustomer, Shop, Sold

from shimmy_vision.adapters.licence.folder_page_claims import FolderPageClaims, _name, open_claims
from shimmy_vision.errors import LicenceError, LicenceStateError
from shimmy_vision.ports.licence_state import Pages
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.page_claims import NoClaims
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.recover_claims import recover_claims
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

ONE_SHOP = True


class PowerCut(BaseException):
    """The process ends here."""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    folder.mkdir()
    return folder


@pytest.fixture
def sold(shop: Shop) -> Sold:
    return shop.sell("startup")


@pytest.fixture
def machine(customer: MakeCustomer, shared: Path, sold: Sold) -> Any:
    """A process on a machine of the fleet."""

    def made(name: str) -> Licensing:
        one = customer(name, given_key=sold.key)
        return replace(one.licensing(), claims=FolderPageClaims(shared, one.fingerprint))

    return made


def analyse(process: Licensing, key: str) -> None:
    settle_pages(admit_pages(1, process, key), process, done=True)


def settled(shop: Shop, sold: Sold, *processes: Licensing) -> int:
    for one in processes:
        sync_pages(sold.key, one, force=True)
    return shop.uses(sold)


def test_the_second_machine_counts_nothing(machine: Any, shop: Shop, sold: Sold) -> None:
    a, b = machine("a"), machine("b")
    analyse(a, "page")
    analyse(b, "page")
    analyse(b, "another")
    analyse(a, "page")
    assert settled(shop, sold, a, b) == 2


def test_who_finishes_second_counts_nothing(machine: Any, shop: Shop, sold: Sold) -> None:
    a, b = machine("a"), machine("b")
    both = [(one, admit_pages(1, one, "page")) for one in (a, b)]
    for one, admission in both:
        settle_pages(admission, one, done=True)
    assert settled(shop, sold, a, b) == 1
    with b.state.session(sold.key) as session:
        assert (session.record.waiting, session.record.reserved) == (0, 0)


def test_of_many_at_once_one_counts(machine: Any, shop: Shop, sold: Sold) -> None:
    processes = [machine(name) for name in ("a", "b", "c", "d")]
    for one in processes:
        analyse(one, "to be activated")
    with ThreadPoolExecutor(4) as threads:
        for number in range(10):
            list(threads.map(analyse, processes, [f"page {number}"] * 4))
    assert settled(shop, sold, *processes) == 11


def test_who_was_killed_before_he_counted_does_so_when_he_is_back(
    machine: Any, shop: Shop, sold: Sold
) -> None:
    a, b = machine("a"), machine("b")
    admission = admit_pages(1, a, "page")
    with suppress(PowerCut), a.claims.counting(sold.key, admission.pages) as ours:
        assert ours
        raise PowerCut
    analyse(b, "page")
    assert settled(shop, sold, b) == 0, "it is the other's to count"
    back = machine("a")
    recover_claims(back)
    recover_claims(back)
    assert settled(shop, sold, back, b) == 1
    assert not back.claims.pending(sold.key)


def test_who_was_killed_after_he_counted_does_not_count_again(
    machine: Any, shop: Shop, sold: Sold
) -> None:
    a = machine("a")
    admission = admit_pages(1, a, "page")
    with suppress(PowerCut), a.claims.counting(sold.key, admission.pages):
        with a.state.session(sold.key) as session:
            session.commit(admission.pages)
        raise PowerCut
    back = machine("a")
    assert [one.id for one in back.claims.pending(sold.key)] == ["page"]
    recover_claims(back)
    assert settled(shop, sold, back) == 1


def test_a_page_that_failed_is_nobodys(machine: Any, shop: Shop, sold: Sold) -> None:
    a, b = machine("a"), machine("b")
    settle_pages(admit_pages(1, a, "page"), a, done=False)
    analyse(b, "page")
    assert settled(shop, sold, a, b) == 1


def test_what_is_counted_elsewhere_passes_a_full_cap(
    customer: MakeCustomer, shared: Path, shop: Shop
) -> None:
    sold = shop.sell("startup")
    shop.change(sold, maxUses=1)

    def made(name: str) -> Licensing:
        one = customer(name, given_key=sold.key)
        return replace(one.licensing(), claims=FolderPageClaims(shared, one.fingerprint))

    a, b = made("a"), made("b")
    analyse(a, "page")
    assert settled(shop, sold, a) == 1
    analyse(b, "page")
    with pytest.raises(LicenceError, match="pages"):
        admit_pages(1, b, "another")


def test_licences_that_share_a_folder_are_apart(
    machine: Any, customer: MakeCustomer, shared: Path, shop: Shop, sold: Sold
) -> None:
    other = shop.sell("startup")
    one = customer("theirs", given_key=other.key)
    theirs = replace(one.licensing(), claims=FolderPageClaims(shared, one.fingerprint))
    ours = machine("a")
    analyse(ours, "page")
    analyse(theirs, "page")
    assert settled(shop, sold, ours) == 1
    assert settled(shop, other, theirs) == 1
    assert sold.key not in "".join(str(path) for path in shared.rglob("*"))
    written = "".join(path.read_text() for path in shared.rglob("*") if path.is_file())
    assert sold.key not in written
    assert one.fingerprint not in written


def test_without_the_folder_each_counts_by_itself_and_says_so(
    machine: Any, shared: Path, shop: Shop, sold: Sold
) -> None:
    a, b = machine("a"), machine("b")
    a.claims.check()
    shared.rmdir()
    for one in (a, b):
        analyse(one, "page")
        with pytest.raises(LicenceStateError) as refused:
            one.claims.check()
        assert refused.value.code == "fleet-folder-unusable"
    assert not shared.exists(), "what is not mounted is not made"
    assert settled(shop, sold, a, b) == 2


def test_old_claims_go_and_young_ones_stay(shared: Path) -> None:
    claims, now = FolderPageClaims(shared, "machine"), datetime.now(UTC)

    # One of those that look for old ones beside them.
    swept = next(one for one in map(str, range(9999)) if _name("key", one)[2:4] < "04")
    shelf = shared / "claims" / _name("key", swept)[:2]
    shelf.mkdir(parents=True)
    (shelf / "young").write_text("")
    (shelf / "old").write_text("")
    old = time.time() - timedelta(days=3).total_seconds()
    os.utime(shelf / "old", (old, old))
    with claims.counting("key", Pages(swept, 1, now)) as ours:
        assert ours
    assert not (shelf / "old").exists()
    assert (shelf / "young").exists()
    assert not list((shared / "machines").rglob("*.*")), "what is counted is not pending"


@given(st.binary(max_size=40))
def test_half_a_claim_is_no_claim(tmp_path_factory: pytest.TempPathFactory, rest: bytes) -> None:
    shared = tmp_path_factory.mktemp("fleet")
    claims = FolderPageClaims(shared, "machine")
    with suppress(PowerCut), claims.counting("key", Pages("1", 1, datetime.now(UTC))):
        raise PowerCut
    (own,) = (shared / "machines").rglob("*.*")
    own.write_bytes(rest)
    assert claims.pending("key") == ()
    assert claims.taken("key", "1") is False


def test_without_a_fleet_there_is_nothing_to_ask(tmp_path: Path) -> None:
    assert isinstance(open_claims(None, "machine"), NoClaims)
    assert isinstance(open_claims(tmp_path, "machine"), FolderPageClaims)
