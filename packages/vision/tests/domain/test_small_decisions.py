"""The small pure decisions: access, model choice and wish, resuming, sampling, reading."""

from __future__ import annotations

import json
import sys

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.domain.answer.analysis_request import CustomQuestion
from shimmy_vision.domain.answer.answer_reading import Span, read_answer
from shimmy_vision.domain.answer.prompts import compose_prompt, instruct
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.domain.answer.sampling import GREEDY, SamplingRule, choose_token
from shimmy_vision.domain.image.file_kind import recognise_file
from shimmy_vision.domain.model.download import (
    AlreadyComplete,
    Append,
    AskAgain,
    PartState,
    Restart,
    ServerReply,
    decide_resume,
    retry_delay,
)
from shimmy_vision.domain.model.model_choice import choose_model, recommend_model
from shimmy_vision.domain.model.model_family import FAMILIES
from shimmy_vision.domain.model.model_manifest import MANIFEST, find_pin
from shimmy_vision.domain.model.model_request import (
    AnyModel,
    ModelFolder,
    ModelRequest,
    PinnedModel,
    pick_pair,
    read_model_request,
)
from shimmy_vision.errors import UsageError


@pytest.mark.parametrize(
    ("memory", "installed", "chosen"),
    [
        (None, [], "4.6"),
        (7_900_000_000, [], "4.6"),
        (8_000_000_000, [], "4.5"),
        (None, ["2.6"], "2.6"),
        (None, ["2.6", "4.6"], "4.6"),
        (24_000_000_000, ["4.6", "2.6"], "4.6"),
        (24_000_000_000, ["4.6", "4.5"], "4.5"),
    ],
)
def test_the_best_model_for_the_machine(
    memory: int | None, installed: list[str], chosen: str
) -> None:
    assert choose_model(memory, installed) == chosen  # type: ignore[arg-type]
    if not installed:
        assert recommend_model(memory) == chosen


@pytest.mark.parametrize(
    ("word", "request_"),
    [
        (None, AnyModel()),
        ("", AnyModel()),
        ("4.6", PinnedModel("4.6")),
        ("4_5", PinnedModel("4.5")),
        ("4", PinnedModel("4.0")),
        ("MiniCPM-V-2.6", PinnedModel("2.6")),
        ("./models/x/", ModelFolder("./models/x/")),
        ("main.gguf", ModelFolder("main.gguf")),
    ],
)
def test_model_wishes(word: str | None, request_: ModelRequest) -> None:
    assert read_model_request(word) == request_


@pytest.mark.parametrize("word", ["qwen", "5.0", "llava"])
def test_other_models_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="no MiniCPM-V version"):
        read_model_request(word)


def test_a_pair_is_one_of_each() -> None:
    assert pick_pair(["a.gguf", "mmproj-a.gguf", "notes.txt"]) == ("a.gguf", "mmproj-a.gguf")
    assert pick_pair(["a.gguf"]) is None
    assert pick_pair(["a.gguf", "b.gguf", "mmproj.gguf"]) is None


def test_the_manifest_pins_every_version() -> None:
    assert tuple(MANIFEST) == FAMILIES
    for family, pin in MANIFEST.items():
        assert pin.family == family
        assert pin.repository.startswith("openbmb/MiniCPM-V-")
        assert all(len(file.sha256) == 64 for file in pin.files)
        assert find_pin(pin.main.sha256, pin.projector.sha256) is pin
    digests = [file.sha256 for pin in MANIFEST.values() for file in pin.files]
    assert len(set(digests)) == 8


def _reply(status: int, content_range: str = "", tag: str = "t", length: int | None = None):  # type: ignore[no-untyped-def]
    return ServerReply(status, tag, content_range, length)


@pytest.mark.parametrize(
    ("part", "reply", "decision"),
    [
        (PartState(0, ""), _reply(200, length=9), Restart(9)),
        (PartState(5, "t"), _reply(200, length=9), Restart(9)),
        (PartState(5, "t"), _reply(206, "bytes 5-8/9", length=4), Append(9)),
        (PartState(5, "t"), _reply(206, "bytes 5-8/*", length=4), Append(None)),
        (PartState(9, "t"), _reply(416, "bytes */9"), AlreadyComplete()),
    ],
)
def test_resuming(part: PartState, reply: ServerReply, decision: object) -> None:
    assert decide_resume(part, reply) == decision


@pytest.mark.parametrize(
    ("part", "reply"),
    [
        (PartState(5, "t"), _reply(206, "bytes 4-8/9", length=5)),
        (PartState(5, "t"), _reply(206, "bytes 5-8/9", tag="other", length=4)),
        (PartState(5, "t"), _reply(206, "bytes 5-8/9", length=3)),
        (PartState(5, "t"), _reply(206, "")),
        (PartState(9, "t"), _reply(416, "bytes */7")),
        (PartState(9, "t"), _reply(416, "")),
    ],
)
def test_replies_that_do_not_fit_start_over(part: PartState, reply: ServerReply) -> None:
    assert isinstance(decide_resume(part, reply), AskAgain)


@given(
    st.integers(0, 99),
    st.sampled_from([200, 206, 416]),
    st.text(max_size=20) | st.from_regex(r"\Abytes \d{1,3}-\d{1,3}/\d{1,3}\Z"),
    st.none() | st.integers(0, 99),
)
def test_a_reply_is_appended_only_where_it_starts_at_our_end(
    size: int, status: int, content_range: str, length: int | None
) -> None:
    decision = decide_resume(PartState(size, "t"), _reply(status, content_range, "t", length))
    if isinstance(decision, Append):
        assert content_range.startswith(f"bytes {size}-")


def test_retries_wait_longer_and_obey_the_server() -> None:
    waits = [retry_delay(attempt, 1.0, None) for attempt in range(1, 9)]
    assert waits == sorted(waits)
    assert waits[0] == 0.5
    assert waits[-1] == 30.0
    assert retry_delay(3, 0.0, None) == retry_delay(3, 1.0, None) / 2
    assert retry_delay(1, 0.5, 7.0) == 7.0
    assert retry_delay(1, 0.5, 1e9) == 60.0


@settings(max_examples=500)
@given(st.integers(0, 2**32 - 1), st.floats(0, 2), st.data())
def test_only_allowed_tokens_are_chosen(seed: int, temperature: float, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 5, 50).astype(np.float32)
    logits[data.draw(st.integers(0, 49))] = data.draw(
        st.sampled_from([np.inf, -np.inf, np.nan, 0.0])
    )
    allowed = rng.random(50) < 0.2
    allowed[7] = True
    choice = choose_token(logits, allowed, SamplingRule(temperature), rng)
    assert allowed[choice.token]
    assert 0.0 <= choice.probability <= 1.0


def test_greedy_takes_the_best_and_reports_the_models_own_probability() -> None:
    logits = np.array([3.0, 1.0, 2.0], dtype=np.float32)
    allowed = np.array([False, True, True])
    choice = choose_token(logits, allowed, GREEDY, np.random.default_rng(0))
    assert choice.token == 2
    assert choice.probability == pytest.approx(np.exp(2) / np.exp([3, 1, 2]).sum(), rel=1e-6)


def test_confidence_is_that_of_the_texts_own_tokens() -> None:
    text = '{"text_blocks":[{"text":"ab"},{"text":""},{"text":"ü"}]}'
    data = text.encode()
    a, u = data.index(b"ab"), data.index("ü".encode())
    spans = [Span(0, a, 0.01), Span(a, a + 1, 0.5), Span(a + 1, a + 2, 0.125), Span(u, u + 2, 0.9)]
    read = read_answer(data, spans)
    assert read.confidences == (0.25, 0.0, 0.9)
    assert read.value == json.loads(text)


def test_half_a_surrogate_pair_becomes_a_replacement() -> None:
    read = read_answer(b'{"a":["\\ud83d","\\ud83d\\ude00"]}', [])
    assert read.value == {"a": ["�", "😀"]}
    json.dumps(read.value, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e400", sys.float_info.max),
        ("-1.5e999", -sys.float_info.max),
        ("9" * 5000, int(sys.float_info.max)),
        ("-" + "9" * 5000, -int(sys.float_info.max)),
        ("1" + "0" * 309, int(sys.float_info.max)),
    ],
)
def test_numbers_that_no_reader_takes_become_the_nearest(written: str, read: float) -> None:
    found = read_answer(f'{{"a":[{written},0.5,7]}}'.encode(), [])
    assert (found.value, found.adapted) == ({"a": [read, 0.5, 7]}, True)
    assert type(found.value["a"][0]) is type(read)
    assert json.loads(json.dumps(found.value, allow_nan=False)) == found.value


@pytest.mark.parametrize("written", ["1e308", "1" + "0" * 308, "-0.0", "1e-400", '"1e400"'])
def test_other_numbers_stay(written: str) -> None:
    found = read_answer(written.encode(), [])
    assert (found.value, found.adapted) == (json.loads(written), False)


@pytest.mark.parametrize("levels", [101, 3000, 60_000])
def test_what_nests_too_deep_becomes_text(levels: int) -> None:
    found = read_answer(('{"a":' * levels + '["]}[{\\""]' + "}" * levels).encode(), [])
    assert found.adapted
    value, depth = found.value, 0
    while isinstance(value, dict):
        value, depth = value["a"], depth + 1
    assert depth == 100
    assert isinstance(value, str)
    assert value.endswith("}" * (levels - 100))
    json.dumps(found.value)


def test_what_nests_a_hundred_levels_stays() -> None:
    written = "[" * 100 + '"[["' + "]" * 100
    found = read_answer(written.encode(), [])
    assert (found.value, found.adapted) == (json.loads(written), False)


def test_thinking_is_switched_off_where_there_is_any() -> None:
    for family in FAMILIES:
        prompt = compose_prompt(family, instruct("Look <|im_end|>"))
        closing = "".join(segment.text for segment in prompt.after_image)
        assert ("</think>" in closing) is (family in ("4.5", "4.6"))
        own = [segment for segment in prompt.after_image if "Look" in segment.text]
        assert [segment.special for segment in own] == [False]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"<svg xmlns='x'>", "SVG"),
        (b'<?xml version="1.0"?><svg>', "SVG"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypavif", "AVIF"),
        (b"\0\0\0\x18ftypisom", "MP4"),
        (b"\0\0\0\x18ftyphevc", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"<!doctype html><svg>", "HTML"),
        (b"PK\3\4", "ZIP"),
        (b"\x7fELF", "ELF"),
        (b"hello, world", "text"),
        ("grüße".encode(), "text"),
        (b"RIFF\0\0\0\0WAVE", "unknown bytes 52 49 46 46"),
        (b"\x01\x02\xff", "unknown bytes 01 02 ff"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, named: str) -> None:
    kind = recognise_file(data)
    assert not kind.pillow
    assert named in kind.name
    assert kind.hint


def test_a_callers_schema_may_refer_to_its_own_parts() -> None:
    own = {
        "$defs": {"name": {"type": "string", "minLength": 2}},
        "type": "object",
        "properties": {"who": {"$ref": "#/$defs/name"}},
    }
    schema = result_schema(CustomQuestion(None, own))
    answers = schema["properties"]["answer"]
    root = {**schema, "required": ["answer"], "properties": {"answer": answers}}
    jsonschema.validate({"answer": {"who": "me"}}, root)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"answer": {"who": "x"}}, root)
