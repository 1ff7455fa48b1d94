"""From the command line's words to images and PDFs: files, globs, folders, standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shimmy_vision.errors import ImageError, UsageError

STDIN = "-"
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".pdf"}
)
_HEAD = 1024  # bytes that tell a file's kind


@dataclass(frozen=True, slots=True)
class ImageSource:
    """``name`` is what the user wrote or what was found; ``path`` None is standard input."""

    name: str
    path: Path | None

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


def _read_up_to(file: IO[bytes], most: Callable[[bytes], int]) -> bytes:
    head = file.read(_HEAD)
    return head + file.read(max(0, most(head) + 1 - len(head)))


def find_images(words: Iterable[str]) -> list[ImageSource]:
    """Every image the words name, in order, each once. Raises UsageError if none is named."""
    found = list(dict.fromkeys(source for word in words for source in _expand(word)))
    if not found:
        raise UsageError("no-images", "No image was named.", hint="Use: shimmy vision IMAGE…")
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
