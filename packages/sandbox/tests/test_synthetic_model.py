"""Synthetic pairs run in the real library, with llama-cpp-python as an independent witness."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shimmy_sandbox.cli.main import main
from shimmy_sandbox.synthetic_model import Layout, write_synthetic_pair

# In a child process: importing llama_cpp loads the library, which may not happen in the tests' own.
_WITNESS = """
import ctypes, json, math, sys
from llama_cpp import llama_cpp as c, mtmd_cpp as m
main, projector = (path.encode() for path in sys.argv[1:3])
c.llama_backend_init()
model = c.llama_model_load_from_file(main, c.llama_model_default_params())
context = c.llama_init_from_model(model, c.llama_context_default_params())
encoder = m.mtmd_init_from_file(projector, model, m.mtmd_context_params_default())
pixels = (ctypes.c_ubyte * (900 * 700 * 3))(*([7, 99, 200] * (900 * 700)))
bitmap, chunks = m.mtmd_bitmap_init(900, 700, pixels), m.mtmd_input_chunks_init()
marker = m.mtmd_default_marker()
prompt = b"look " + marker + b" now"
text = m.mtmd_input_text(text=prompt, text_len=len(prompt), add_special=True, parse_special=True)
bitmaps = (m.mtmd_bitmap_p_ctypes * 1)(bitmap)
status = m.mtmd_tokenize(encoder, chunks, ctypes.byref(text), bitmaps, 1)
past = c.llama_pos(0)
decoded = m.mtmd_helper_eval_chunks(encoder, context, chunks, 0, 0, 512, True, ctypes.byref(past))
words = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
scores = c.llama_get_logits_ith(context, -1)[:words]
print(json.dumps({
    "status": [status, decoded], "chunks": m.mtmd_input_chunks_size(chunks), "past": past.value,
    "finite": all(map(math.isfinite, scores)), "spread": max(scores) - min(scores),
}))
"""


@pytest.mark.parametrize("layout", ["2.6", "4.6"])
def test_a_pair_runs_the_whole_real_path(tmp_path: Path, layout: Layout) -> None:
    started = time.process_time()
    pair = write_synthetic_pair(tmp_path, layout)
    assert time.process_time() - started < 2.0  # a few hundredths on an idle core
    assert pair.main.stat().st_size + pair.projector.stat().st_size < 10_000_000
    done = subprocess.run(
        [sys.executable, "-c", _WITNESS, str(pair.main), str(pair.projector)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["status"] == [0, 0]
    assert seen["finite"]
    assert seen["spread"] > 0.5
    assert seen["past"] > 5 * 60
    assert seen["chunks"] == 11  # overview and four slices, with markup around them


@pytest.mark.parametrize("layout", ["2.6", "4.6"])
def test_a_seed_decides_every_byte(tmp_path: Path, layout: Layout) -> None:
    def written(folder: str, seed: int) -> tuple[bytes, bytes]:
        pair = write_synthetic_pair(tmp_path / folder, layout, seed=seed)
        return pair.main.read_bytes(), pair.projector.read_bytes()

    first, again, other = written("a", 3), written("b", 3), written("c", 4)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_help_lists_the_commands_without_loading_them() -> None:
    code = (
        "import sys\nfrom shimmy_sandbox.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: print([m for m in sys.modules if m in "
        "('numpy', 'gguf')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "synthetic-model" in done.stdout
    assert "mirror" in done.stdout
    assert "Not for production" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_the_command_writes_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthetic-model", str(tmp_path), "--layout", "2.6"]) == 0
    printed = capsys.readouterr()
    assert all(Path(path).is_file() for path in json.loads(printed.out).values())
    assert "not for production" in printed.err
