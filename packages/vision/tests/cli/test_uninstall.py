"""``shimmy uninstall``: frees the place, removes what is ours by name, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from licence_world import Shop

from shimmy_vision.adapters.installation.running_programs import is_this_program

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shimmy(session_shop: Shop, tmp_path: Path) -> Run:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    variables = {
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
        "SHIMMY_CACHE_DIR": str(tmp_path / "cache"),
        "SHIMMY_MODEL_DIR": str(tmp_path / "models"),
        "SHIMMY_SOCKET": str(tmp_path / "socket"),
        "SHIMMY_MACHINE_ID": f"machine of {tmp_path.name}",
    }

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SHIMMY, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**kept, **variables, **more}, timeout=60, check=False,
        )  # fmt: skip

    return run


def _furnish(tmp_path: Path) -> None:
    """What runs leave behind, beside things of others."""
    for name in ("cache/native/0123", "cache/encoders", "models/minicpm-v-4.6", "state"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in (
        *("cache/native/0123/libllama.so", "cache/encoders/one", "models/minicpm-v-4.6/model.gguf"),
        *("state/probed.json", "state/digests.json", "state/licence.sqlite.damaged-1"),
    ):
        (tmp_path / name).write_bytes(b"12345")


def _json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_purge_frees_the_place_and_leaves_nothing_but_models(
    shimmy: Run, session_shop: Shop, tmp_path: Path
) -> None:
    sold = session_shop.sell("developer")
    assert shimmy("license", "activate", sold.key).returncode == 0
    _furnish(tmp_path)
    told = _json(shimmy("uninstall", "--purge", "--yes", "--json"))
    assert (told["machine"], told["left"]) == ("deactivated", [])
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "cache").exists()
    assert (tmp_path / "models/minicpm-v-4.6/model.gguf").exists()
    machines = session_shop.admin.get(f"licenses/{sold.id}/machines").json()["data"]
    assert machines == []
    again = _json(shimmy("uninstall", "--purge", "--models", "--yes", "--json"))
    assert again["machine"] == "not activated"
    assert not (tmp_path / "models").exists()


def test_what_is_not_ours_stays_and_links_are_not_followed(shimmy: Run, tmp_path: Path) -> None:
    _furnish(tmp_path)
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "kept").write_text("kept")
    (tmp_path / "state/thesis.txt").write_text("mine")
    (tmp_path / "cache/native/0123/out").symlink_to(treasure)
    (tmp_path / "cache/single-file").symlink_to(treasure)
    (tmp_path / "models/minicpm-v-mine").symlink_to(treasure)
    told = _json(shimmy("uninstall", "--purge", "--models", "--yes", "--json"))
    assert [(Path(one["path"]).name, "not ours" in one["reason"]) for one in told["left"]] == [
        ("state", True)
    ]
    assert [one.name for one in (tmp_path / "state").iterdir()] == ["thesis.txt"]
    assert (treasure / "kept").read_text() == "kept"
    assert not (tmp_path / "cache").exists()


def test_nothing_is_removed_without_a_yes_or_without_purge(shimmy: Run, tmp_path: Path) -> None:
    _furnish(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    asked = shimmy("uninstall", "--purge")
    assert (asked.returncode, "confirmation-needed" in asked.stderr) == (64, True)
    told = shimmy("uninstall")
    assert told.returncode == 0
    assert str(tmp_path / "models/minicpm-v-4.6") in told.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unheard_server_removes_nothing_until_the_place_is_given_up(
    shimmy: Run, session_shop: Shop, tmp_path: Path
) -> None:
    sold = session_shop.sell("developer")
    assert shimmy("license", "activate", sold.key).returncode == 0
    unheard = shimmy("uninstall", "--purge", "--yes", SHIMMY_OFFLINE="1")
    assert (unheard.returncode, "uninstall-unheard" in unheard.stderr) == (2, True)
    assert sold.key not in unheard.stdout + unheard.stderr
    assert (tmp_path / "state/licence.sqlite").exists()
    told = _json(
        shimmy("uninstall", "--purge", "--yes", "--keep-activated", "--json", SHIMMY_OFFLINE="1")
    )
    assert told["machine"] == "kept"
    assert not (tmp_path / "state").exists()
    assert len(session_shop.admin.get(f"licenses/{sold.id}/machines").json()["data"]) == 1


def test_a_licence_that_is_refused_holds_nobody_back(
    shimmy: Run, session_shop: Shop, tmp_path: Path
) -> None:
    sold = session_shop.sell("developer")
    assert shimmy("license", "activate", sold.key).returncode == 0
    session_shop.admin.delete(f"licenses/{sold.id}")
    told = _json(shimmy("uninstall", "--purge", "--yes", "--json"))
    assert told["machine"] not in ("deactivated", "kept")
    assert not (tmp_path / "state").exists()


def test_an_idle_server_keeps_everything_where_it_is(shimmy: Run, tmp_path: Path) -> None:
    """It has no file open: what it was started as tells."""
    _furnish(tmp_path)
    serving = {
        **os.environ,
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
        "SHIMMY_SOCKET": str(tmp_path / "shimmy-sockets/a.sock"),
    }
    with subprocess.Popen(
        [SHIMMY, "serve", "--port", "0"], env=serving, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            assert any("http://" in line for line in server.stderr)
            refused = shimmy("uninstall", "--purge", "--yes")
            # With other folders it is another installation.
            elsewhere = str(tmp_path / "elsewhere")
            other = shimmy("uninstall", "--purge", "--yes", SHIMMY_STATE_DIR=elsewhere)
        finally:
            server.terminate()
    assert (refused.returncode, "uninstall-running" in refused.stderr) == (64, True)
    assert str(server.pid) in refused.stderr
    assert (tmp_path / "state/probed.json").exists()
    assert other.returncode == 0, other.stderr
    socket = str(tmp_path / "shimmy-sockets/a.sock")
    told = _json(shimmy("uninstall", "--purge", "--yes", "--json", SHIMMY_SOCKET=socket))
    assert told["left"] == []
    assert not (tmp_path / "shimmy-sockets").exists()


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (["/usr/bin/python3", "/opt/venv/bin/shimmy", "serve"], True),
        (["/usr/bin/python3", "-P", "-m", "shimmy_vision", "engine-worker", "--x"], True),
        (["/opt/shimmy", "mcp"], True),
        (["shimmy", "uninstall", "--purge"], False),
        (["vi", "a", "b", "c", "d", "shimmy"], False),
        (["/usr/bin/shimmy-sandbox", "licences"], False),
        ([], False),
    ],
)
def test_this_program_is_known_by_its_command_line(words: list[str], ours: bool) -> None:
    assert is_this_program(words) is ours


def test_it_waits_for_nobody_who_still_works_there(shimmy: Run, tmp_path: Path) -> None:
    _furnish(tmp_path)
    held = str(tmp_path / "state/probed.json")
    holding = f"handle = open({held!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        refused = shimmy("uninstall", "--purge", "--yes")
        other.communicate("\n")
    assert (refused.returncode, "uninstall-running" in refused.stderr) == (64, True)
    assert str(other.pid) in refused.stderr
    assert (tmp_path / "state/probed.json").exists()
