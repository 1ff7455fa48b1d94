"""Which servers are used, and what is made of what they send."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.answer.answer_reading import Span
from shimmy_vision.domain.answer.chat_pieces import ChatPieces, ChatStreamError, squeeze_json
from shimmy_vision.domain.model.remote_identity import (
    NotServed,
    ServedElsewhere,
    decide_served,
    family_served,
    refuse_address,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(values, st.sampled_from([None, 1, 4]))
def test_squeezed_json_is_the_same_value_without_white_space(
    value: object, indent: int | None
) -> None:
    written = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert squeeze_json(written, [])[0] == compact
    # Also of a beginning: what is squeezed is a beginning of the whole.
    for cut in range(0, len(written), 3):
        assert compact.startswith(squeeze_json(written[:cut], [])[0])


def test_spans_move_with_what_they_are_about() -> None:
    data = b'{ "a": "b c" }'
    spans = [Span(0, 2, 0.1), Span(2, 7, 0.2), Span(7, 12, 0.3), Span(12, 13, 0.4)]
    squeezed, moved = squeeze_json(data, spans)
    assert squeezed == b'{"a":"b c"}'
    assert [(squeezed[one.start : one.end], one.probability) for one in moved] == [
        (b"{", 0.1),
        (b'"a":', 0.2),
        (b'"b c"', 0.3),
    ]


def _choices(value: object, other: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": "x"}, "logprobs": {"content": value}}, other]}


@given(st.text(max_size=60) | st.builds(_choices, values, values).map(json.dumps))
def test_any_event_is_taken_or_refused_as_no_completion(event: str) -> None:
    pieces = ChatPieces()
    try:
        text = pieces.take(event)
    except ChatStreamError:
        return
    assert bytes(pieces.data).decode() == text


@pytest.mark.parametrize(
    ("told", "probability"),
    [("-0.5", 0.607), ("5", 1), ("-1e9", 0), ("NaN", None), ("1e999", None), ("9" * 400, None)],
)
def test_a_probability_is_one_whatever_a_server_tells(told: str, probability: float | None) -> None:
    pieces = ChatPieces()
    logs = f'{{"content": [{{"logprob": {told}}}]}}'
    usage = f'{{"prompt_tokens": {told}, "completion_tokens": {told}}}'
    pieces.take(f'{{"choices": [{{"delta": {{"content": "x"}}, "logprobs": {logs}}}]}}')
    pieces.take(f'{{"choices": [], "usage": {usage}}}')
    found = [round(span.probability, 3) for span in pieces.spans]
    assert found == ([] if probability is None else [probability])
    assert pieces.tokens < 6
    assert pieces.prompt_tokens < 6


@pytest.mark.parametrize(
    ("root", "family"),
    [
        ("openbmb/MiniCPM-V-4_5", "4.5"),
        ("openbmb/MiniCPM-V-4.6", "4.6"),
        ("openbmb/MiniCPM-V-4_5-AWQ", "4.5"),
        ("openbmb/MiniCPM-V-2_6-int4", "2.6"),
        ("/models/MiniCPM-V-4/", "4.0"),
        ("MiniCPM-V-2_6", "2.6"),
        ("somebody/MiniCPM-V-4_5", None),
        ("openbmb/MiniCPM-Llama3-V-2_5", None),
        ("openbmb/MiniCPM-o-2_6", None),
        ("openbmb/MiniCPM-V-4_5-finetuned", None),
        ("", None),
    ],
)
def test_only_minicpm_v_of_its_authors_is_known(root: str, family: str | None) -> None:
    assert family_served(root) == family


def test_the_loaded_model_decides_not_the_name_it_is_served_under() -> None:
    listed = {"data": [
        {"id": "openbmb/MiniCPM-V-4_5", "root": "Qwen/Qwen2-VL-7B"},
        {"id": "eyes", "root": "openbmb/MiniCPM-V-4_6"},
    ]}  # fmt: skip
    assert decide_served(listed) == ServedElsewhere("eyes", "openbmb/MiniCPM-V-4_6", "4.6")
    assert isinstance(decide_served({"data": listed["data"][:1]}), NotServed)


@pytest.mark.parametrize("root", [None, "", 7])
def test_a_name_alone_proves_nothing(root: object) -> None:
    told = decide_served({"data": [{"id": "openbmb/MiniCPM-V-4_5", "root": root}]})
    assert isinstance(told, NotServed)
    told = decide_served({"data": [{"id": "openbmb/MiniCPM-V-4_5"}]})
    assert isinstance(told, NotServed)
    assert "root" in told.reason


def test_what_a_server_calls_its_model_writes_nothing_else_on_a_terminal() -> None:
    told = decide_served({"data": [{"id": "a", "root": "x/\x1b[2Jgpt\n" + "y" * 200}]})
    assert isinstance(told, NotServed)
    assert told.reason.isprintable()
    assert len(told.reason) < 200


@given(values)
def test_whatever_a_server_lists_is_decided(listed: object) -> None:
    assert isinstance(decide_served(listed), NotServed)
    assert isinstance(decide_served({"data": [listed, {"id": listed, "root": listed}]}), NotServed)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://vllm.example:8000/v1", ""),
        ("http://127.0.0.1:8000", ""),
        ("http://vllm.example", "unencrypted"),
        ("https://user:pass@vllm.example", "password"),
        ("ftp://vllm.example", "no address"),
        ("https://vllm.example?key=1", "query"),
        ("https://[::1", "no address"),
        ("", "no address"),
    ],
)
def test_images_go_to_this_machine_or_encrypted(url: str, why: str) -> None:
    reason = refuse_address(url, lambda host: host == "127.0.0.1")
    assert (why in reason) if why else not reason
