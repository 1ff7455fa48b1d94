"""Whatever the bytes, the question whether a file is cut off has an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.image.file_end import ends_early

DECODERS = ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]
_STARTS = [b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"BM", b"RIFF"]


@given(st.sampled_from(DECODERS), st.sampled_from(_STARTS), st.binary(max_size=300))
def test_every_file_has_an_answer(decoder: str, start: bytes, rest: bytes) -> None:
    assert ends_early(start + rest, decoder) in (True, False)


@pytest.mark.parametrize("decoder", DECODERS)
def test_nothing_at_all_ends_early(decoder: str) -> None:
    assert ends_early(b"", decoder)


def test_a_directory_that_claims_a_billion_values_is_not_read() -> None:
    entry = b"\x11\x01\x04\x00\xff\xff\xff\x3f\x08\x00\x00\x00"
    assert ends_early(b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4), "TIFF")
