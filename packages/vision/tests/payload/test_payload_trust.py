"""Signatures, versions and manifests: what is believed, and in which words it is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from payloads import ANSWER, KEY, PUBLIC, TinyPayloads, Trial, Trials

from shimmy_vision.adapters.payload.payload_vault import describe_library, open_packed
from shimmy_vision.domain.model.model_family import FAMILIES
from shimmy_vision.domain.model.model_identity import BUILT_AS
from shimmy_vision.domain.model.model_manifest import MANIFEST
from shimmy_vision.domain.payload.folder_trust import FolderFacts, judge_own, judge_way
from shimmy_vision.domain.payload.manifest import (
    LONGEST_MANIFEST,
    PayloadFile,
    PayloadManifest,
    canonical_bytes,
    parse_manifest,
)
from shimmy_vision.domain.payload.model_lock import is_listed, models_to_list
from shimmy_vision.domain.payload.rollback import (
    SeenVersions,
    judge_version,
    read_seen,
    remember_version,
)
from shimmy_vision.domain.payload.seal import judge_seal, signed_bytes
from shimmy_vision.errors import LibraryError

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
SAMPLE = PayloadManifest(
    format=1,
    version=5,
    minimum_version=2,
    mode="release",
    platform="linux-x86_64",
    build="llama.cpp 0.5.0",
    llama_cpp="0.5.0",
    ggml="0.25.3",
    files=tuple(
        PayloadFile(
            f"lib{stem}.so.0", stem, f"lib{stem}.so.0", "library", 10, "a" * 64, 5, "b" * 64
        )
        for stem in ("ggml-base", "ggml", "llama")
    ),
    models=models_to_list(MANIFEST),
)


@pytest.fixture
def trial(tiny: TinyPayloads, tmp_path: Path) -> Trial:
    tiny.pack(tmp_path / "packed")
    return Trial(tmp_path / "packed", tmp_path / "cache/native", tmp_path / "seen.json")


def _code(folder: Path, public_key: str = PUBLIC) -> str:
    with pytest.raises(LibraryError) as refused:
        open_packed(folder, public_key)
    assert refused.value.hint
    assert str(folder) not in refused.value.message
    return refused.value.code


def test_a_signed_payload_is_sealed_and_an_unsigned_one_says_so(
    tiny: TinyPayloads, tmp_path: Path
) -> None:
    tiny.pack(tmp_path / "signed")
    tiny.pack(tmp_path / "unsigned", key=None)
    assert open_packed(tmp_path / "signed", PUBLIC).seal == "sealed"
    assert open_packed(tmp_path / "unsigned", "").seal == "development"
    assert describe_library(tmp_path / "signed", PUBLIC) == "sealed payload 5"
    assert describe_library(tmp_path / "unsigned", "") == "development payload 5, unsigned"
    # Who pins no key cannot tell a signed one either.
    assert open_packed(tmp_path / "signed", "").seal == "development"
    assert describe_library(tmp_path / "nowhere", "") == "unsealed development install"
    assert describe_library(tmp_path / "nowhere", PUBLIC) == "refused: payload-manifest-missing"


def test_a_build_that_pins_a_key_takes_nothing_else(tiny: TinyPayloads, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    assert _code(folder) == "payload-manifest-missing"
    tiny.pack(folder, key=None)
    assert _code(folder) == "payload-unsigned"
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(OTHER.sign(signed_bytes(manifest)))
    assert _code(folder) == "payload-wrong-signature"
    (folder / "manifest.sig").write_bytes(KEY.sign(manifest))
    assert _code(folder) == "payload-wrong-signature"
    for wrong in (b"", b"x" * 63, b"x" * 64, b"x" * 65, KEY.sign(signed_bytes(manifest)) + b"x"):
        (folder / "manifest.sig").write_bytes(wrong)
        assert _code(folder) == "payload-wrong-signature"
    (folder / "manifest.sig").write_bytes(KEY.sign(signed_bytes(manifest)))
    assert _code(folder) == "payload-not-a-release"
    (folder / "manifest.sig").unlink()
    (folder / "manifest.sig").mkdir()
    assert _code(folder) == "payload-wrong-signature"


def test_a_payload_of_another_platform_is_refused(tiny: TinyPayloads, tmp_path: Path) -> None:
    tiny.pack(tmp_path / "packed")
    manifest = parse_manifest((tmp_path / "packed/manifest.json").read_bytes())
    data = canonical_bytes(replace(manifest, platform="plan9-mips"))
    (tmp_path / "packed/manifest.json").write_bytes(data)
    (tmp_path / "packed/manifest.sig").write_bytes(KEY.sign(signed_bytes(data)))
    assert _code(tmp_path / "packed") == "payload-wrong-platform"


def test_an_older_version_is_refused_unless_asked_for_and_a_withdrawn_one_always(
    trial: Trial, trials: Trials, tiny: TinyPayloads
) -> None:
    def at(version: int, minimum: int = 1, *, allow_older: bool = False) -> dict[str, Any]:
        tiny.pack(trial.folder, version=version, minimum=minimum)
        return trials.one(replace(trial, allow_older=allow_older))

    assert at(5)["answer"] == ANSWER
    assert at(7, 4)["answer"] == ANSWER
    older = at(5)
    assert older["code"] == "payload-older"
    assert "SHIMMY_ALLOW_OLDER_LIBRARY=1" in older["hint"]
    assert "(version 5)" in older["message"]
    assert "7" in older["message"]
    assert at(5, allow_older=True)["answer"] == ANSWER
    assert at(5)["code"] == "payload-older"
    assert at(3, allow_older=True)["code"] == "payload-withdrawn"
    assert at(7, 4)["answer"] == ANSWER
    assert json.loads(trial.record.read_text()) == {"highest": 7, "minimum": 4}
    # A damaged record is no reason to stop, as a missing one is none.
    trial.record.write_text("[broken")
    assert at(5)["answer"] == ANSWER


@given(version=st.integers(1, 9), minimum=st.integers(1, 9), first=st.integers(1, 9))
def test_what_was_seen_never_shrinks(version: int, minimum: int, first: int) -> None:
    before = SeenVersions(first, min(first, minimum))
    after = remember_version(version, min(minimum, version), before)
    assert after.highest >= max(version, first)
    assert after.minimum >= before.minimum
    assert judge_version(version, after, allow_older=True) in (None, "below-minimum")
    assert (judge_version(version, after, allow_older=False) is None) == (
        version == after.highest and version >= after.minimum
    )


@given(st.dictionaries(st.sampled_from(["highest", "minimum", "x"]), st.integers() | st.text()))
def test_any_record_is_read(record: dict[str, object]) -> None:
    seen = read_seen(record)
    assert seen.highest >= 0
    assert seen.minimum >= 0


def test_a_manifest_has_one_text() -> None:
    data = canonical_bytes(SAMPLE)
    assert parse_manifest(data) == SAMPLE
    for other in (data + b"\n", b" " + data, data[:-1], json.dumps(json.loads(data)).encode()):
        with pytest.raises(ValueError, match=r"."):
            parse_manifest(other)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("format", 2, "format"),
        ("version", 0, "version"),
        ("version", True, "version"),
        ("version", 1.5, "version"),
        ("minimum_version", 6, "more than its own"),
        ("mode", "other", "mode"),
        ("platform", "../x", "platform"),
        ("build", "two\nlines", "build"),
        ("files", [], "no library"),
        ("files", {}, "files"),
        ("models", [1], "exactly"),
    ],
)
def test_a_wrong_manifest_is_refused_in_words(field: str, value: object, said: str) -> None:
    raw = json.loads(canonical_bytes(SAMPLE))
    raw[field] = value
    with pytest.raises(ValueError, match=said):
        parse_manifest(_canonical(raw))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        *(
            ("name", name, "name is not")
            for name in ("../evil", "a/b", ".hidden", "", "a\0b", "x" * 81, "é", 7, None)
        ),
        ("name", "libggml.so.0", "two files have one name"),
        ("name", "LIBGGML.so.0", "two files have one name"),
        ("stem", "GGML", "two files have one stem"),
        ("soname", "libggml.so.0", "two files have one soname"),
        ("role", "root", "role is none"),
        ("role", ["library"], "role is none"),
        ("size", 0, "size is no number"),
        ("size", True, "size is no number"),
        ("size", 1.0, "size is no number"),
        ("size", (1 << 30) + 1, "size is no number"),
        ("packed_size", 1 << 40, "packed_size is no number"),
        ("sha256", "A" * 64, "sha256 is not"),
        ("sha256", "a" * 64 + "\n", "sha256 is not"),
        ("packed_sha256", "a" * 63, "packed_sha256 is not"),
        ("more", 1, "exactly the fields"),
    ],
)
def test_a_wrong_file_in_a_manifest_is_refused(field: str, value: object, said: str) -> None:
    raw = json.loads(canonical_bytes(SAMPLE))
    raw["files"][0][field] = value
    with pytest.raises(ValueError, match=said):
        parse_manifest(_canonical(raw))


def _canonical(raw: object) -> bytes:
    """In the one form of a manifest, so that nothing but its content is wrong."""
    return json.dumps(raw, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_a_manifest_has_its_bounds() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_manifest(b" " * (LONGEST_MANIFEST + 1))
    raw = json.loads(canonical_bytes(SAMPLE))
    many = [
        {**raw["files"][0], "name": f"n{n}", "stem": f"n{n}", "soname": f"n{n}"} for n in range(65)
    ]
    assert len(parse_manifest(_canonical({**raw, "files": many[:64]})).files) == 64
    with pytest.raises(ValueError, match="files is no list, or too long"):
        parse_manifest(_canonical({**raw, "files": many}))
    with pytest.raises(ValueError, match="a model is listed twice"):
        parse_manifest(_canonical({**raw, "models": [raw["models"][0]] * 2}))


@pytest.mark.parametrize(
    "how",
    [
        lambda text: text.replace(b'"version":5', b'"version":4,"version":5'),
        lambda text: text.replace(b'"version":5', b'"version":5.0'),
        lambda text: text.replace(b'"version":5', b'"version":' + b"9" * 5000),
        lambda text: text.replace(b'"version":5', b'"version":1e999'),
        lambda text: text.replace(b'"version":5', b'"version":NaN'),
        lambda text: text.replace(b'"mode"', b'"m\\u006fde"'),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"0.5.0", "0.5.0\u00a0".encode()),
        lambda text: text + b"\0",
    ],
    ids=["twice", "float", "huge", "infinite", "nan", "escaped", "bom", "not-ascii", "nul"],
)
def test_another_text_of_the_same_manifest_is_none(how: Callable[[bytes], bytes]) -> None:
    text = how(canonical_bytes(SAMPLE))
    assert text != canonical_bytes(SAMPLE)
    with pytest.raises(ValueError, match=r"."):
        parse_manifest(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=400) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_no_manifest_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_manifest(data)


def test_a_manifest_that_nests_too_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_manifest(b"[" * 200_000)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), where=st.sampled_from(["text", "seal"]))
def test_a_flipped_bit_anywhere_is_never_believed(at: int, bit: int, where: str) -> None:
    data, signature = canonical_bytes(SAMPLE), KEY.sign(signed_bytes(canonical_bytes(SAMPLE)))
    changed = bytearray(data if where == "text" else signature)
    changed[at % len(changed)] ^= 1 << bit
    text, seal = (bytes(changed), signature) if where == "text" else (data, bytes(changed))
    assert judge_seal(text, "release", seal, PUBLIC) == "wrong-signature"
    if where == "text":
        with contextlib.suppress(ValueError):
            assert parse_manifest(text) != SAMPLE


@given(_JSON, st.sampled_from(sorted(json.loads(canonical_bytes(SAMPLE)))))
def test_any_value_in_any_field_is_read_exactly_or_refused(value: Any, field: str) -> None:
    raw = json.loads(canonical_bytes(SAMPLE))
    raw[field] = value
    data = json.dumps(raw, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    try:
        manifest = parse_manifest(data)
    except ValueError:
        return
    assert canonical_bytes(manifest) == data


def test_folders_are_trusted_by_who_can_change_them() -> None:
    me = 1000
    root, mine = FolderFacts(True, 0, 0o755), FolderFacts(True, me, 0o755)
    assert judge_way([root, mine], me) is None
    assert judge_way([root, FolderFacts(True, 0, 0o1777), mine], me) is None
    assert judge_way([root, FolderFacts(True, 0, 0o777)], me) == "open-to-others"
    assert judge_way([root, FolderFacts(True, me, 0o775)], me) == "open-to-others"
    assert judge_way([root, FolderFacts(True, 1001, 0o755)], me) == "foreign-owner"
    assert judge_way([root, FolderFacts(False, 0, 0o755)], me) == "no-folder"
    assert judge_own(FolderFacts(True, me, 0o700), me) is None
    assert judge_own(FolderFacts(True, 0, 0o700), me) == "foreign-owner"
    assert judge_own(FolderFacts(True, me, 0o750), me) == "open-to-others"
    assert judge_own(FolderFacts(False, me, 0o700), me) == "no-folder"


def test_a_payload_lists_the_models_it_is_for() -> None:
    models = models_to_list(MANIFEST)
    assert {one.family for one in models} == set(FAMILIES)
    assert {one.architecture for one in models} == {"qwen2", "llama", "qwen3", "qwen35"}
    assert BUILT_AS["4.6"].projector == "minicpmv4_6"
    assert BUILT_AS["2.6"].projector == "resampler-3"
    assert all(is_listed(models, family) for family in FAMILIES)
    without = tuple(one for one in models if one.family != "4.5")
    assert not is_listed(without, "4.5")
    assert not is_listed((replace(models[0], architecture="gemma"), *models[1:]), models[0].family)  # type: ignore[arg-type]
