"""The targets of ``scripts/fuzz.py``, for a moment: every kept input, and what becomes of some.

``fuzz.py --seconds N`` goes on for as long as it is let; what it found stands in the corpus.
"""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 200_000
NAMES = (
    *("gguf", "image", "pdf", "schema", "machine-file", "machine-content", "reply", "verdict"),
    *("webhook", "signature", "url", "manifest", "api", "socket", "line", "shop"),
)
# Where one input is a request over a socket, or several: fewer than elsewhere.
FEWER = {"socket": 10, "line": 5, "shop": 15}


@pytest.fixture(scope="module")
def targets() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        found = importlib.import_module("fuzz_targets")
        with found.HELD:
            yield found
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def test_every_target_has_inputs_to_begin_with_and_all_together_are_small(targets: Any) -> None:
    assert set(targets.TARGETS) == set(NAMES) == {one.name for one in CORPUS.iterdir()}
    sizes = {name: [one.stat().st_size for one in (CORPUS / name).iterdir()] for name in NAMES}
    assert all(sizes.values())
    assert sum(map(sum, sizes.values())) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_what_strangers_send_ends_in_a_value_or_an_error_of_ours(targets: Any, name: str) -> None:
    """Anything else that is raised fails here, ``Broken`` too: a value that must not come out."""
    target = targets.TARGETS[name]
    inputs = targets.seeds(name)
    for one in inputs:
        assert target.run(one)
    chance = random.Random()

    @settings(max_examples=FEWER.get(name, 25))
    @given(seed=st.integers(0, 1 << 32))
    def fares_well(seed: int) -> None:
        chance.seed(seed)
        target.run(target.mutate(chance, chance.choice(inputs), inputs, target.words))

    fares_well()


def test_a_reader_that_breaks_is_noticed(targets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The witness: targets hide nothing that their reader raises."""
    monkeypatch.setattr(
        "shimmy_store.domain.webhook_signature.check_signature", lambda *_: "genuine"
    )
    with pytest.raises(targets.Broken):
        targets.TARGETS["signature"].run(b"t=1,v1=0\n\n{}")
    monkeypatch.setattr("shimmy_vision.domain.payload.manifest.json.loads", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        targets.TARGETS["manifest"].run(b"{}")


def test_the_driver_finds_a_crash_a_hang_and_what_is_raised(tmp_path: Path) -> None:
    """On a target of the test's own: the process dies, hangs, or raises, by what it reads."""
    (tmp_path / "fuzz_targets.py").write_text(
        "import os, time\nfrom pathlib import Path\nimport fuzz_mutations as mutations\n"
        f"ROOT = Path({str(tmp_path)!r})\n"
        "class T:\n    seconds, mib, words = 0.5, 256, (b'X', b'Y', b'Z')\n"
        "    mutate = staticmethod(mutations.mutate_bytes)\n"
        "    def run(self, data):\n"
        "        if b'X' in data: os.kill(os.getpid(), 11)\n"
        "        if b'Y' in data: time.sleep(30)\n"
        "        if b'Z' in data: raise LookupError\n"
        "        return 'read'\n"
        "TARGETS = {'trial': T(), 'dies': T()}\nTarget = T\n"
        "def seeds(name): return [b'abc', b'X'] if name == 'dies' else [b'abc', b'Z', b'Y']\n"
    )
    for name in ("fuzz.py", "fuzz_mutations.py"):
        (tmp_path / name).write_text((ROOT / "scripts" / name).read_text())
    done = subprocess.run(
        [sys.executable, tmp_path / "fuzz.py", "--seconds", "4", "--out", tmp_path / "found"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "raised: LookupError" in done.stdout
    assert "no end after" in done.stdout
    assert any(b"Z" in one.read_bytes() for one in tmp_path.glob("found/trial/*.bin"))
    assert "ended with -11" in done.stdout
    assert [one.read_bytes() for one in tmp_path.glob("found/dies/*.bin")] == [b"X"]
