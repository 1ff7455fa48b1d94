"""The manifest of a packed native library: one canonical text, whose bytes are what is signed.

Whatever is not exactly in this form is refused, so that two programs never read one signed text
in two ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, TypeAlias, cast, get_args

Mode: TypeAlias = Literal["release", "development"]
Role: TypeAlias = Literal["runtime", "library", "backend"]

FORMAT: Final = 1
LONGEST_MANIFEST: Final = 256 * 1024  # bytes
_MOST_FILES: Final = 64
_LARGEST_FILE: Final = 1 << 30  # bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXT = re.compile(r"[ -~]{1,120}")


@dataclass(frozen=True, slots=True)
class PayloadFile:
    """One library. ``size`` and ``packed_size`` in bytes, digests are SHA-256 in hex.

    ``role``: a ``runtime`` of the compiler, which may be there already; a ``library``, always
    loaded; a ``backend``, of which the first that this CPU can run is loaded.
    """

    name: str
    stem: str
    soname: str
    role: Role
    size: int
    sha256: str
    packed_size: int
    packed_sha256: str


@dataclass(frozen=True, slots=True)
class PayloadModel:
    """One model that this payload was made for, and no other is opened with it."""

    family: str
    architecture: str
    projector: str
    main_sha256: str
    projector_sha256: str


@dataclass(frozen=True, slots=True)
class PayloadManifest:
    """``files`` in the order in which they are loaded, of the backends the best first.

    ``version`` only grows; nothing older than ``minimum_version`` is loaded once this one was.
    """

    format: int
    version: int
    minimum_version: int
    mode: Mode
    platform: str
    build: str
    llama_cpp: str
    ggml: str
    files: tuple[PayloadFile, ...]
    models: tuple[PayloadModel, ...]


def canonical_bytes(manifest: PayloadManifest) -> bytes:
    """The one text of a manifest: ASCII JSON, keys sorted, no blanks, one line."""
    text = json.dumps(asdict(manifest), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def parse_manifest(data: bytes) -> PayloadManifest:
    """Raises ValueError that says what is wrong; never anything else."""
    if len(data) > LONGEST_MANIFEST:
        raise ValueError("it is too long")
    try:
        raw = json.loads(data.decode("ascii"))
    except RecursionError:
        raise ValueError("it nests too deep") from None
    manifest = _manifest(raw)
    _check_whole(manifest)
    if canonical_bytes(manifest) != data:
        raise ValueError("it is not in its canonical form")
    return manifest


def _manifest(raw: object) -> PayloadManifest:
    found = _exactly(raw, PayloadManifest)
    if found["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    return PayloadManifest(
        format=_number("format", found, 1 << 31),
        version=_number("version", found, 1 << 53),
        minimum_version=_number("minimum_version", found, 1 << 53),
        mode=cast("Mode", _choice("mode", found, get_args(Mode))),
        platform=_match("platform", found, _NAME),
        build=_match("build", found, _TEXT),
        llama_cpp=_match("llama_cpp", found, _TEXT),
        ggml=_match("ggml", found, _TEXT),
        files=_each("files", found, _file),
        models=_each("models", found, _model),
    )


def _file(raw: object) -> PayloadFile:
    found = _exactly(raw, PayloadFile)
    return PayloadFile(
        name=_match("name", found, _NAME),
        stem=_match("stem", found, _NAME),
        soname=_match("soname", found, _NAME),
        role=cast("Role", _choice("role", found, get_args(Role))),
        size=_number("size", found, _LARGEST_FILE),
        sha256=_match("sha256", found, _DIGEST),
        packed_size=_number("packed_size", found, _LARGEST_FILE),
        packed_sha256=_match("packed_sha256", found, _DIGEST),
    )


def _model(raw: object) -> PayloadModel:
    found = _exactly(raw, PayloadModel)
    return PayloadModel(
        family=_match("family", found, _NAME),
        architecture=_match("architecture", found, _NAME),
        projector=_match("projector", found, _NAME),
        main_sha256=_match("main_sha256", found, _DIGEST),
        projector_sha256=_match("projector_sha256", found, _DIGEST),
    )


def _check_whole(manifest: PayloadManifest) -> None:
    if manifest.minimum_version > manifest.version:
        raise ValueError("it asks for more than its own version")
    for name in ("name", "stem", "soname"):
        values = [getattr(one, name) for one in manifest.files]
        # Without regard to case: on some disks two such files are one.
        if len({value.lower() for value in values}) != len(values):
            raise ValueError(f"two files have one {name}")
    if not any(one.role == "library" for one in manifest.files):
        raise ValueError("it lists no library")
    families = [one.family for one in manifest.models]
    if len(set(families)) != len(families):
        raise ValueError("a model is listed twice")


def _exactly(raw: object, kind: type) -> Mapping[str, object]:
    names = {field.name for field in fields(kind)}
    if not isinstance(raw, dict) or set(raw) != names:
        raise ValueError(f"it does not have exactly the fields {', '.join(sorted(names))}")
    return cast("Mapping[str, object]", raw)


def _number(name: str, found: Mapping[str, object], most: int) -> int:
    value = found[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ValueError(f"{name} is no number in its bounds")
    return value


def _match(name: str, found: Mapping[str, object], form: re.Pattern[str]) -> str:
    value = found[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{name} is not of its form")
    return value


def _choice(name: str, found: Mapping[str, object], allowed: tuple[str, ...]) -> str:
    value = found[name]
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is none of {', '.join(allowed)}")
    return value


def _each(name: str, found: Mapping[str, object], read: Callable[[object], Any]) -> tuple[Any, ...]:
    value = found[name]
    if not isinstance(value, list) or len(value) > _MOST_FILES:
        raise ValueError(f"{name} is no list, or too long")
    return tuple(read(one) for one in value)
