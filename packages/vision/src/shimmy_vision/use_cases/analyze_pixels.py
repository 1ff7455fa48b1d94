"""Decoded pixels in, a strict JSON result out: what an image and a document's page share."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from shimmy_vision.domain.answer.analysis_plan import AnswerPass, plan_passes
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, callers_schema
from shimmy_vision.domain.answer.answer_reading import read_answer
from shimmy_vision.domain.answer.element_fusion import add_elements
from shimmy_vision.domain.answer.layer_confirmation import settle_texts
from shimmy_vision.domain.answer.prompts import compose_prompt
from shimmy_vision.domain.answer.result import (
    Answered,
    Warning_,
    assemble_result,
    collect_texts,
    image_json,
    scale_warnings,
)
from shimmy_vision.domain.answer.result_key import result_key
from shimmy_vision.domain.answer.sampling import sampling_rule
from shimmy_vision.domain.image.activity import measure_activity
from shimmy_vision.domain.image.blankness import is_blank
from shimmy_vision.domain.image.image_plan import ImagePlan, Tile, plan_image
from shimmy_vision.domain.image.slice_sharing import SliceCount
from shimmy_vision.domain.image.text_merge import ReadText
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.measure.measurements import measure_image
from shimmy_vision.domain.web.web_page import WebPage
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import AnyEngine, Engine, EngineDescription, RemoteEngine
from shimmy_vision.ports.grammar import SchemaGrammar
from shimmy_vision.ports.image_encoder import EncodedTile
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.ports.progress import Progress, ProgressListener, Stage, Written
from shimmy_vision.ports.remote_model import RemoteQuestion
from shimmy_vision.use_cases.ask_remote import ask_remote
from shimmy_vision.use_cases.compose_meta import DocumentPage, PageFacts, RunFacts, compose_meta
from shimmy_vision.use_cases.generate_answer import AnswerOrder, GeneratedAnswer, generate_answer


@dataclass(slots=True)
class AnalysisRun:
    """The bookkeeping of one analysis."""

    schemas: SchemaGrammar
    request: AnalysisRequest
    cancellation: Cancellation
    listener: ProgressListener
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[Stage, float] = field(default_factory=dict)
    warnings: list[Warning_] = field(default_factory=list)
    notices: list[Warning_] = field(default_factory=list)
    encodings_kept: int = 0
    slices: SliceCount = field(default_factory=SliceCount)
    answers: list[GeneratedAnswer] = field(default_factory=list)

    def begin_earlier(self, stage: Stage, seconds: float) -> None:
        """``seconds`` went into ``stage`` before the rest began."""
        self.started -= seconds
        self.add(stage, seconds)

    def begin(self, granted: Granted) -> None:
        """Note what the gate says, and check the caller's schema before anything is decoded."""
        self.notices = [Warning_(one.code, one.message) for one in granted.notices]
        self.warnings.extend(self.notices)
        schema = callers_schema(self.request.question)
        if schema is not None:
            self.schemas.check(schema, self.cancellation)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Tell the listener, and time what happens inside. Raises StoppedError."""
        self.cancellation.check()
        self.listener(Progress(stage, 0, 0))
        started = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - started)

    def notices_json(self) -> list[dict[str, str]]:
        """What the gate said, as it stands in ``meta.warnings``."""
        return [{"code": one.code, "message": one.message} for one in self.notices]

    def result_key(
        self, image: DecodedImage, engine: EngineDescription, page: PageFacts | None
    ) -> str:
        """What the result of this request about ``image`` is kept under."""
        models = engine.main_sha256, engine.projector_sha256
        besides = {"image": asdict(image.info), "page": None if page is None else asdict(page)}
        return result_key(image.pixels, models, self.request, besides)

    def add(self, stage: Stage, seconds: float) -> None:
        """Count ``seconds`` to ``stage``."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def analyze_pixels(
    image: DecodedImage,
    engine: AnyEngine,
    granted: Granted,
    run: AnalysisRun,
    page: PageFacts | None = None,
) -> dict[str, Any]:
    """Measure and ask about ``image``, which may be a document's ``page`` with text of its own, or

    a web page with elements of its own.
    The result follows ``result_schema``. Raises UsageError, SchemaError, LibraryError or
    StoppedError; whatever the model writes is never an error.
    """
    with run.stage("measure"):
        measured = measure_image(image.pixels, run.cancellation.check)
        plan = _plan(image, engine)
        passes = _plan_passes(run.request, image, plan)
    answered = _answer_all(run, engine, image, passes)
    texts = _settle(run, answered, page)
    run.warnings.extend(scale_warnings(plan, answered))
    meta = compose_meta(
        RunFacts(
            request=run.request,
            plan=granted.plan,
            engine=engine.description,
            image=image.info,
            image_plan=image_json(plan, answered, run.slices),
            seconds=run.seconds,
            seconds_total=time.perf_counter() - run.started,
            warnings=run.warnings,
            answers=run.answers,
            page=page,
            encodings_kept=run.encodings_kept,
            states_kept=sum(answer.state_kept for answer in run.answers),
        )
    )
    result = assemble_result(answered, texts, measured, meta)
    return add_elements(result, page.elements) if isinstance(page, WebPage) else result


def _settle(
    run: AnalysisRun, answered: list[Answered], page: PageFacts | None
) -> tuple[ReadText, ...]:
    """The text blocks: the page's own text where there is some, and what only the model read."""
    layer = page.layer if isinstance(page, DocumentPage) else None
    settled = settle_texts(() if layer is None else layer.lines, collect_texts(answered))
    if settled.doubtful:
        run.warnings.append(
            Warning_(
                "text-layer-doubtful",
                "Hardly a word that the model read stands in the PDF's own text: one of them is "
                "wrong. Blocks of both are in the result.",
            )
        )
    return settled.texts


def _plan(image: DecodedImage, engine: AnyEngine) -> ImagePlan:
    height, width, _ = image.pixels.shape
    grid = engine.encoder.grid
    plan = plan_image(width, height, grid, activity=None)
    if len(plan.tiles) == 1:
        return plan
    return plan_image(width, height, grid, activity=measure_activity(image.pixels))


def _plan_passes(
    request: AnalysisRequest, image: DecodedImage, plan: ImagePlan
) -> tuple[AnswerPass, ...]:
    return plan_passes(
        request.question,
        plan,
        request.limits.max_tokens,
        request.slices,
        lambda tile: is_blank(image.pixels, tile.box),
    )


def _answer_all(
    run: AnalysisRun, engine: AnyEngine, image: DecodedImage, passes: Sequence[AnswerPass]
) -> list[Answered]:
    encoded: tuple[Tile, EncodedTile] | None = None
    answered = []
    for number, one in enumerate(passes):
        if one.blank:
            answered.append(_without_text(run, one, (number, len(passes))))
            continue
        if isinstance(engine, RemoteEngine):
            answered.append(_answer_remotely(run, engine, image, one))
            continue
        if encoded is None or encoded[0] != one.tile:
            encoded = (one.tile, _encode(run, engine, image, one, (number, len(passes))))
        answered.append(_answer(run, engine, one, encoded[1]))
    return answered


def _without_text(run: AnalysisRun, one: AnswerPass, place: tuple[int, int]) -> Answered:
    """What is known of a blank tile without the model."""
    number, count = place
    slices = one.tile.plan.encodes
    run.slices += SliceCount(planned=slices, skipped=slices)
    run.listener(Progress("encode", (number + 1) * slices, count * slices))
    return Answered(one.kind, one.tile, {"text_blocks": []}, ())


def _encode(
    run: AnalysisRun, engine: Engine, image: DecodedImage, one: AnswerPass, place: tuple[int, int]
) -> EncodedTile:
    number, count = place
    slices = one.tile.plan.encodes

    def on_slice(done: int, _total: int) -> None:
        run.listener(Progress("encode", number * slices + done, count * slices))

    with run.stage("encode"):
        encoded = engine.encoder.encode(
            one.tile.box.crop(image.pixels),
            on_slice=on_slice,
            cancellation=run.cancellation,
            view=one.view,
        )
    run.encodings_kept += encoded.kept
    run.slices += encoded.count
    return encoded


def _answer(run: AnalysisRun, engine: Engine, one: AnswerPass, tile: EncodedTile) -> Answered:
    limits = run.request.limits
    order = AnswerOrder(
        model_sha256=engine.description.main_sha256,
        prompt=compose_prompt(engine.description.family, one.turns),
        tile=tile,
        grammar=engine.grammars.compile(one.schema),
        rule=sampling_rule(limits.seed, limits.temperature, limits.top_p),
        seed=limits.seed or 0,
        max_tokens=one.max_tokens,
        skip_forced=limits.skip_forced,
    )
    run.cancellation.check()
    run.listener(Progress("prompt", 0, 0))
    teller = _Teller(run.listener, len(run.answers))
    with engine.sequence(run.cancellation) as model:
        answer = generate_answer(model, order, run.cancellation, teller.tell)
    run.answers.append(answer)
    run.add("prompt", answer.prompt_seconds)
    run.add("generate", answer.generate_seconds)
    return _read(run, one, answer, teller)


def _answer_remotely(
    run: AnalysisRun, engine: RemoteEngine, image: DecodedImage, one: AnswerPass
) -> Answered:
    limits = run.request.limits
    rule = sampling_rule(limits.seed, limits.temperature, limits.top_p)
    pixels = one.tile.box.crop(image.pixels)
    sampled = rule.temperature, rule.top_p, limits.seed
    question = RemoteQuestion(one.turns, pixels, one.schema, one.max_tokens, *sampled)
    run.cancellation.check()
    run.listener(Progress("prompt", 0, 0))
    teller = _Teller(run.listener, len(run.answers))
    answer = ask_remote(engine.model, question, run.schemas, run.cancellation, run.listener)
    run.answers.append(answer)
    run.add("generate", answer.generate_seconds)
    return _read(run, one, answer, teller)


class _Teller:
    """Tells the listener what the model writes, in whole characters."""

    def __init__(self, listener: ProgressListener, number: int) -> None:
        self._listener, self._number = listener, number
        self._told = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def tell(self, answer: GeneratedAnswer, bound: int) -> None:
        """After each token."""
        self._listener(Progress("generate", answer.tokens, bound))
        self._write(bytes(answer.data[len(self._told) :]), final=False)

    def end(self, data: bytes) -> None:
        """``data`` is the answer as it is read; a cut one may have been closed otherwise."""
        if data.startswith(bytes(self._told)):
            self._write(data[len(self._told) :], final=True)

    def _write(self, data: bytes, *, final: bool) -> None:
        self._told += data
        text = self._decoder.decode(data, final=final)
        if text:
            self._listener(Written(self._number, text))


def _read(run: AnalysisRun, one: AnswerPass, answer: GeneratedAnswer, teller: _Teller) -> Answered:
    data = bytes(answer.data)
    if answer.truncated:
        data = run.schemas.close(one.schema, data, run.cancellation)
        run.warnings.append(_cut(one.kind, answer))
    teller.end(data)
    read = read_answer(data, answer.spans)
    if read.adapted:
        run.warnings.append(
            Warning_(
                "answer-adapted",
                f"The {one.kind} answer held numbers beyond what JSON readers take, or nested too "
                "deep: they stand in the result as the nearest number, or as text.",
            )
        )
    return Answered(one.kind, one.tile, read.value, read.confidences)


def _cut(kind: str, answer: GeneratedAnswer) -> Warning_:
    if answer.broken_off:
        return Warning_(
            "answer-broken-off",
            f"After {answer.tokens} tokens the {kind} answer could go on in more ways than can be "
            "followed, and was closed there. Simplify the schema's anyOf.",
        )
    return Warning_(
        "answer-truncated",
        f"The {kind} answer reached its bound of {answer.tokens} tokens and was closed there. "
        "Raise --max-tokens for more.",
    )
