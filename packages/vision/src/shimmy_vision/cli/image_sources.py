"""From the command line's words to files, globs, folders, standard input and URLs."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

from shimmy_vision.domain.web.page_urls import host_label, plain_url
from shimmy_vision.errors import ImageError, UsageError

STDIN = "-"
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".pdf"}
)
_URL = re.compile(r"https?:", re.IGNORECASE)
_HEAD = 1024  # bytes that tell a file's kind


@dataclass(frozen=True, slots=True)
class ImageSource:
    """``name`` is what the user wrote or what was found; ``path`` None is standard input."""

    name: str
    path: Path | None

    @property
    def label(self) -> str:
        """What messages and progress call it."""
        return self.name

    def read(self, most: Callable[[bytes], int]) -> bytes:
        """The file's bytes; one more than ``most`` at most, so that intake can refuse it.

        ``most`` is asked with the file's first bytes, which tell its kind. Raises ImageError
        image-not-found or image-unreadable.
        """
        try:
            opened = nullcontext(sys.stdin.buffer) if self.path is None else self.path.open("rb")
            with opened as file:
                return _read_up_to(file, most)
        except FileNotFoundError as error:
            raise ImageError(
                "image-not-found",
                f"There is no file {self.name}.",
                hint="Check the path; quote patterns so that shimmy expands them.",
            ) from error
        except OSError as error:
            raise ImageError(
                "image-unreadable", f"{self.name} cannot be read: {error.strerror or error}"
            ) from error


@dataclass(frozen=True, slots=True)
class UrlSource:
    """``name`` stands in results: the URL without credentials, query and fragment; ``label``, for

    messages and progress, is its host alone.
    """

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        return plain_url(self.url)

    @property
    def label(self) -> str:
        return host_label(self.url)


Source: TypeAlias = ImageSource | UrlSource


def _read_up_to(file: IO[bytes], most: Callable[[bytes], int]) -> bytes:
    head = file.read(_HEAD)
    return head + file.read(max(0, most(head) + 1 - len(head)))


def find_sources(words: Iterable[str], urls: Iterable[str]) -> list[Source]:
    """Every image the words name and every URL, in order, each once.

    Raises UsageError if none is named.
    """
    images = (source for word in words for source in _expand(word))
    found: list[Source] = list(dict.fromkeys([*images, *map(UrlSource, urls)]))
    if not found:
        raise UsageError(
            "usage",
            "Neither an image nor a URL was named.",
            hint="Use: shimmy vision IMAGE… or: shimmy vision --url URL",
        )
    return found


def _expand(word: str) -> Iterator[ImageSource]:
    if word == STDIN:
        if sys.stdin.isatty():
            raise UsageError(
                "nothing-piped",
                "'-' reads an image from standard input, which is this terminal.",
                hint="Pipe one: shimmy vision - < shot.png",
            )
        yield ImageSource("-", None)
        return
    path = Path(word).expanduser()
    # Not repeated in the message: it may carry what only its owner should read.
    if _URL.match(word) and not path.exists():
        raise UsageError(
            "url-as-file",
            "A URL was given where a file is expected.",
            hint="Use: shimmy vision --url URL",
        )
    if path.is_dir():
        yield from _folder(path)
    elif path.exists() or not glob.has_magic(word):
        yield ImageSource(word, path)
    else:
        yield from _pattern(word)


def _folder(folder: Path) -> Iterator[ImageSource]:
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not images:
        raise UsageError(
            "no-images",
            f"The folder {folder} holds no images or PDFs.",
            hint=f"Looked for {' '.join(sorted(SUFFIXES))}. For subfolders: '{folder}/**/*.png'",
        )
    yield from (ImageSource(str(path), path) for path in images)


def _pattern(pattern: str) -> Iterator[ImageSource]:
    matches = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207 - absolute patterns
    files = [Path(match) for match in matches if Path(match).is_file()]
    if not files:
        raise UsageError(
            "no-images",
            f"The pattern {pattern} matches no file.",
            hint="Check it with: ls; a folder's name alone takes every image in it.",
        )
    yield from (ImageSource(str(path), path) for path in files)
