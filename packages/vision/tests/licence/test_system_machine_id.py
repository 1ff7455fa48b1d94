"""Which machine this is: chosen ids before found ones, and one that is made where there is none."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import licence_worker
import machineid
import pytest
from licence_worker import run
from licence_world import Shop

from shimmy_vision.adapters.licence import system_machine_id
from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.adapters.licence.system_machine_id import (
    read_machine_id_file,
    read_system_machine_id,
)
from shimmy_vision.domain.licence.machine_id import MachineId
from shimmy_vision.errors import LicenceStateError, UsageError
from shimmy_vision.ports.vision_order import LicenceOrder
from shimmy_vision.settings import Settings, read_settings
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.wiring.licences import open_licensing


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of whose own ids, mounts and container marks nothing is seen."""
    monkeypatch.setattr(system_machine_id, "_MOUNTED", tmp_path / "mounted")
    monkeypatch.setattr(system_machine_id, "_CONTAINER_MARKS", (tmp_path / "mark",))
    monkeypatch.setattr(system_machine_id, "_CONTROL_GROUPS", tmp_path / "cgroup")
    return tmp_path


def test_a_named_file_goes_before_a_mounted_one(places: Path) -> None:
    assert read_machine_id_file(None) is None
    (places / "mounted").write_text("mounted-id\n")
    (places / "named").write_text("named-id\n")
    assert read_machine_id_file(None) == MachineId("file", "mounted-id\n")
    assert read_machine_id_file(places / "named") == MachineId("file", "named-id\n")


@pytest.mark.parametrize("content", [None, b"\xff\xfe id", "a folder"])
def test_a_file_that_cannot_be_read_is_no_reason_to_be_another_machine(
    places: Path, content: bytes | str | None
) -> None:
    path = places / "named"
    if content == "a folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        read_machine_id_file(path)
    assert raised.value.code == "machine-id-unreadable"
    assert "SHIMMY_MACHINE_ID_FILE" in raised.value.hint


@pytest.mark.parametrize(
    "container", ["docker", "podman", "oci", "kubernetes", "containerd", "Docker"]
)
def test_a_container_has_no_id_of_its_own(places: Path, container: str) -> None:
    assert read_system_machine_id(container) is None


@pytest.mark.parametrize("container", ["", "lxc", "systemd-nspawn"])
def test_a_system_container_has_the_systems_id(
    places: Path, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    monkeypatch.setattr(machineid, "id", lambda: "an-id")
    assert read_system_machine_id(container) == MachineId("system", "an-id")
    (places / "mark").touch()
    assert read_system_machine_id(container) is None


@pytest.mark.parametrize(
    ("groups", "contained"),
    [
        (b"0::/init.scope\n", False),
        (b"0::/\n", False),
        (b"0::/system.slice/\xff\xfe.service\n", False),
        (b"12:cpu,cpuacct:/docker/0123456789ab\n", True),
        (b"0::/kubepods.slice/kubepods-burstable.slice\n", True),
        (b"0::/machine.slice/libpod-0123/container\n0::/podman\n", True),
    ],
)
def test_control_groups_tell_of_a_container(
    places: Path, monkeypatch: pytest.MonkeyPatch, groups: bytes, contained: bool
) -> None:
    monkeypatch.setattr(machineid, "id", lambda: "an-id")
    (places / "cgroup").write_bytes(groups)
    assert (read_system_machine_id("") is None) == contained


def test_an_image_that_was_never_started_has_no_id(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machineid, "id", lambda: "uninitialized")
    assert read_system_machine_id("") is None


def test_a_system_without_an_id_offers_none(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise machineid.MachineIdNotFound

    monkeypatch.setattr(machineid, "id", missing)
    assert read_system_machine_id("") is None


def settings_in(places: Path, **variables: str) -> Settings:
    return read_settings({"SHIMMY_STATE_DIR": str(places / "state"), **variables})


def fingerprint(settings: Settings, machine_id: str | None = None) -> str:
    with open_licensing(settings, LicenceOrder(machine_id=machine_id)) as licences:
        return licences.fingerprint


def test_the_nearest_choice_decides(places: Path) -> None:
    for name in ("one", "two", "three"):
        (places / name).write_text(f"  id-{name}\n")
    named = {"SHIMMY_MACHINE_ID_FILE": str(places / "one")}
    chosen = {"SHIMMY_MACHINE_ID": "id-two", **named}
    by_file = fingerprint(settings_in(places, **named))
    by_variable = fingerprint(settings_in(places, **chosen))
    by_flag = fingerprint(settings_in(places, **chosen), "id-three")
    assert len({by_file, by_variable, by_flag}) == 3
    assert by_file == fingerprint(settings_in(places), "id-one")
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in (by_file, by_variable, by_flag))
    assert not (places / "state").exists()
    with pytest.raises(UsageError) as raised:
        fingerprint(settings_in(places, SHIMMY_MACHINE_ID=" "))
    assert raised.value.code == "machine-id-invalid"


def test_a_machine_without_an_id_keeps_the_one_it_was_given(places: Path) -> None:
    settings = settings_in(places, container="docker")
    first = fingerprint(settings)
    assert first == fingerprint(settings)
    assert first != fingerprint(settings_in(places / "elsewhere", container="docker"))


def test_twenty_processes_are_given_one_id(tmp_path: Path) -> None:
    path, said = tmp_path / "state" / "licence.sqlite", tmp_path / "said"
    assert run(*[partial(licence_worker.tell_machine_id, path, said)] * 20) == [0] * 20
    ids = said.read_text().split()
    assert len(ids) == 20
    assert len(set(ids)) == 1
    with closing(SqliteLicenceState(path, "account")) as state:
        assert state.machine_id() == ids[0]


def test_every_altered_character_of_a_kept_id_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "licence.sqlite"
    with closing(SqliteLicenceState(path, "account")) as state:
        kept = state.machine_id()
    altered = [f"{kept[:n]}{'0' if kept[n] != '0' else '1'}{kept[n + 1 :]}" for n in range(32)]
    for wrong in (*altered, kept[:-1], kept + "0", kept.upper() + "F", "", 7, None, b"x"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE machine SET id = ?", (wrong,))
        with closing(SqliteLicenceState(path, "account")) as state:
            assert state.machine_id() != wrong
            with pytest.raises(LicenceStateError) as raised:
                state.kept_key()
            assert raised.value.code == "licence-state-damaged"


@pytest.mark.parametrize("readable", [True, False])
def test_a_damaged_file_can_be_healed_where_it_holds_the_machines_id(
    places: Path, shop: Shop, readable: bool
) -> None:
    """Otherwise each command would end before the activation that the refusal asks for."""
    settings = settings_in(places, container="docker", SHIMMY_LICENSE_URL=shop.server.url)
    path, key = settings.state_directory / "licence.sqlite", shop.sell("developer").key
    with open_licensing(settings, LicenceOrder()) as licences:
        activate_licence(key, licences)
        before = licences.fingerprint
    if readable:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP INDEX pages_in_order")
            connection.execute("CREATE TABLE other (x)")
            connection.execute("UPDATE licences SET counted = 7")
    else:
        path.write_bytes(b"no database" * 500)
        shop.admin.delete(f"machines/{before}")
    with open_licensing(settings, LicenceOrder()) as licences:
        with pytest.raises(LicenceStateError) as raised:
            admit_pages(1, licences)
        assert raised.value.code == "licence-state-damaged"
    with open_licensing(settings, LicenceOrder()) as licences:
        activate_licence(key, licences)
        healed = licences.fingerprint
    assert (healed == before) == readable
    with open_licensing(settings, LicenceOrder()) as licences:
        assert licences.fingerprint == healed
        admit_pages(1, licences)
