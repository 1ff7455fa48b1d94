"""Loads the native library once a process, keeps its last words, and can stop it.

ggml aborts the process on a failed assertion and llama.cpp reports the cause of
an ordinary failure only through its log, so the log's last lines are kept in
memory and quoted in errors; nothing is printed.
"""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shimmy_vision.adapters.engine.llama_bindings import (
    GGML_BACKEND_DEVICE_TYPE_GPU,
    REQUIRED,
    LlamaLibrary,
    ggml_log_callback,
    library_file_name,
    load_folder,
)
from shimmy_vision.adapters.payload.packed_folder import has_payload
from shimmy_vision.adapters.payload.payload_vault import load_packed
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.payload.manifest import PayloadModel
from shimmy_vision.domain.payload.model_lock import is_listed
from shimmy_vision.domain.payload.seal import describe_seal
from shimmy_vision.errors import LibraryError, ModelError
from shimmy_vision.ports.engine_probe import Gpu, LibraryReport
from shimmy_vision.ports.library_places import PayloadPlaces

BUILD = "llama-cpp-python 0.3.36"

_REINSTALL = "Reinstall it: pip install --force-reinstall --no-deps shimmy-vision"
_GPU_BACKENDS = tuple(f"ggml-{name}" for name in ("cuda", "metal", "vulkan", "hip", "sycl"))


class NativeLog:
    """The last lines llama.cpp logged at warning level or above."""

    _WARN, _ERROR, _CONTINUED = 3, 4, 5  # ggml_log_level in ggml.h

    def __init__(self, capacity: int = 40) -> None:
        self._lines: deque[str] = deque(maxlen=capacity)
        self._kept_last = False
        self._listener: Callable[[str], None] | None = None
        self.callback = ggml_log_callback(self._receive)

    @contextmanager
    def told_to(self, listener: Callable[[str], None]) -> Iterator[None]:
        """A block in which every line, of any level, is told to ``listener`` as well."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def _receive(self, level: int, text: bytes | None, _data: int | None) -> None:
        if self._listener is not None and text:
            self._listener(text.decode("utf-8", "replace"))
        if level == self._CONTINUED and not self._kept_last:
            return
        self._kept_last = level in (self._WARN, self._ERROR, self._CONTINUED)
        if self._kept_last and text:
            self._lines.append(text.decode("utf-8", "replace").strip())

    def clear(self) -> None:
        self._lines.clear()

    def cause(self) -> str:
        """The most telling line, for an error message; empty if nothing was logged."""
        lines = list(self._lines)  # In one go: other threads' calls log at the same time.
        candidates = [line for line in lines if "error" in line or "fail" in line] or lines
        return candidates[0] if candidates else ""


class AbortFlag:
    """A flag that C code polls without entering Python.

    llama.cpp polls ``bool callback(void *data)`` between graph nodes. A Python
    callback there would cost the interpreter lock thousands of times a token;
    the C library's own ``strlen`` over a two-byte buffer answers the same
    question: 0 (false) while the first byte is NUL, 1 (true) once it is not.
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2)
        libc = ctypes.CDLL("msvcrt") if sys.platform == "win32" else ctypes.CDLL(None)
        self.callback_address = ctypes.cast(libc.strlen, ctypes.c_void_p).value
        self.data_address = ctypes.addressof(self._buffer)

    def set(self) -> None:
        self._buffer[0] = b"\x01"

    def clear(self) -> None:
        self._buffer[0] = b"\x00"

    @property
    def is_set(self) -> bool:
        return bool(self._buffer[0] != b"\x00")


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """The bound functions with the log that explains their failures.

    ``build`` says of what it was built, and who answers for it; ``models`` are those that a packed
    library was made for, None of one that lists none.
    """

    c: LlamaLibrary
    log: NativeLog
    build: str = BUILD
    models: tuple[PayloadModel, ...] | None = None

    def report(self) -> LibraryReport:
        """Build, CPU features compiled in (llama.cpp's own words) and GPUs."""
        info: bytes = self.c.llama_print_system_info()
        return LibraryReport(self.build, info.decode("utf-8", "replace").strip(), self.gpus())

    def refuse_unlisted(self, family: ModelFamily) -> None:
        """Raises ModelError with code model-not-in-library."""
        if self.models is not None and not is_listed(self.models, family):
            raise ModelError(
                "model-not-in-library",
                f"The native library of this build was not made for MiniCPM-V {family}.",
                hint="Install a model that it lists: shimmy models list",
            )

    def gpus(self) -> tuple[Gpu, ...]:
        """GPUs this build can offload to, with their memory."""
        devices: list[Gpu] = []
        for index in range(self.c.ggml_backend_dev_count()):
            device = self.c.ggml_backend_dev_get(index)
            if self.c.ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_GPU:
                continue
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            self.c.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
            devices.append(
                Gpu(
                    self.c.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                    self.c.ggml_backend_dev_description(device).decode("utf-8", "replace"),
                    total.value,
                )
            )
        return tuple(devices)


@cache
def open_native_library(directory: Path, places: PayloadPlaces | None = None) -> NativeLibrary:
    """Load and initialise the library in ``directory``, packed or not; once a process.

    A packed one is unpacked and remembered in ``places``, without them in memory alone. A build
    that pins a key loads nothing else. Raises LibraryError: library-missing, library-incomplete,
    library-load-failed, and what ``load_packed`` raises.
    """
    log = NativeLog()
    places = places or PayloadPlaces()
    if has_payload(directory) or places.public_key:
        opened = _open_packed(directory, places, log)
    else:
        said = f"{BUILD}, {describe_seal('unsealed', None)}"
        opened = NativeLibrary(_open_folder(directory), log, said)
    opened.c.ggml_log_set(log.callback, None)
    opened.c.llama_log_set(log.callback, None)
    opened.c.mtmd_helper_log_set(log.callback, None)
    opened.c.llama_backend_init()
    return opened


def _open_packed(directory: Path, places: PayloadPlaces, log: NativeLog) -> NativeLibrary:
    def hear(stem: str, loaded: ctypes.CDLL) -> None:
        if stem == "ggml-base":
            # Before backends are registered, which ggml tells of on standard error otherwise.
            loaded.ggml_log_set.argtypes = [ggml_log_callback, ctypes.c_void_p]
            loaded.ggml_log_set(log.callback, None)

    payload = load_packed(directory, places, hear)
    manifest, seal = payload.packed.manifest, payload.packed.seal
    try:
        library = LlamaLibrary(payload.libraries)
    except (AttributeError, KeyError) as error:
        raise LibraryError(
            "library-incomplete",
            f"The packed native library lacks a function that is called: {error}.",
            hint=_REINSTALL,
        ) from error
    said = f"{manifest.build}, {describe_seal(seal, manifest.version)}"
    return NativeLibrary(library, log, said, manifest.models)


def _open_folder(directory: Path) -> LlamaLibrary:
    """A folder of libraries, as llama-cpp-python installs them.

    The CPU backend is linked in, so ggml never searches folders or
    ``GGML_BACKEND_PATH`` for one (it does only when no backend is registered).
    """
    missing = [
        name
        for name in map(library_file_name, sorted(REQUIRED))
        if not (directory / name).is_file()
    ]
    if missing:
        raise LibraryError(
            "library-missing",
            f"The native library is incomplete: {', '.join(missing)} not found in {directory}.",
            hint=_REINSTALL,
        )
    try:
        return LlamaLibrary(load_folder(directory))
    except (OSError, AttributeError) as error:
        raise LibraryError(
            "library-load-failed",
            f"The native library in {directory} cannot be loaded: {error}",
            hint=f"{_REINSTALL}. If SHIMMY_LIBRARY_DIR is set, unset it.",
        ) from error


def has_gpu_backend(directory: Path) -> bool:
    """Whether the folder of libraries holds one that drives GPUs; none of them is loaded."""
    if not directory.is_dir():
        return False
    names = (path.name.removeprefix("lib") for path in directory.iterdir())
    return any(name.startswith(_GPU_BACKENDS) for name in names)
