"""Our structures and signatures against llama-cpp-python's own declarations."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from shimmy_vision.adapters import llama_bindings

# llama_cpp loads the libraries when imported, so the witness speaks from a child process.
_WITNESS = """
import ctypes, json
from llama_cpp import llama_cpp, mtmd_cpp
structures = {}
for module in (llama_cpp, mtmd_cpp):
    for name in dir(module):
        kind = getattr(module, name)
        is_class = isinstance(kind, type) and issubclass(kind, ctypes.Structure)
        if is_class and hasattr(kind, "_fields_"):
            places = [(f[0], getattr(kind, f[0])) for f in kind._fields_]
            fields = [[name, place.offset, place.size] for name, place in places]
            structures[kind.__name__] = {"size": ctypes.sizeof(kind), "fields": fields}
print(json.dumps(structures))
"""


@pytest.fixture(scope="module")
def witness() -> dict[str, dict[str, object]]:
    import json

    printed = subprocess.run(
        [sys.executable, "-c", _WITNESS], capture_output=True, text=True, check=True
    )
    structures: dict[str, dict[str, object]] = json.loads(printed.stdout.splitlines()[-1])
    return structures


@pytest.mark.parametrize(
    "name",
    [
        "llama_model_params",
        "llama_context_params",
        "llama_batch",
        "mtmd_context_params",
        "mtmd_input_text",
        "mtmd_decoder_pos",
    ],
)
def test_structures_have_the_same_layout(name: str, witness: dict[str, dict[str, object]]) -> None:
    ours = getattr(llama_bindings, name)
    fields = [[f[0], getattr(ours, f[0]).offset, getattr(ours, f[0]).size] for f in ours._fields_]
    assert {"size": ctypes.sizeof(ours), "fields": fields} == witness[name]
