"""Small payloads of real shared libraries, compiled here, and trials of loading them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shimmy_vision.adapters.payload.payload_packing import BuiltLibrary, PayloadFacts, pack
from shimmy_vision.adapters.payload.payload_vault import platform_here
from shimmy_vision.domain.model.model_manifest import MANIFEST
from shimmy_vision.domain.payload.manifest import PayloadManifest
from shimmy_vision.domain.payload.model_lock import models_to_list

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
ANSWER, HOSTILE = 42, 666

_BASE = "int base_value(void) { return %d; }\n"
_REGISTRY = """
#include <dlfcn.h>
extern int base_value(void);
static int (*speed)(void);
void *ggml_backend_load(const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle) *(void **)&speed = dlsym(handle, "speed");
    return handle;
}
int chosen_speed(void) { return speed ? speed() + base_value() - base_value() : -1; }
"""
_BACKEND = """
extern int base_value(void);
int ggml_backend_score(void) { return %d; }
int speed(void) { return base_value() - 7 + %d; }
"""
_TOP = "extern int base_value(void);\nint answer(void) { return base_value() * 6; }\n"
_HOSTILE_TOP = "int answer(void) { return 666; }\nint base_value(void) { return 111; }\n"

# stem, soname, role, source, what it needs
_SOURCES = (
    ("tiny-base", "libtiny-base.so.0", "library", _BASE % 7, ()),
    ("ggml", "libtiny-ggml.so.0", "library", _REGISTRY, ("libtiny-base.so.0",)),
    ("cpu-best", "libtiny-cpu-best.so", "backend", _BACKEND % (0, 3), ("libtiny-base.so.0",)),
    ("cpu-good", "libtiny-cpu-good.so", "backend", _BACKEND % (5, 2), ("libtiny-base.so.0",)),
    ("cpu-last", "libtiny-cpu-last.so", "backend", _BACKEND % (1, 1), ("libtiny-base.so.0",)),
    ("top", "libtiny-top.so.0", "library", _TOP, ("libtiny-base.so.0", "libtiny-ggml.so.0")),
)
NAMES = tuple(soname for _stem, soname, _role, _source, _needs in _SOURCES)


def compile_library(folder: Path, soname: str, source: str, needs: Iterable[str] = ()) -> Path:
    """One shared library; what it needs lies in the same folder."""
    text, built = folder / f"{soname}.c", folder / soname
    text.write_text(source)
    subprocess.run(
        [
            *("cc", "-shared", "-fPIC", "-O1", "-s", "-o", str(built), str(text)),
            f"-Wl,-soname,{soname}",
            *(str(folder / name) for name in needs),
        ],
        check=True,
    )
    return built


def compile_tiny(folder: Path) -> tuple[BuiltLibrary, ...]:
    """The libraries of a tiny payload, in their order."""
    folder.mkdir()
    return tuple(
        BuiltLibrary(
            compile_library(folder, soname, source, needs).read_bytes(),
            stem,
            soname,
            role,  # type: ignore[arg-type]  # a literal out of the table above
        )
        for stem, soname, role, source, needs in _SOURCES
    )


def compile_hostile(folder: Path) -> Path:
    """What must never be loaded: it has every name, and answers otherwise."""
    return compile_library(folder, "libtiny-top.so.0", _HOSTILE_TOP)


def facts(version: int = 5, minimum: int = 1) -> PayloadFacts:
    """What a test's manifest says."""
    return PayloadFacts(
        version=version,
        minimum_version=minimum,
        platform=platform_here(),
        build="test",
        llama_cpp="0",
        ggml="0",
        models=models_to_list(MANIFEST),
    )


@dataclass(frozen=True, slots=True)
class TinyPayloads:
    """Libraries compiled once, packed as often as wanted."""

    libraries: tuple[BuiltLibrary, ...]
    hostile: Path

    def pack(
        self,
        folder: Path,
        *,
        version: int = 5,
        minimum: int = 1,
        key: Ed25519PrivateKey | None = KEY,
    ) -> PayloadManifest:
        return pack(self.libraries, facts(version, minimum), folder, key)


@dataclass(frozen=True, slots=True)
class Trial:
    """One process that loads ``folder``; ``tamper`` and ``breaking`` are told in payload_trials."""

    folder: Path
    unpacked: Path
    record: Path
    public_key: str = PUBLIC
    sealing: bool | None = None
    allow_older: bool = False
    tamper: dict[str, Any] = field(default_factory=dict)
    breaking: dict[str, Any] = field(default_factory=dict)
    real: bool = False


class Trials:
    """A process that has imported everything, and forks for each trial."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def run(self, *trials: Trial) -> list[dict[str, Any]]:
        """All at once, each in a process of its own; what each says, in their order."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        said = [asdict(one) for one in trials]
        self._child.stdin.write(json.dumps(said, default=str) + "\n")
        self._child.stdin.flush()
        answers: list[dict[str, Any]] = json.loads(self._child.stdout.readline())
        return answers

    def one(self, trial: Trial) -> dict[str, Any]:
        return self.run(trial)[0]


@contextmanager
def open_trials(
    environment: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Trials]:
    """Ends with the block."""
    command = [sys.executable, str(Path(__file__).with_name("payload_trials.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=cwd
    ) as child:
        yield Trials(child)
        assert child.stdin is not None
        child.stdin.close()
