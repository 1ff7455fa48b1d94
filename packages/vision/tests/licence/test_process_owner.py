"""Whose a reservation is, and whether its owner still lives."""

from __future__ import annotations

import subprocess
import sys
import time

from shimmy_vision.adapters.licence.process_owner import is_dead, this_owner

TELL = """
import os, sys
from shimmy_vision.adapters.licence.process_owner import this_owner
print(this_owner(), flush=True)
sys.stdin.read()
"""
FORK = """
import os
from shimmy_vision.adapters.licence.process_owner import is_dead, this_owner
parent = this_owner()
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    print(parent == this_owner(), is_dead(parent), is_dead(this_owner()))
"""


def test_this_process_lives_and_says_so_in_the_same_way_every_time() -> None:
    assert this_owner() == this_owner()
    assert not is_dead(this_owner())


def test_a_process_is_dead_from_its_end_on_even_if_nobody_asked_how_it_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert owner != this_owner()
        assert not is_dead(owner)
        process.kill()
        deadline = time.monotonic() + 60
        while not is_dead(owner):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.returncode is None  # A zombie until here.
    assert is_dead(owner)


def test_another_process_with_the_same_number_is_not_the_owner() -> None:
    world, number, began = this_owner().split("/")
    assert is_dead(f"{world}/{number}/{began}1")


def test_of_another_container_or_an_earlier_boot_nothing_is_known() -> None:
    _world, number, _began = this_owner().split("/")
    assert not is_dead(f"elsewhere-1/{number}/0")


def test_a_fork_is_an_owner_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["False", "False", "False"]
