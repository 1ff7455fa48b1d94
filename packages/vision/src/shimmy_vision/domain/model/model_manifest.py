"""The MiniCPM-V files this product runs, pinned by size and SHA-256.

Digests and sizes as published; where a size is None it was not published
anywhere we could read, and the digest alone decides (docs/limits.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shimmy_vision.domain.model.model_family import ModelFamily


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a pair; ``size`` in bytes."""

    name: str
    size: int | None
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelPin:
    """One version: where its pair is published and what it must be."""

    family: ModelFamily
    repository: str
    revision: str
    parameters: str
    main: ModelFile
    projector: ModelFile

    @property
    def files(self) -> tuple[ModelFile, ModelFile]:
        return self.main, self.projector

    @property
    def known_size(self) -> int:
        """Bytes of the files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    def path_of(self, file: ModelFile) -> str:
        """The file's path below the base URL, in the layout of the model hub."""
        return f"{self.repository}/resolve/{self.revision}/{file.name}"


MANIFEST: Mapping[ModelFamily, ModelPin] = {
    "4.6": ModelPin(
        "4.6",
        "openbmb/MiniCPM-V-4.6-gguf",
        "afe9accb78d2995d214cd912920c9c92f4015faa",
        "1.3B",
        ModelFile(
            "MiniCPM-V-4_6-Q4_K_M.gguf",
            529_101_504,
            "6b0c74962c44bc6bf4b655b9b02c13eda9d5a0491543ae976d1ac18e4b7892e2",
        ),
        ModelFile(
            "mmproj-model-f16.gguf",
            1_108_746_944,
            "ca931d861d0801d9003e50697cd764721a334107c0e0415a51168ee1938462de",
        ),
    ),
    "4.5": ModelPin(
        "4.5",
        "openbmb/MiniCPM-V-4_5-gguf",
        "main",
        "8.7B",
        ModelFile(
            "MiniCPM-V-4_5-Q4_K_M.gguf",
            5_026_714_304,
            "c1c3c33100b15b4caf7319acce4e23c0eb0ce1cbd12f70e8d24f05aa67b7512f",
        ),
        ModelFile(
            "mmproj-model-f16.gguf",
            1_095_113_184,
            "7a7225a32e8d453aaa3d22d8c579b5bf833c253f784cdb05c99c9a76fd616df8",
        ),
    ),
    "4.0": ModelPin(
        "4.0",
        "openbmb/MiniCPM-V-4-gguf",
        "main",
        "4.1B",
        ModelFile(
            "ggml-model-Q4_K_M.gguf",
            None,
            "b0ff610e9c92b30389ff1e0dd40fffed3c1f02a9d34a735fd5fba6a5ad25672b",
        ),
        ModelFile(
            "mmproj-model-f16.gguf",
            None,
            "f0faa9ae63532300999c86a196f140c716cd0fbb08bbbd81850f1f9a631f7761",
        ),
    ),
    "2.6": ModelPin(
        "2.6",
        "openbmb/MiniCPM-V-2_6-gguf",
        "48fe6436abf57b3df6ec34f73cdc1fb4b740acb0",
        "8.1B",
        ModelFile(
            "ggml-model-Q4_K_M.gguf",
            4_681_089_344,
            "3a4078d53b46f22989adbf998ce5a3fd090b6541f112d7e936eb4204a04100b1",
        ),
        ModelFile(
            "mmproj-model-f16.gguf",
            1_044_425_152,
            "4485f68a0f1aa404c391e788ea88ea653c100d8e98fe572698f701e5809711fd",
        ),
    ),
}


def find_pin(main_sha256: str, projector_sha256: str) -> ModelPin | None:
    """The version that consists of exactly these two files."""
    return next(
        (
            pin
            for pin in MANIFEST.values()
            if (pin.main.sha256, pin.projector.sha256) == (main_sha256, projector_sha256)
        ),
        None,
    )
