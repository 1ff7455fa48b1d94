"""Our structures and signatures against llama-cpp-python's own declarations."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Any

import pytest

from shimmy_vision.adapters.engine import llama_bindings

# llama_cpp loads the libraries when imported, so the witness speaks from a child process.
_WITNESS = """
import ctypes, json
from llama_cpp import llama_cpp, mtmd_cpp
structures, functions = {}, {}
def size(kind):
    return 0 if kind is None else ctypes.sizeof(kind)
for module in (llama_cpp, mtmd_cpp):
    for name in dir(module):
        kind = getattr(module, name)
        is_class = isinstance(kind, type) and issubclass(kind, ctypes.Structure)
        if is_class and hasattr(kind, "_fields_"):
            places = [(f[0], getattr(kind, f[0])) for f in kind._fields_]
            fields = [[name, place.offset, place.size] for name, place in places]
            structures[kind.__name__] = {"size": ctypes.sizeof(kind), "fields": fields}
        if isinstance(getattr(kind, "argtypes", None), (list, tuple)):
            functions[name] = [size(kind.restype), [size(one) for one in kind.argtypes]]
print(json.dumps({"structures": structures, "functions": functions}))
"""


@pytest.fixture(scope="module")
def witness() -> dict[str, dict[str, Any]]:
    import json

    printed = subprocess.run(
        [sys.executable, "-c", _WITNESS], capture_output=True, text=True, check=True
    )
    said: dict[str, dict[str, Any]] = json.loads(printed.stdout.splitlines()[-1])
    return said


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
def test_structures_have_the_same_layout(name: str, witness: dict[str, dict[str, Any]]) -> None:
    ours = getattr(llama_bindings, name)
    fields = [[f[0], getattr(ours, f[0]).offset, getattr(ours, f[0]).size] for f in ours._fields_]
    assert {"size": ctypes.sizeof(ours), "fields": fields} == witness["structures"][name]


def test_functions_take_and_return_the_same(witness: dict[str, dict[str, Any]]) -> None:
    """By size, which is what the call depends on; names and order are the witness's."""

    def size(kind: Any) -> int:
        return 0 if kind is None else ctypes.sizeof(kind)

    ours = {
        name: [size(returned), [size(one) for one in taken]]
        for functions in llama_bindings._FUNCTIONS.values()
        for name, (returned, taken) in functions.items()
    }
    known = {name: signature for name, signature in ours.items() if name in witness["functions"]}
    assert {"llama_decode", "llama_memory_seq_rm", "llama_state_seq_set_data_ext"} <= known.keys()
    assert known == {name: witness["functions"][name] for name in known}
