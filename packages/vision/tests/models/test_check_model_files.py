"""The model lock: structure, identity, digest, in that order, before a weight is mapped."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import gguf
import numpy as np
import pytest
from rewritten_files import rewrite_file

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.files.folder_model_store import FolderModelStore
from shimmy_vision.adapters.files.hashed_model_files import HashedModelFiles
from shimmy_vision.domain.model.model_manifest import MANIFEST, ModelFile, ModelPin
from shimmy_vision.domain.model.model_request import AnyModel, ModelFolder, PinnedModel
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ignore_bytes
from shimmy_vision.use_cases.check_model_files import (
    CheckedPair,
    CheckOptions,
    ModelPair,
    check_model_files,
)
from shimmy_vision.use_cases.list_models import list_models
from shimmy_vision.use_cases.locate_model import LocateCollaborators, locate_model
from shimmy_vision.use_cases.remove_model import remove_model
from shimmy_vision.use_cases.verify_model import verify_model

ANY = Cancellation()
_ASKED_OF_A_MERGER = (
    *(f"v.vit_merger.{part}.{kind}" for part in ("ln1", "ds_ln") for kind in ("weight", "bias")),
    *(f"v.vit_merger.attn_{part}.weight" for part in ("q", "k", "v", "out")),
    *(f"v.vit_merger.ds_ffn_{part}.weight" for part in ("up", "down")),
    "mm.input_norm.weight",
    "mm.up.weight",
)


def _write(path: Path, architecture: str, width: int = 64, **text: str) -> Path:
    """A genuine-looking file without the synthetic mark."""
    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in text.items():
        writer.add_string(key.replace("__", "."), value)
    if architecture == "clip":
        writer.add_uint32("clip.vision.image_size", 448)
        writer.add_uint32("clip.vision.patch_size", 14)
        writer.add_tensor("v.position_embd.weight", np.ones((4900, 1), dtype=np.float32))
        for name in _ASKED_OF_A_MERGER:
            writer.add_tensor(name, np.ones(32, dtype=np.float32))
        writer.add_tensor("mm.down.weight", np.ones((width, 32), dtype=np.float32))
    else:
        writer.add_uint32(f"{architecture}.embedding_length", width)
        writer.add_tensor("token_embd.weight", np.ones((1, width), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def genuine(tmp_path: Path) -> tuple[Path, Path, ModelPin]:
    """A pair built like 4.6 and a pin that it matches."""
    store = FolderModelStore(tmp_path / "models")
    folder = store.folder(MANIFEST["4.6"])
    folder.mkdir(parents=True)
    main = _write(folder / "main.gguf", "qwen35", general__name="Model")
    projector = _write(folder / "mmproj.gguf", "clip", clip__projector_type="minicpmv4_6")

    def file(path: Path) -> ModelFile:
        data = path.read_bytes()
        return ModelFile(path.name, len(data), hashlib.sha256(data).hexdigest())

    return main, projector, ModelPin("4.6", "r", "main", "1B", file(main), file(projector))


@pytest.fixture
def files(tmp_path: Path) -> HashedModelFiles:
    return HashedModelFiles(tmp_path / "state/digests.json")


def _check(
    main: Path,
    projector: Path,
    files: HashedModelFiles,
    pin: ModelPin | None = None,
    **options: bool,
) -> CheckedPair:
    pair = ModelPair(main, projector, pin)
    return check_model_files(pair, files, CheckOptions(**options), ignore_bytes, ANY)


def test_a_pinned_pair_passes(
    genuine: tuple[Path, Path, ModelPin], files: HashedModelFiles
) -> None:
    checked = _check(*genuine[:2], files, genuine[2])
    assert checked.identity.family == "4.6"
    assert checked.main_sha256 == genuine[2].main.sha256


def test_one_flipped_byte_of_a_weight_is_refused(
    genuine: tuple[Path, Path, ModelPin], files: HashedModelFiles
) -> None:
    main, projector, pin = genuine
    for path in (main, projector):
        good = path.read_bytes()
        _check(main, projector, files, pin)
        bad = bytearray(good)
        bad[-1] ^= 1
        rewrite_file(path, bytes(bad))
        with pytest.raises(ModelError) as refused:
            _check(main, projector, files, pin)
        assert refused.value.code == "model-digest-mismatch"
        assert path.name in refused.value.message
        assert "--force" in refused.value.hint
        rewrite_file(path, good)


def test_a_change_that_keeps_size_and_time_needs_a_rehash(
    genuine: tuple[Path, Path, ModelPin], files: HashedModelFiles
) -> None:
    main, projector, pin = genuine
    _check(main, projector, files, pin)
    status, bad = main.stat(), bytearray(main.read_bytes())
    bad[-1] ^= 1
    with main.open("r+b") as file:
        file.write(bad)
    os.utime(main, ns=(status.st_atime_ns, status.st_mtime_ns))
    _check(main, projector, files, pin)  # documented: identity is inode, size and mtime
    with pytest.raises(ModelError, match="SHA-256"):
        _check(main, projector, files, pin, rehash=True)


def test_digests_are_remembered(
    genuine: tuple[Path, Path, ModelPin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "digests.json"
    _check(*genuine[:2], HashedModelFiles(record), genuine[2])
    monkeypatch.setattr(
        "shimmy_vision.adapters.files.hashed_model_files.hash_file",
        lambda *_: pytest.fail("the file was hashed again"),
    )
    _check(*genuine[:2], HashedModelFiles(record), genuine[2])


@pytest.mark.parametrize("architecture", ["qwen2", "qwen35", "llama", "qwen3"])
def test_a_renamed_model_is_refused(
    tmp_path: Path, files: HashedModelFiles, architecture: str
) -> None:
    """A plain Qwen or Llama under MiniCPM-V's name: built alike or not, its digest is not ours."""
    main = _write(tmp_path / "MiniCPM-V-4_6-Q4_K_M.gguf", architecture)
    projector = _write(tmp_path / "mmproj.gguf", "clip", clip__projector_type="minicpmv4_6")
    with pytest.raises(ModelError) as refused:
        _check(main, projector, files)
    expected = "model-digest-mismatch" if architecture == "qwen35" else "model-projector-mismatch"
    assert refused.value.code == expected


def test_llava_is_refused(tmp_path: Path, files: HashedModelFiles) -> None:
    main = _write(tmp_path / "main.gguf", "llama")
    projector = _write(tmp_path / "mmproj.gguf", "clip", clip__projector_type="mlp")
    with pytest.raises(ModelError) as refused:
        _check(main, projector, files)
    assert refused.value.code == "projector-not-minicpmv"
    assert "mlp" in refused.value.message


def test_a_swapped_projector_is_refused(
    synthetic_26: SyntheticPair, synthetic_46: SyntheticPair, files: HashedModelFiles
) -> None:
    with pytest.raises(ModelError) as refused:
        _check(synthetic_26.main, synthetic_46.projector, files, allow_synthetic=True)
    assert refused.value.code == "model-projector-mismatch"


def test_synthetic_pairs_need_permission(
    synthetic_46: SyntheticPair, files: HashedModelFiles
) -> None:
    with pytest.raises(ModelError) as refused:
        _check(synthetic_46.main, synthetic_46.projector, files)
    assert refused.value.code == "model-synthetic-not-allowed"
    assert "SHIMMY_ALLOW_SYNTHETIC=1" in refused.value.hint
    checked = _check(synthetic_46.main, synthetic_46.projector, files, allow_synthetic=True)
    assert checked.identity.synthetic


def test_structure_is_judged_before_content(
    genuine: tuple[Path, Path, ModelPin], files: HashedModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, projector, pin = genuine
    main.write_bytes(main.read_bytes()[:-200])
    monkeypatch.setattr(files, "sha256", lambda *_a, **_k: pytest.fail("hashed before understood"))
    with pytest.raises(ModelError) as refused:
        _check(main, projector, files, pin)
    assert refused.value.code == "model-truncated"


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "model-truncated"), (b"PK\3\4" * 9, "model-not-gguf")]
)
def test_files_that_are_none(
    tmp_path: Path,
    synthetic_46: SyntheticPair,
    files: HashedModelFiles,
    content: bytes,
    code: str,
) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        _check(path, synthetic_46.projector, files)
    assert refused.value.code == code
    with pytest.raises(ModelError) as refused:
        _check(tmp_path / "none.gguf", synthetic_46.projector, files)
    assert refused.value.code == "model-file-missing"


def _locate(
    tmp_path: Path, files: HashedModelFiles, pin: ModelPin, *, synthetic: bool = False
) -> LocateCollaborators:
    return LocateCollaborators(
        manifest={**MANIFEST, "4.6": pin},
        store=FolderModelStore(tmp_path / "models"),
        files=files,
        gpu_memory=lambda: None,
        names_in=lambda folder: [path.name for path in folder.iterdir()],
        check=CheckOptions(allow_synthetic=synthetic),
    )


def test_the_installed_model_is_found(
    tmp_path: Path, genuine: tuple[Path, Path, ModelPin], files: HashedModelFiles
) -> None:
    collaborators = _locate(tmp_path, files, genuine[2])
    for request in (AnyModel(), PinnedModel("4.6")):
        assert locate_model(request, collaborators, ANY).main == genuine[0]
    with pytest.raises(ModelError) as refused:
        locate_model(PinnedModel("4.5"), collaborators, ANY)
    assert refused.value.code == "model-not-installed"
    assert refused.value.hint.endswith("shimmy models pull 4.5")


def test_a_folder_with_a_pair_is_found(
    tmp_path: Path,
    synthetic_26: SyntheticPair,
    genuine: tuple[Path, Path, ModelPin],
    files: HashedModelFiles,
) -> None:
    collaborators = _locate(tmp_path, files, genuine[2], synthetic=True)
    for wish in (str(synthetic_26.main.parent), str(synthetic_26.main)):
        assert locate_model(ModelFolder(wish), collaborators, ANY).main == synthetic_26.main
    with pytest.raises(ModelError) as refused:
        locate_model(ModelFolder(str(tmp_path)), collaborators, ANY)
    assert refused.value.code == "model-pair-not-found"


def test_list_verify_remove(
    tmp_path: Path, genuine: tuple[Path, Path, ModelPin], files: HashedModelFiles
) -> None:
    main, projector, pin = genuine
    store = FolderModelStore(tmp_path / "models")
    assert [one.state for one in list_models([pin], store)] == ["installed"]
    verify_model(pin, store, files, ignore_bytes, ANY, rehash=True)
    size = main.stat().st_size + projector.stat().st_size
    assert remove_model(pin, store, ANY) == size
    assert [one.state for one in list_models([pin], store)] == ["not installed"]
    with pytest.raises(ModelError) as refused:
        verify_model(pin, store, files, ignore_bytes, ANY)
    assert refused.value.code == "model-not-installed"
    (store.folder(pin) / "main.gguf.part").write_bytes(b"x")
    assert [one.state for one in list_models([pin], store)] == ["partial"]
