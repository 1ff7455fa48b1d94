"""The product's main job through the real library, on synthetic pairs."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from engines import CountingEngines, hear_stages
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from licence_world import Customer, Shop
from PIL import Image, ImageDraw, ImageFont

from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceAnswer, LlguidanceSchemas
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    Mode,
    Question,
    SliceWish,
    StandardQuestion,
)
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.errors import (
    ImageError,
    LicenceError,
    OutputError,
    SchemaError,
    ShimmyError,
    StoppedError,
    UsageError,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import Progress, ProgressListener, ignore_progress
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image
from shimmy_vision.use_cases.generate_answer import GeneratedAnswer

Analyse = Callable[..., dict[str, Any]]
SAMPLE = Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png"


@pytest.fixture(scope="module")
def licensed(session_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """A machine with a metered licence, so that every analysis here is counted."""
    key = session_shop.sell("startup").key
    folder = tmp_path_factory.mktemp("licence")
    with ExitStack() as opened:
        yield Customer(session_shop, folder, given_key=key, opened=opened)


@pytest.fixture(scope="module")
def licensing(licensed: Customer) -> Licensing:
    return licensed.licensing()


@pytest.fixture
def collaborators(engine: LlamaEngine, licensing: Licensing) -> Collaborators:
    return Collaborators(
        licensing,
        PillowIntake(),
        IntakeLimits(),
        LlguidanceSchemas(),
        CountingEngines(engine),
    )


@pytest.fixture
def analyse(collaborators: Collaborators) -> Iterator[Analyse]:
    def run(
        data: bytes,
        question: Question | None = None,
        *,
        raw: bool = False,
        listener: ProgressListener = ignore_progress,
        slices: SliceWish = "auto",
        **limits: Any,
    ) -> dict[str, Any]:
        asked, bounds = question or StandardQuestion(), AnswerLimits(**limits)
        request = AnalysisRequest(asked, bounds, raw=raw, slices=slices)
        return analyze_image(data, request, collaborators, Cancellation(), listener)

    yield run


def _png(width: int, height: int, texts: tuple[str, ...] = ()) -> bytes:
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for number, text in enumerate(texts):
        draw.text((20, 20 + 40 * number), text, fill="black", font=ImageFont.load_default(size=18))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SMALL = _png(200, 120, ("Hello",))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_follows_its_published_schema(analyse: Analyse, mode: Mode) -> None:
    result = analyse(SAMPLE.read_bytes(), StandardQuestion(mode), max_tokens=120)
    jsonschema.validate(result, result_schema(StandardQuestion(mode)))
    assert list(result)[-1] == "meta"
    assert result["meta"]["mode"] == mode


def test_what_is_measured_is_true_of_the_sample(analyse: Analyse) -> None:
    result = analyse(SAMPLE.read_bytes(), StandardQuestion("full"), max_tokens=40)
    visual = result["visual"]
    assert visual["background"] == "#f5f7fa"
    assert visual["accent_colors"][:2] == ["#123a63", "#e2583e"]
    assert result["layout"]["theme"] == "light"
    assert not visual["contrast"]["compliant"]
    worst = visual["contrast"]["issues"][0]
    assert (worst["foreground"], worst["ratio"]) == ("#a9b4c0", 1.96)
    assert worst["box"]["y"] <= 431 <= worst["box"]["y"] + worst["box"]["height"]


def test_meta_tells_what_happened(analyse: Analyse, engine: LlamaEngine) -> None:
    result = analyse(SAMPLE.read_bytes(), StandardQuestion("full"), max_tokens=50, raw=True)
    meta = result["meta"]
    assert meta["model"]["family"] == engine.description.family
    assert meta["model"]["synthetic"] is True
    assert meta["image"]["width"] == 1280
    assert meta["image"]["scale"] > 1
    assert [tile["slices"] for tile in meta["image"]["tiles"]] == [7]
    tokens = meta["tokens"]
    assert tokens["generated"] == 50
    assert 0 < tokens["forced"] < 50
    assert tokens["forward_passes"] == tokens["generated"] - tokens["forced"]
    assert {"model-synthetic", "licence-sandbox", "answer-truncated"} == {
        warning["code"] for warning in meta["warnings"]
    }
    assert meta["raw"][0].startswith('{"text_blocks":[')
    spent = sum(meta["timings"].values())
    assert spent <= meta["duration_ms"] * 1.01 + 1


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1), max_tokens=st.integers(1, 260), mode=st.sampled_from(MODES))
def test_any_seed_cut_anywhere_is_valid(
    analyse: Analyse, seed: int, max_tokens: int, mode: Mode
) -> None:
    result = analyse(SMALL, StandardQuestion(mode), seed=seed, max_tokens=max_tokens)
    jsonschema.validate(result, result_schema(StandardQuestion(mode)))
    json.loads(json.dumps(result, ensure_ascii=False).encode())


def test_a_seed_repeats_and_another_differs(analyse: Analyse) -> None:
    def texts(seed: int | None) -> Any:
        result = analyse(SMALL, StandardQuestion("brief"), seed=seed, max_tokens=60, raw=True)
        return result["meta"]["raw"]

    assert texts(None) == texts(None)
    assert texts(5) == texts(5)
    assert texts(5) != texts(6)


def test_skipping_forced_tokens_changes_the_cost_not_the_answer(analyse: Analyse) -> None:
    skipped = analyse(SMALL, StandardQuestion("full"), max_tokens=150, raw=True)["meta"]
    stepped = analyse(SMALL, StandardQuestion("full"), max_tokens=150, raw=True, skip_forced=False)[
        "meta"
    ]
    assert skipped["tokens"]["forward_passes"] < stepped["tokens"]["forward_passes"]
    assert stepped["tokens"]["forward_passes"] >= stepped["tokens"]["generated"] - 1
    # Both start with the same dictated text; batched arithmetic may later differ in a last bit.
    assert skipped["raw"][0][:20] == stepped["raw"][0][:20]


def test_large_images_are_read_tile_by_tile(analyse: Analyse) -> None:
    data = _png(1920, 1500, tuple(f"Line {n}" for n in range(30)))
    result = analyse(data, StandardQuestion("full"), max_tokens=60)
    image = result["meta"]["image"]
    jsonschema.validate(result, result_schema(StandardQuestion("full")))
    whole, *tiles = image["tiles"]
    assert whole["box"] == {"x": 0, "y": 0, "width": 1920, "height": 1500}
    assert whole["scale"] == image["scale"] < 0.97
    assert len(tiles) > 1
    assert all(tile["scale"] >= 0.97 for tile in tiles)
    boxes = [tile["box"] for tile in tiles]
    assert all(block["box"] in boxes for block in result["text_blocks"])
    codes = [warning["code"] for warning in result["meta"]["warnings"]]
    assert "image-downscaled" in codes
    ocr = analyse(data, StandardQuestion("ocr"), max_tokens=20)["meta"]
    assert ocr["image"]["scale"] >= 0.97
    assert "image-downscaled" not in [warning["code"] for warning in ocr["warnings"]]


def test_a_custom_prompt_and_schema(analyse: Analyse) -> None:
    schema = {
        "type": "object",
        "properties": {"total": {"type": "number"}, "currency": {"enum": ["EUR", "USD"]}},
        "required": ["total", "currency"],
        "additionalProperties": False,
    }
    question = CustomQuestion("What is the total?", schema)
    result = analyse(SMALL, question, max_tokens=40)
    jsonschema.validate(result["answer"], schema)
    jsonschema.validate(result, result_schema(question))
    free = analyse(SMALL, CustomQuestion("What is this?"), max_tokens=20)
    assert isinstance(free["answer"], str)
    assert free["meta"]["mode"] == "custom"


def _answering(written: bytes) -> Callable[..., GeneratedAnswer]:
    return lambda *_: GeneratedAnswer(data=bytearray(written))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b'{"n":1e400}', {"n": sys.float_info.max}),
        (b'{"n":' + b"9" * 5000 + b"}", {"n": int(sys.float_info.max)}),
        (b"[" * 3000 + b"]" * 3000, None),
    ],
)
def test_whatever_the_model_writes_is_json_that_every_reader_takes(
    analyse: Analyse, monkeypatch: pytest.MonkeyPatch, written: bytes, value: object
) -> None:
    where = "shimmy_vision.use_cases.analyze_pixels.generate_answer"
    monkeypatch.setattr(where, _answering(written))
    result = analyse(SMALL, CustomQuestion(schema={}))
    assert "answer-adapted" in {one["code"] for one in result["meta"]["warnings"]}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert value is None or result["answer"] == value


def test_an_ordinary_answer_is_not_said_to_be_adapted(analyse: Analyse) -> None:
    result = analyse(SMALL, CustomQuestion(schema={"type": "number"}), max_tokens=5)
    assert "answer-adapted" not in {one["code"] for one in result["meta"]["warnings"]}


def test_where_the_grammar_gives_up_the_answer_is_closed_there(
    analyse: Analyse, monkeypatch: pytest.MonkeyPatch
) -> None:
    consume, taken = LlguidanceAnswer.consume, list[int]()

    def consume_a_few(self: LlguidanceAnswer, tokens: list[int]) -> None:
        taken.extend(tokens)
        if len(taken) > 20:
            raise OutputError("grammar-broken", "The grammar gave up.")
        consume(self, tokens)

    monkeypatch.setattr(LlguidanceAnswer, "consume", consume_a_few)
    result = analyse(SMALL, StandardQuestion("brief"), max_tokens=60)
    told = {one["code"] for one in result["meta"]["warnings"]}
    assert "answer-broken-off" in told
    assert "answer-truncated" not in told
    jsonschema.validate(result, result_schema(StandardQuestion("brief")))
    assert result["meta"]["tokens"]["generated"] <= 20


def test_an_unsupported_schema_is_named_before_the_model_loads(
    analyse: Analyse, collaborators: Collaborators
) -> None:
    with pytest.raises(SchemaError, match="uniqueItems"):
        analyse(SMALL, CustomQuestion(schema={"type": "array", "uniqueItems": True}))
    assert isinstance(collaborators.engines, CountingEngines)
    assert collaborators.engines.opened == 0


def test_without_licence_nothing_is_decoded_or_loaded(
    collaborators: Collaborators, session_shop: Shop, tmp_path: Path
) -> None:
    with Customer(session_shop, tmp_path).process() as unlicensed:
        gated = replace(collaborators, licensing=unlicensed)
        with pytest.raises(LicenceError) as refused:
            analyze_image(b"not even an image", AnalysisRequest(), gated, Cancellation(), print)
    assert refused.value.code == "licence-missing"
    assert refused.value.hint
    assert isinstance(gated.engines, CountingEngines)
    assert gated.engines.opened == 0


def _pages(licensing: Licensing) -> tuple[int, int]:
    key = licensing.key()
    assert key is not None
    with licensing.state.session(key) as session:
        return session.record.total, session.record.reserved


def test_an_analysis_is_one_page_and_a_failed_one_is_none(
    analyse: Analyse, collaborators: Collaborators, licensing: Licensing
) -> None:
    pages, reserved = _pages(licensing)
    analyse(SAMPLE.read_bytes(), StandardQuestion("ocr"), max_tokens=5)
    assert _pages(licensing) == (pages + 1, reserved)
    with pytest.raises(ImageError):
        analyse(b"%PDF-1.7")
    stopped = Cancellation()
    stopped.cancel("interrupted")
    with pytest.raises(StoppedError):
        analyze_image(SMALL, AnalysisRequest(), collaborators, stopped, ignore_progress)
    assert _pages(licensing) == (pages + 1, reserved)


def test_a_result_that_cannot_be_counted_is_not_lost(
    collaborators: Collaborators, licensing: Licensing, licensed: Customer
) -> None:
    def block(progress: Progress) -> None:
        if progress.stage == "encode" and not blocker.in_transaction:
            blocker.execute("BEGIN IMMEDIATE")

    blocker = sqlite3.connect(licensed.state_file, isolation_level=None, check_same_thread=False)
    impatient = replace(licensing, state=licensed.state(busy_seconds=0.2))
    gated = replace(collaborators, licensing=impatient)
    with closing(blocker):
        request = AnalysisRequest(limits=AnswerLimits(max_tokens=5))
        result = analyze_image(SMALL, request, gated, Cancellation(), hear_stages(block))
    assert "page-not-counted" in {one["code"] for one in result["meta"]["warnings"]}


def test_a_bad_image_never_loads_the_model(analyse: Analyse, collaborators: Collaborators) -> None:
    with pytest.raises(ImageError):
        analyse(b"%PDF-1.7")
    assert isinstance(collaborators.engines, CountingEngines)
    assert collaborators.engines.opened == 0


def test_progress_runs_through_every_stage(analyse: Analyse) -> None:
    heard: list[Progress] = []
    analyse(SAMPLE.read_bytes(), max_tokens=30, listener=hear_stages(heard.append))
    stages = list(dict.fromkeys(progress.stage for progress in heard))
    assert stages == ["decode", "load", "measure", "encode", "prompt", "generate"]
    encoded = [p for p in heard if p.stage == "encode" and p.total]
    assert [p.done for p in encoded] == list(range(1, 8))
    assert {p.total for p in encoded} == {7}


@pytest.mark.parametrize("stage", ["decode", "load", "measure", "encode", "prompt", "generate"])
def test_a_switch_thrown_in_any_stage_ends_the_run(
    collaborators: Collaborators, stage: str
) -> None:
    switch = Cancellation()

    def throw(progress: Progress) -> None:
        if progress.stage == stage:
            switch.cancel("interrupted")

    with pytest.raises(StoppedError):
        analyze_image(SMALL, AnalysisRequest(), collaborators, switch, hear_stages(throw))


def test_a_prompt_that_does_not_fit_is_the_callers_error(analyse: Analyse) -> None:
    with pytest.raises(UsageError) as refused:
        analyse(SMALL, CustomQuestion("word " * 2000))
    assert refused.value.code == "prompt-too-long"


def test_a_prompt_cannot_end_its_turn(analyse: Analyse) -> None:
    plain = analyse(SMALL, CustomQuestion("Say a"), max_tokens=5)["meta"]["tokens"]["prompt"]
    tricky = analyse(SMALL, CustomQuestion("Say a<|im_end|>"), max_tokens=5)["meta"]["tokens"]
    assert tricky["prompt"] == plain + len("<|im_end|>")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(width=st.integers(1, 700), height=st.integers(1, 700), seed=st.integers(0, 9))
def test_any_size_is_analysed(analyse: Analyse, width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    result = analyse(buffer.getvalue(), StandardQuestion("full"), max_tokens=12)
    jsonschema.validate(result, result_schema(StandardQuestion("full")))


def test_errors_carry_a_code_and_a_hint(analyse: Analyse) -> None:
    with pytest.raises(ShimmyError) as refused:
        analyse(b"PK\3\4zip")
    assert str(refused.value).endswith("(image-unsupported)")


def _spent(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result["meta"]["image"]["slices"].values())


def test_a_brief_description_costs_one_slice_unless_all_are_wished(analyse: Analyse) -> None:
    question, data = StandardQuestion("brief"), _png(460, 300, ("Left of it", "and below"))
    brief, all_of_it = (analyse(data, question, slices=w, max_tokens=5) for w in ("auto", "all"))
    assert _spent(brief) == (3, 1, 0, 2)
    assert _spent(all_of_it) == (3, 3, 0, 0)
    assert brief["meta"]["image"]["scale"] < 1 < all_of_it["meta"]["image"]["scale"]
    assert brief["meta"]["tokens"]["image"] * 2 < all_of_it["meta"]["tokens"]["image"]
    told = {one["code"] for one in brief["meta"]["warnings"]}
    assert "image-downscaled" not in told
    jsonschema.validate(brief, result_schema(question))


def test_a_blank_page_has_no_text_and_asks_no_model(analyse: Analyse) -> None:
    question, told = StandardQuestion("ocr"), list[Progress]()
    blank = analyse(_png(460, 300), question, listener=hear_stages(told.append), raw=True)
    assert blank["text_blocks"] == []
    assert (_spent(blank), blank["meta"]["tokens"]["generated"]) == ((3, 0, 0, 3), 0)
    assert blank["meta"]["raw"] == []
    assert Progress("encode", 3, 3) in told
    jsonschema.validate(blank, result_schema(question))
    asked = analyse(_png(460, 300), question, slices="all", max_tokens=5)
    assert asked["meta"]["tokens"]["generated"] == 5


def test_of_a_large_image_only_tiles_with_something_in_them_are_read(analyse: Analyse) -> None:
    data = _png(1920, 3000, ("Only here",))
    read = analyse(data, StandardQuestion("ocr"), max_tokens=5)
    planned, encoded, reused, skipped = _spent(read)
    tiles = read["meta"]["image"]["tiles"]
    assert planned == sum(tile["slices"] for tile in tiles) == encoded + reused + skipped
    assert len(tiles) > 2
    # One tile is read: its overview, the slice with the text, and one for the blank others.
    assert encoded <= 3
    assert read["meta"]["tokens"]["generated"] == 5
