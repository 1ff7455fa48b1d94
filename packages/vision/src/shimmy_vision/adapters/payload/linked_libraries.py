"""Loads a payload's libraries in the manifest's order, and none but these.

Each is known to the dynamic linker by its soname before one that needs it comes, so no folder is
searched for it: not ``LD_LIBRARY_PATH``'s, not the current one. ggml is given its backend by path;
it looks for backends itself (beside the program, in the current folder, in ``GGML_BACKEND_PATH``)
only while it has none.
"""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Callable, Iterable
from pathlib import Path

from shimmy_vision.adapters.payload.library_images import LibraryImages
from shimmy_vision.domain.payload.manifest import PayloadFile, PayloadManifest
from shimmy_vision.errors import LibraryError

_MAPS = Path("/proc/self/maps")
_REGISTRY, _SCORE, _REGISTER = "ggml", "ggml_backend_score", "ggml_backend_load"

# Told of each library that was loaded, before any code of a later one runs.
Loaded = Callable[[str, ctypes.CDLL], None]
Linker = Callable[[str], ctypes.CDLL]


def link(
    manifest: PayloadManifest,
    images: LibraryImages,
    hear: Loaded,
    linker: Linker = ctypes.CDLL,
) -> dict[str, ctypes.CDLL]:
    """The loaded libraries by their stems, the chosen backend under its own.

    Raises LibraryError: library-already-loaded, library-load-failed, library-wrong-cpu, and what
    ``images`` raises. OSError where the place of the images is no good.
    """
    present = set(mapped_names())
    _refuse_foreign(manifest, present)
    loaded: dict[str, ctypes.CDLL] = {}
    backends = [one for one in manifest.files if one.role == "backend"]
    for file in manifest.files:
        if file.role == "runtime" and file.soname in present:
            continue  # The compiler's runtime serves whoever came first.
        if file.role == "backend":
            if not backends:
                continue
            chosen = _first_that_runs(backends, loaded, images, linker)
            loaded[chosen[0].stem], backends = chosen[1], []
            continue
        loaded[file.stem] = _load(file, images, linker)[1]
        hear(file.stem, loaded[file.stem])
    return loaded


def mapped_names() -> Iterable[str]:
    """File names of everything mapped into this process; none where the system does not say."""
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    fields = (line.split(maxsplit=5) for line in lines)
    return {one[5].removesuffix(" (deleted)").rpartition("/")[2] for one in fields if len(one) > 5}


def _refuse_foreign(manifest: PayloadManifest, present: set[str]) -> None:
    """A library of the same soname that is there already would be used in the place of ours."""
    ours = {
        name for one in manifest.files if one.role != "runtime" for name in (one.soname, one.name)
    }
    # Other versions of them too: what needs one would find two.
    stems = tuple(
        start
        for one in manifest.files
        if one.role != "runtime"
        for start in (f"lib{one.stem}.so", f"{one.soname.partition('.so')[0]}.so")
    )
    found = sorted(name for name in present if name in ours or name.startswith(stems))
    if found:
        raise LibraryError(
            "library-already-loaded",
            f"This process already holds another native library: {', '.join(found)}.",
            hint="Import no llama_cpp, and preload none of its libraries, in this process.",
        )


def _load(file: PayloadFile, images: LibraryImages, linker: Linker) -> tuple[str, ctypes.CDLL]:
    path = images.place(file)
    try:
        library = linker(path)
    except OSError as error:
        # The linker's words name the library by its descriptor.
        said = str(error).replace(path, file.name)
        raise LibraryError(
            "library-load-failed",
            f"The native library {file.name} cannot be loaded: {said}",
            hint="This system may be too old: the C library is asked for symbols it lacks. "
            "docs/deep-dive.md says what is needed.",
        ) from error
    images.confirm(file)
    return path, library


def _unload(library: ctypes.CDLL) -> None:
    """Its descriptor stays open: glibc keeps the name of a library that it cannot unload."""
    close = getattr(_ctypes, "dlclose", None)  # Windows has none; there it stays.
    if close is not None:
        close(library._handle)


def _first_that_runs(
    backends: list[PayloadFile],
    loaded: dict[str, ctypes.CDLL],
    images: LibraryImages,
    linker: Linker,
) -> tuple[PayloadFile, ctypes.CDLL]:
    """The best backend that this CPU can run, registered with ggml."""
    register = getattr(loaded[_REGISTRY], _REGISTER)
    register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    for file in backends:
        path, library = _load(file, images, linker)
        # A score of 0: made for another CPU. Asking is compiled for every CPU.
        if getattr(library, _SCORE)() > 0 and register(path.encode()):
            return file, library
        _unload(library)
    raise LibraryError(
        "library-wrong-cpu",
        "This CPU lacks the instructions that the native library needs at least: AVX2, FMA, F16C.",
        hint="Use a machine with a processor from 2013 or later; in a virtual machine, pass the "
        "host's CPU features through.",
    )
