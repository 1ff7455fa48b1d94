"""The header parser: whole files are read, everything else is refused with a reason."""

from __future__ import annotations

import json
import mmap
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.domain.model.gguf import GgufArray, parse_gguf
from shimmy_vision.errors import ModelError

CODES = {"model-not-gguf", "model-truncated", "model-malformed"}


@pytest.fixture(scope="module")
def files(synthetic_26: SyntheticPair, synthetic_46: SyntheticPair) -> list[Path]:
    return [synthetic_26.main, synthetic_26.projector, synthetic_46.main, synthetic_46.projector]


def test_agrees_with_the_gguf_package(files: list[Path]) -> None:
    for path in files:
        ours, theirs = parse_gguf(path.read_bytes()), gguf.GGUFReader(path)
        assert [(t.name, t.dimensions, t.ggml_type, t.size) for t in ours.tensors] == [
            (t.name, tuple(map(int, t.shape)), int(t.tensor_type), int(t.n_bytes))
            for t in theirs.tensors
        ]
        assert [ours.data_offset + t.offset for t in ours.tensors] == [
            int(t.data_offset) for t in theirs.tensors
        ]
        for key, value in ours.metadata.items():
            field = theirs.fields[key]
            if isinstance(value, GgufArray):
                assert value.length == len(field.data)
            else:
                assert field.contents() == pytest.approx(value)


@settings(max_examples=300)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    for candidate in (data, b"GGUF\x03\0\0\0" + data):
        try:
            parse_gguf(candidate)
        except ModelError as error:
            assert error.code in CODES
            assert error.hint


_small = bytearray()


def _small_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if not _small:
        path = tmp_path_factory.mktemp("gguf") / "small.gguf"
        writer = gguf.GGUFWriter(str(path), "qwen2")
        writer.add_name("small")
        writer.add_array("numbers", [1, 2, 3])
        writer.add_array("words", ["a", "bc"])
        writer.add_tensor("one", np.ones((4, 32), dtype=np.float32))
        writer.add_tensor("two", np.ones(8, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        _small.extend(path.read_bytes())
    return bytes(_small)


@settings(max_examples=400)
@given(data=st.data())
def test_mutations_never_escape(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(_small_file(tmp_path_factory))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        parse_gguf(bytes(whole[:cut]))
    except ModelError as error:
        assert error.code in CODES


def test_every_truncation_is_noticed(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = _small_file(tmp_path_factory)
    parse_gguf(whole)
    for length in range(len(whole) - 1):
        # The writer pads the last tensor; only the padding may go unnoticed.
        if length < len(whole) - 31:
            with pytest.raises(ModelError):
                parse_gguf(whole[:length])


def test_missing_bytes_are_counted(synthetic_26: SyntheticPair) -> None:
    data = synthetic_26.main.read_bytes()
    header = parse_gguf(data)
    end = max(header.data_offset + t.offset + t.size for t in header.tensors)
    with pytest.raises(ModelError, match="7 of"):
        parse_gguf(data[: end - 7])


def _header(keys: int = 0, tensors: int = 0, body: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


def _key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (_header(keys=2**63), "metadata keys"),
        (_header(tensors=2**63), "tensors"),
        (_header(keys=1, body=_key(b"k", 8, struct.pack("<Q", 2**62)) + b"x" * 32), "string of"),
        (_header(keys=1, body=_key(b"k", 9, struct.pack("<IQ", 8, 2**60)) + b"x" * 32), "items"),
        (_header(keys=1, body=_key(b"k", 9, struct.pack("<IQ", 4, 2**61)) + b"x" * 32), "missing"),
        (_header(keys=1, body=_key(b"k", 9, struct.pack("<IQ", 9, 1)) + b"x" * 32), "type 9"),
        (_header(keys=1, body=_key(b"k", 77, b"x" * 32)), "unknown type 77"),
        (_header(keys=2, body=_key(b"k", 7, b"\1") * 2 + b"x" * 32), "twice"),
        (_header(version=1), "version 1"),
        (_header(version=3 << 24), "big-endian"),
        (_header(keys=1, body=_key(b"general.alignment", 4, struct.pack("<I", 33))), "33"),
        (_header(keys=1, body=_key(b"general.alignment", 5, struct.pack("<I", 32))), "of type 5"),
        (_header(keys=1, body=_key(b"", 7, b"\1") + b"x" * 32), "without a name"),
        (_header(keys=4096), "missing"),
        (b"PK\3\4" + b"x" * 64, "not a GGUF"),
        (b"PK", "not a GGUF"),
        (b"", "missing"),
    ],
)
def test_hostile_headers_are_refused_without_allocating(data: bytes, named: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=named):
            parse_gguf(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def _tensor(name: bytes, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    packed = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return struct.pack("<Q", len(name)) + name + packed + struct.pack("<IQ", kind, offset)


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ([_tensor(b"a", (2**40, 2**40), 0, 0)], "shape"),
        ([_tensor(b"a", (0,), 0, 0)], "shape"),
        ([_tensor(b"a", (1, 1, 1, 1, 1), 0, 0)], "5 dimensions"),
        ([_tensor(b"a", (8,), 99, 0)], "unknown type 99"),
        ([_tensor(b"a", (8,), 0, 5)], "offset 5 instead of 0"),
        ([_tensor(b"a", (8,), 0, 0), _tensor(b"b", (8,), 0, 64)], "gaps"),
        ([_tensor(b"n" * 64, (8,), 0, 0)], "tensor name of 64 bytes"),
        ([_tensor(b"a", (31,), 8, 0)], "split a block"),
        ([_tensor(b"a", (8,), 0, 0), _tensor(b"a", (8,), 0, 32)], "appears twice"),
        ([_tensor(b"a", (16,), 0, 0), _tensor(b"b", (8,), 0, 32)], "overlap"),
    ],
)
def test_impossible_tensors_are_refused(tensors: list[bytes], named: str) -> None:
    body = b"".join(tensors) + b"\0" * 256
    with pytest.raises(ModelError, match=named):
        parse_gguf(_header(tensors=len(tensors), body=body))


def test_a_real_size_vocabulary_takes_milliseconds() -> None:
    words = b"".join(struct.pack("<Q", 6) + b"%06d" % n for n in range(150_000))
    body = _key(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 150_000) + words)
    started = time.process_time()
    header = parse_gguf(_header(keys=1, body=body))
    assert time.process_time() - started < 0.5  # forty milliseconds on an idle core
    assert header.metadata["tokenizer.ggml.tokens"] == GgufArray(8, 150_000, ())


_STRING_OF_A_MEGABYTE = struct.pack("<Q", 2**20 - 4) + b"x" * (2**20 - 8) + "🙂".encode()


@pytest.mark.parametrize(
    "data",
    [
        # No count in these lies: every byte they announce is there.
        _header(
            keys=2,
            body=_key(b"a", 9, struct.pack("<IQ", 8, 4_000_000) + bytes(32_000_000))
            + _key(b"b", 9, struct.pack("<IQ", 8, 400_000) + bytes(3_200_000)),
        ),
        _header(keys=1, body=_key(b"k", 9, struct.pack("<IQ", 0, 2**26)) + bytes(2**26)),
        _header(
            keys=64, body=b"".join(_key(b"%d" % n, 8, _STRING_OF_A_MEGABYTE) for n in range(64))
        ),
    ],
)
def test_an_endless_header_is_refused_soon(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ModelError, match="header of more than"):
        parse_gguf(data)
    assert time.process_time() - started < 5  # half a second on an idle core


def test_a_file_is_read_through_a_map_without_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    size = 5_000_000_000  # the file has a hole where its tensor lies
    header = _header(tensors=1, body=_tensor(b"a", (size // 4,), 0, 0))
    with path.open("wb") as file:
        file.write(header)
        file.truncate(size + 96)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert parse_gguf(memoryview(mapped)).tensors[0].size == size
        mapped.close()


_NATIVE_TYPES = """
import ctypes, json, sys
ggml = ctypes.CDLL(sys.argv[1])
ggml.ggml_blck_size.restype, ggml.ggml_type_size.restype = ctypes.c_int64, ctypes.c_size_t
sizes = {n: (ggml.ggml_blck_size(n), ggml.ggml_type_size(n)) for n in range(int(sys.argv[2]))}
print(json.dumps({n: size for n, size in sizes.items() if size[1]}))
"""


def test_tensor_sizes_are_those_of_the_pinned_library(library_directory: Path) -> None:
    library = next(iter(sorted(library_directory.glob("libggml-base*"))))
    count = 43  # GGML_TYPE_COUNT; asking beyond it is undefined
    done = subprocess.run(
        [sys.executable, "-c", _NATIVE_TYPES, str(library), str(count)],
        capture_output=True,
        check=True,
    )
    native = {int(n): tuple(size) for n, size in json.loads(done.stdout).items()}
    assert len(native) > 30
    for kind in range(count):
        per_block, size = native.get(kind, (1, 0))
        # Three rows of two blocks end where the file does: one byte less is one byte missing.
        body = _tensor(b"a", (2 * per_block, 3), kind, 0)
        whole = _header(tensors=1, body=body).ljust(96, b"\0") + bytes(6 * size)
        if kind in native:
            assert parse_gguf(whole).tensors[0].size == 6 * size
            with pytest.raises(ModelError, match="1 of"):
                parse_gguf(whole[:-1])
        else:
            with pytest.raises(ModelError, match=f"unknown type {kind}"):
                parse_gguf(whole)
