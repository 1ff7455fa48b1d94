"""Makes a payload out of built libraries: for the build, and for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shimmy_vision.adapters.payload.packed_folder import MANIFEST, SIGNATURE, SUFFIX, compress
from shimmy_vision.domain.payload.manifest import (
    FORMAT,
    PayloadFile,
    PayloadManifest,
    PayloadModel,
    Role,
    canonical_bytes,
    parse_manifest,
)
from shimmy_vision.domain.payload.seal import signed_bytes


@dataclass(frozen=True, slots=True)
class BuiltLibrary:
    """One stripped library: its bytes, how it is called, what it is for."""

    data: bytes
    stem: str
    soname: str
    role: Role


@dataclass(frozen=True, slots=True)
class PayloadFacts:
    """What the manifest says besides its files."""

    version: int
    minimum_version: int
    platform: str
    build: str
    llama_cpp: str
    ggml: str
    models: tuple[PayloadModel, ...]


def pack(
    libraries: Sequence[BuiltLibrary],
    facts: PayloadFacts,
    folder: Path,
    key: Ed25519PrivateKey | None,
    level: int = 19,
) -> PayloadManifest:
    """Write the packed files, the manifest and, with a ``key``, its signature into ``folder``.

    ``libraries`` come in the order in which they are loaded. Raises ValueError where they make no
    sound manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = PayloadManifest(
        format=FORMAT,
        version=facts.version,
        minimum_version=facts.minimum_version,
        mode="development" if key is None else "release",
        platform=facts.platform,
        build=facts.build,
        llama_cpp=facts.llama_cpp,
        ggml=facts.ggml,
        files=tuple(_pack_one(one, folder, level) for one in libraries),
        models=facts.models,
    )
    data = canonical_bytes(manifest)
    parse_manifest(data)
    (folder / MANIFEST).write_bytes(data)
    if key is not None:
        (folder / SIGNATURE).write_bytes(key.sign(signed_bytes(data)))
    return manifest


def _pack_one(library: BuiltLibrary, folder: Path, level: int) -> PayloadFile:
    packed = compress(library.data, level)
    (folder / f"{library.soname}{SUFFIX}").write_bytes(packed)
    return PayloadFile(
        name=library.soname,
        stem=library.stem,
        soname=library.soname,
        role=library.role,
        size=len(library.data),
        sha256=hashlib.sha256(library.data).hexdigest(),
        packed_size=len(packed),
        packed_sha256=hashlib.sha256(packed).hexdigest(),
    )
