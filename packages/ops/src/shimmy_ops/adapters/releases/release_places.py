"""The ``Places`` port: the site is a link, the configuration a file, the Worker a command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.adapters.releases.object_folders import CONFIG, ObjectFolders, file_digest
from shimmy_ops.domain.releases.records import PARTS, Part
from shimmy_ops.errors import ReleaseError

COMMAND_SECONDS = 300
_FOLDER = "{folder}"
IMAGE = "image.json"
"""What an image's object holds: its name with its digest, its digest, its version."""
Run: TypeAlias = Callable[[Sequence[str]], str]
"""Runs a command; why it failed, empty where it did not."""


@dataclass(frozen=True, slots=True)
class Targets:
    """None and empty: the profile names none. Commands run in ``base``; ``kept`` is for files."""

    base: Path
    kept: Path
    site: Path | None = None
    config: Path | None = None
    worker: tuple[str, ...] = ()
    image: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class ReleasePlaces:
    """See ``ports.releases``."""

    def __init__(self, targets: Targets, objects: ObjectFolders, run: Run | None = None) -> None:
        self._targets = targets
        self._objects = objects
        self._deploy = run or self._run

    def managed(self) -> frozenset[Part]:
        named = {
            "site": self._targets.site or self._targets.static,
            "config": self._targets.config,
            "worker": self._targets.worker,
            "image": self._targets.image,
        }
        return frozenset(part for part in PARTS if named[part])

    def commanded(self) -> frozenset[Part]:
        words = {
            "worker": self._targets.worker,
            "image": self._targets.image,
            "site": self._targets.static,
        }
        return frozenset(part for part in PARTS if words.get(part))

    def holds(self, part: Part, digest: str) -> bool | None:
        if part in self.commanded():
            return None
        if part == "site":
            site = _set(self._targets.site)
            return site.is_symlink() and site.readlink() == self._objects.files(digest)
        config, kept = _set(self._targets.config), self._objects.files(digest) / CONFIG
        return config.is_file() and kept.is_file() and config.read_bytes() == kept.read_bytes()

    def remember(self, part: Part) -> str:
        if part in self.commanded():
            return ""
        if part == "site":
            site = _set(self._targets.site)
            if site.exists() and not site.is_symlink():
                raise ReleaseError(
                    "site-current-no-link",
                    f"{site} is no link: it is not replaced.",
                    hint="Move it away, and let the web server serve this path.",
                )
            return str(site.readlink()) if site.is_symlink() else ""
        if part == "config":
            return self._keep(_set(self._targets.config))
        return ""

    def put(self, part: Part, digest: str) -> None:
        files = self._objects.files(digest)
        if part in self.commanded():
            self._command(part, files)
        elif part == "site":
            self._link(str(files))
        else:
            self._write(self._read(files / CONFIG))

    def put_back(self, part: Part, before: str) -> None:
        if part in self.commanded():
            self.put(part, before)
        elif part == "site":
            self._link(before)
        else:
            self._restore(before)

    def restarts(self) -> bool:
        return bool(self._targets.restart)

    def restart(self) -> str:
        if not self._targets.restart:
            return ""
        problem = self._run(self._targets.restart)
        return f"restart_command {problem}" if problem else ""

    def _command(self, part: Part, files: Path) -> None:
        """Raises ReleaseError."""
        words, setting = self._targets.worker, "worker_deploy"
        given = {_FOLDER: str(files)}
        if part == "site":
            words, setting = self._targets.static, "static_deploy"
        elif part == "image":
            words, setting = self._targets.image, "container_deploy"
            given = _image_words(self._read(files / IMAGE))
        for name, value in given.items():
            words = tuple(word.replace(name, value) for word in words)
        problem = self._deploy(words)
        if problem:
            raise ReleaseError("part-not-deployed", f"{setting} {problem}")

    def _link(self, target: str) -> None:
        site = _set(self._targets.site)
        fresh = site.with_name(f".{site.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            if not target:
                site.unlink(missing_ok=True)
                return
            site.parent.mkdir(parents=True, exist_ok=True)
            fresh.symlink_to(target)
            fresh.replace(site)
        except OSError as error:
            raise ReleaseError(
                "site-not-switched", f"{site} cannot be switched: {error.strerror}."
            ) from error

    def _keep(self, path: Path) -> str:
        """A copy under its digest, since it may be nothing that was ever recorded."""
        if not path.exists():
            return ""
        try:
            text, digest = path.read_text(encoding="utf-8"), file_digest(path)
            self._targets.kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise ReleaseError(
                "config-unreadable", f"{path} cannot be read: {type(error).__name__}."
            ) from error
        write_private(self._targets.kept / digest, text)
        return digest

    def _restore(self, before: str) -> None:
        if not before:
            _set(self._targets.config).unlink(missing_ok=True)
            return
        text = self._read(self._targets.kept / before)
        if hashlib.sha256(text.encode()).hexdigest() != before:
            raise ReleaseError("config-lost", "the configuration kept from before is damaged.")
        self._write(text)

    def _read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ReleaseError(
                "config-lost", f"a configuration cannot be read: {type(error).__name__}."
            ) from error

    def _write(self, text: str) -> None:
        config = _set(self._targets.config)
        try:
            config.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReleaseError(
                "config-not-switched", f"{config} cannot be written: {error.strerror}."
            ) from error
        write_private(config, text)

    def _run(self, words: Sequence[str]) -> str:
        """Why it failed. Whatever it starts may go on, so nothing waits for its output to end."""
        try:
            done = subprocess.run(
                words, cwd=self._targets.base, timeout=COMMAND_SECONDS, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"cannot be run: {type(error).__name__}."
        return f"ended with {done.returncode}." if done.returncode else ""


def _image_words(text: str) -> dict[str, str]:
    try:
        return {f"{{{name}}}": str(value) for name, value in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise ReleaseError("image-lost", "an image's record is damaged.") from error


def _set(path: Path | None) -> Path:
    if path is None:
        raise ReleaseError("place-not-set", "The profile names no place for this part.")
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the site's own link
