"""From the command line's words to images: files, globs, folders, standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shimmy_vision.errors import ImageError, UsageError

STDIN = "-"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class ImageSource:
    """``name`` is what the user wrote or what was found; ``path`` None is standard input."""

    name: str
    path: Path | None

    def read(self, max_bytes: int) -> bytes:
        """The file's bytes; one more than ``max_bytes`` at most, so that intake can refuse it.

        Raises ImageError image-not-found or image-unreadable.
        """
        try:
            if self.path is None:
                return sys.stdin.buffer.read(max_bytes + 1)
            with self.path.open("rb") as file:
                return file.read(max_bytes + 1)
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
            f"The folder {folder} holds no images.",
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
