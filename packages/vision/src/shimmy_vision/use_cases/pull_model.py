"""Download and install one version: resumable, verified, once at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from shimmy_vision.domain.model.download import (
    AlreadyComplete,
    Append,
    AskAgain,
    Restart,
    decide_resume,
    retry_delay,
)
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.errors import DownloadError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ModelFiles
from shimmy_vision.ports.model_source import ModelSource
from shimmy_vision.ports.model_store import ModelStore, PartFile

_ATTEMPTS = 8
_CORRUPT_ATTEMPTS = 2
_SPARE_BYTES = 200_000_000
# Less than this in an attempt is no progress: a server may cut after every byte.
_PROGRESS_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class PullCollaborators:
    """``sleep`` waits between attempts; tests make it instant."""

    store: ModelStore
    source: ModelSource
    files: ModelFiles
    sleep: Callable[[float], None] = time.sleep


PullListener = Callable[[ModelFile, str, int, int], None]
"""Called with (file, "download" or "verify", bytes done, bytes in all)."""


def pull_model(
    pin: ModelPin,
    collaborators: PullCollaborators,
    cancellation: Cancellation,
    listener: PullListener,
    *,
    force: bool = False,
    on_wait: Callable[[], None] = lambda: None,
) -> tuple[Path, Path]:
    """Install ``pin``'s pair; files already installed and sound are kept unless ``force``.

    ``on_wait`` is called once if another process is installing this version.

    Returns the paths of main file and projector. Raises DownloadError or
    StoppedError; what was downloaded until then stays and is resumed.
    """
    with collaborators.store.lock(pin, cancellation, on_wait):
        missing = [
            file
            for file in pin.files
            if force or not _is_sound(pin, file, collaborators, cancellation, listener)
        ]
        _check_space(pin, missing, collaborators.store)
        for file in missing:
            _install(pin, file, collaborators, cancellation, listener)
    main, projector = (collaborators.store.stored(pin, file).path for file in pin.files)
    return main, projector


def _is_sound(
    pin: ModelPin,
    file: ModelFile,
    collaborators: PullCollaborators,
    cancellation: Cancellation,
    listener: PullListener,
) -> bool:
    stored = collaborators.store.stored(pin, file)
    if not stored.present or (file.size is not None and stored.size != file.size):
        return False
    digest = collaborators.files.sha256(
        stored.path,
        rehash=False,
        progress=lambda done, total: listener(file, "verify", done, total),
        cancellation=cancellation,
    )
    return digest == file.sha256


def _check_space(pin: ModelPin, missing: list[ModelFile], store: ModelStore) -> None:
    if missing:
        needed = sum(max(0, (f.size or 0) - store.stored(pin, f).partial) for f in missing)
        _demand_space(f"MiniCPM-V {pin.family}", needed, store)


def _demand_space(what: str, needed: int, store: ModelStore) -> None:
    free = store.free_bytes()
    if needed + _SPARE_BYTES > free:
        raise DownloadError(
            "disk-full",
            f"{what} needs {needed / 1e9:.2f} GB more and {free / 1e9:.2f} GB are free.",
            hint="Free space, or set SHIMMY_MODEL_DIR to a larger disk.",
        )


def _install(
    pin: ModelPin,
    file: ModelFile,
    collaborators: PullCollaborators,
    cancellation: Cancellation,
    listener: PullListener,
) -> None:
    for attempt in range(1, _CORRUPT_ATTEMPTS + 1):
        with collaborators.store.part(pin, file) as part:
            _download(pin, file, part, collaborators, cancellation, listener)
            digest = part.sha256(
                lambda done, total: listener(file, "verify", done, total), cancellation
            )
            if digest == file.sha256:
                collaborators.files.remember(part.commit(), digest)
                return
            part.restart("")
        if attempt == _CORRUPT_ATTEMPTS:
            raise DownloadError(
                "download-corrupt",
                f"{file.name} of {pin.repository} arrived with the wrong content: expected "
                f"SHA-256 {file.sha256[:12]}…, got {digest[:12]}….",
                hint="If you use a mirror, check it. Otherwise try again later.",
                retryable=True,
            )


def _download(
    pin: ModelPin,
    file: ModelFile,
    part: PartFile,
    collaborators: PullCollaborators,
    cancellation: Cancellation,
    listener: PullListener,
) -> None:
    """Until the part is complete; attempts that got further than any before do not count."""
    failures, furthest = 0, part.state.size
    rng = random.Random()  # noqa: S311 - jitter is no secret
    while file.size is None or part.state.size != file.size:
        try:
            if _transfer(pin, file, part, collaborators, cancellation, listener):
                return
        except DownloadError as error:
            cancellation.check()  # hanging up looks like a network error
            failures += 1
            if part.state.size >= furthest + _PROGRESS_BYTES:
                failures, furthest = 1, part.state.size
            if not error.retryable or failures >= _ATTEMPTS:
                raise
            _wait(
                retry_delay(failures, rng.random(), error.retry_after), collaborators, cancellation
            )


def _transfer(
    pin: ModelPin,
    file: ModelFile,
    part: PartFile,
    collaborators: PullCollaborators,
    cancellation: Cancellation,
    listener: PullListener,
) -> bool:
    """One request; True if the file is complete by the server's account."""
    with collaborators.source.fetch(pin, file, part.state, cancellation) as transfer:
        decision = decide_resume(part.state, transfer.reply)
        match decision:
            case AlreadyComplete():
                if file.size is not None and part.state.size != file.size:
                    part.restart("")
                    raise _interrupted(file, "the server's file has another size")
                return True
            case AskAgain(reason=reason):
                part.restart("")
                raise _interrupted(file, reason)
            case Restart(total=total):
                # Checked first: a reply that cannot be the file must not cost what is here.
                _check_size(file, total)
                part.restart(transfer.reply.tag)
            case Append(total=total):
                _check_size(file, total)
            case _:
                assert_never(decision)
        if file.size is None and total is not None:
            _demand_space(file.name, total - part.state.size, collaborators.store)
        bound = file.size or total
        for chunk in transfer.chunks:
            cancellation.check()
            if bound is not None and part.state.size + len(chunk) > bound:
                part.restart("")
                raise _interrupted(file, "the server sent more bytes than the file has")
            part.append(chunk)
            listener(file, "download", part.state.size, bound or 0)
    if bound is not None and part.state.size < bound:
        raise _interrupted(file, f"{bound - part.state.size} bytes are missing")
    return True


def _check_size(file: ModelFile, total: int | None) -> None:
    if file.size is not None and total is not None and total != file.size:
        raise DownloadError(
            "download-wrong-size",
            f"The server offers {total} bytes for {file.name}; it must have {file.size}.",
            hint="If you use a mirror, check it.",
            retryable=True,
        )


def _interrupted(file: ModelFile, reason: str) -> DownloadError:
    return DownloadError(
        "download-interrupted",
        f"The download of {file.name} broke off: {reason}.",
        hint="Run the command again: it resumes.",
        retryable=True,
    )


def _wait(seconds: float, collaborators: PullCollaborators, cancellation: Cancellation) -> None:
    while seconds > 0:
        cancellation.check()
        step = min(seconds, 0.2)
        collaborators.sleep(step)
        seconds -= step
