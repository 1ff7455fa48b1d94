"""A container's image: which one was built, by what the commands say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from shimmy_ops.errors import DeployError

_PUSHED = re.compile(r"digest:\s*(sha256:[0-9a-f]{64})")
_ANY = re.compile(r"sha256:[0-9a-f]{64}")


def find_digest(said: str) -> str:
    """The last digest that a push or a build told of. Raises DeployError."""
    found = _PUSHED.findall(said) or _ANY.findall(said)
    if found:
        return str(found[-1])
    raise DeployError(
        "image-digest-unknown",
        "Neither container_push nor container_build said the image's digest (sha256:…).",
        hint="docker push says it; `docker build --quiet` says an image's id; for podman use "
        "--digestfile /dev/stdout.",
    )


def encode_image(name: str, version: str, digest: str, *, pushed: bool) -> str:
    """An image's record; a pushed one is named by its digest, which never means another."""
    named = f"{name}@{digest}" if pushed else f"{name}:{version}"
    return json.dumps({"image": named, "version": version, "digest": digest}, indent=2) + "\n"


def image_words(words: tuple[str, ...], given: Mapping[str, str]) -> tuple[str, ...]:
    """``{name}`` within each word replaced."""
    for name, value in given.items():
        words = tuple(word.replace(f"{{{name}}}", value) for word in words)
    return words
