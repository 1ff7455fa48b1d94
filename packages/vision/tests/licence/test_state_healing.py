"""Damaged, copied and older state files: what heals, what is lost, and what nobody gains."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from licence_world import Customer, MakeCustomer, Shop

from shimmy_vision.errors import LicenceError, LicenceStateError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

ONE_SHOP = True

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
RUBBISH = b"this is no database at all" * 100


def use(licensing: Licensing, pages: int = 1) -> None:
    settle_pages(admit_pages(pages, licensing), licensing, done=True)


def refusal(licensing: Licensing) -> str:
    with pytest.raises(LicenceError) as refused:
        admit_pages(1, licensing)
    return refused.value.code


def totals(customer: Customer, key: str) -> tuple[int, int]:
    with customer.process() as process, process.state.session(key) as session:
        return session.record.total, session.record.waiting


def aside(customer: Customer) -> Sequence[Path]:
    return sorted(customer.folder.glob("*.damaged-*"))


def spoil(customer: Customer) -> None:
    """Alter one page of a licence in the closed file: its seal fails, SQLite sees nothing."""
    data = customer.state_file.read_bytes()
    place = data.index(b"-----BEGIN MACHINE FILE-----") + 100
    customer.state_file.write_bytes(data[:place] + b"#" + data[place + 1 :])


@pytest.fixture
def machine(shop: Shop, customer: MakeCustomer) -> Customer:
    """Activated, with two pages that wait; its key is kept."""
    shop.clock.freeze(NOON)
    made = customer()
    with made.process() as process:
        activate_licence(shop.sell("developer").key, process)
        use(process, 2)
    return made


def key_of(machine: Customer) -> str:
    with machine.process() as process:
        key = process.state.kept_key()
    assert key is not None
    return key


@pytest.mark.parametrize("how", ["a byte", "everything"])
def test_without_a_key_at_hand_a_damaged_file_refuses_and_stays(
    machine: Customer, shop: Shop, how: str
) -> None:
    if how == "a byte":
        spoil(machine)
    else:
        machine.state_file.write_bytes(RUBBISH)
    before, asked = machine.state_file.read_bytes(), len(shop.asked())
    with machine.process() as process:
        for _ in range(2):
            with pytest.raises(LicenceStateError) as raised:
                admit_pages(1, process)
            assert raised.value.code == "licence-state-damaged"
            assert "shimmy license activate KEY" in raised.value.hint
    assert machine.state_file.read_bytes() == before
    assert not aside(machine)
    assert len(shop.asked()) == asked


@pytest.mark.parametrize("how", ["a byte", "everything"])
def test_activating_again_heals_and_keeps_the_damaged_file(
    machine: Customer, shop: Shop, how: str
) -> None:
    key = key_of(machine)
    if how == "a byte":
        spoil(machine)
    else:
        machine.state_file.write_bytes(RUBBISH)
    damaged = machine.state_file.read_bytes()
    with machine.process() as process:
        activate_licence(key, process)
        use(process)
    assert damaged in [one.read_bytes() for one in aside(machine)]
    assert totals(machine, key) == (1, 1)
    machines = shop.admin.get(f"licenses/{key}/machines").json()["data"]
    assert [one["attributes"]["fingerprint"] for one in machines] == [machine.fingerprint]


def test_a_given_key_heals_by_itself_while_the_server_can_be_asked(
    machine: Customer, shop: Shop
) -> None:
    key = key_of(machine)
    spoil(machine)
    given = replace(machine, given_key=key)
    with replace(given, offline=True).process() as process:
        assert refusal(process) == "licence-unconfirmed"
    assert len(aside(machine)) == 1
    shop.clock.advance(timedelta(minutes=1))
    with given.process() as process:
        use(process)
    assert totals(machine, key) == (1, 1)


def test_who_heals_second_leaves_the_healthy_file_alone(machine: Customer) -> None:
    key = key_of(machine)
    spoil(machine)
    given = replace(machine, given_key=key)
    first, second = given.licensing(), given.licensing()
    for process in (first, second):
        with pytest.raises(LicenceStateError), process.state.session(key):
            pass
    first.state.set_aside()
    use(first, 5)
    second.state.set_aside()
    use(second, 6)
    use(first, 7)
    assert len([one for one in aside(machine) if one.name.count(".sqlite.")]) == 1
    assert totals(machine, key) == (18, 18)


def test_a_process_that_has_the_file_open_goes_on_in_the_new_one(machine: Customer) -> None:
    """Its own reservation was in the old one; its pages count all the same."""
    key = key_of(machine)
    given = replace(machine, given_key=key)
    working, healing = given.licensing(), given.licensing()
    admission = admit_pages(3, working)
    with healing.state.session(key):
        pass
    healing.state.set_aside()
    use(healing, 4)
    settle_pages(admission, working, done=True)
    use(working, 5)
    assert totals(machine, key) == (12, 12)


def test_a_folder_removed_under_a_process_is_made_again(machine: Customer) -> None:
    key = key_of(machine)
    process = replace(machine, given_key=key).licensing()
    use(process)
    shutil.rmtree(machine.folder)
    use(process, 3)
    assert totals(machine, key) == (3, 3)


def test_a_kill_while_setting_aside_leaves_nothing_of_the_old_log(machine: Customer) -> None:
    """The file is renamed first: its log then lies beside a new file, and SQLite drops it."""
    key = key_of(machine)
    process = machine.licensing()
    use(process, 4)
    log = machine.state_file.with_name("licence.sqlite-wal")
    assert log.stat().st_size > 0
    machine.state_file.rename(machine.folder / "licence.sqlite.damaged-1")
    with replace(machine, given_key=key).process() as other:
        assert other.state.kept_key() is None
        use(other)
    assert totals(machine, key) == (1, 1)


def test_a_file_copied_to_another_machine_opens_nothing_there(
    machine: Customer, shop: Shop, customer: MakeCustomer
) -> None:
    copy = customer("machine-2", offline=True)
    shutil.copytree(machine.folder, copy.folder)
    with copy.process() as process:
        assert refusal(process) == "machine-changed"
        with process.state.session(key_of(machine)) as session:
            assert (session.record.certificate, session.record.waiting) == ("", 0)
    # Nor online, unless somebody says so; and this licence is for one machine.
    shop.clock.advance(timedelta(minutes=1))
    with replace(copy, offline=False).process() as process:
        assert refusal(process) == "machine-changed"
        with pytest.raises(LicenceError) as refused:
            activate_licence(key_of(machine), process)
        assert refused.value.code == "machine-limit-reached"
    with machine.process() as process:
        use(process)


def test_an_older_file_gives_no_more_time_than_it_had(machine: Customer, shop: Shop) -> None:
    """That it is older cannot be seen offline; it ends when its own certificate does."""
    older = machine.state_file.read_bytes()
    key = key_of(machine)
    shop.act(shop.find(key), "suspend")
    shop.clock.advance(timedelta(hours=2))
    with machine.process() as process:
        assert refusal(process) == "licence-suspended"
    with replace(machine, offline=True).process() as process:
        assert refusal(process) == "licence-suspended"
    machine.state_file.write_bytes(older)
    with replace(machine, offline=True).process() as process:
        admit_pages(1, process)
    machine.state_file.write_bytes(older)
    with machine.process() as process:
        assert refusal(process) == "licence-suspended"
    machine.state_file.write_bytes(older)
    shop.clock.freeze(NOON + timedelta(hours=24))
    with replace(machine, offline=True).process() as process:
        assert refusal(process) == "licence-unconfirmed"


def test_a_key_of_another_machine_in_the_file_gives_way(
    machine: Customer, shop: Shop, customer: MakeCustomer
) -> None:
    """As after a disk was cloned: the old row cannot be read here, and must not be in the way."""
    copy = customer("machine-2")
    shutil.copytree(machine.folder, copy.folder)
    key = shop.sell("startup").key
    with copy.process() as process:
        activate_licence(key, process)
        assert process.state.kept_key() == key
        use(process)
        assert sync_pages(key, process, force=True) == "counted"
    with copy.process() as process:
        assert process.key() == key
