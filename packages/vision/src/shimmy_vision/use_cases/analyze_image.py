"""An image in, a strict JSON result out: the product's main job.

The licence gate stands here, before anything is decoded or loaded, so that the
command line, the HTTP server and the library all pass it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from shimmy_vision.domain.answer.analysis_plan import AnswerPass, plan_passes
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, CustomQuestion
from shimmy_vision.domain.answer.answer_reading import read_answer
from shimmy_vision.domain.answer.prompts import compose_prompt
from shimmy_vision.domain.answer.result import (
    Answered,
    Warning_,
    assemble_result,
    image_json,
    scale_warnings,
)
from shimmy_vision.domain.answer.sampling import GREEDY, SEEDED
from shimmy_vision.domain.image.activity import measure_activity
from shimmy_vision.domain.image.image_plan import ImagePlan, Tile, plan_image
from shimmy_vision.domain.measure.measurements import measure_image
from shimmy_vision.errors import LicenceError, LicenceStateError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import Engine, EngineSource
from shimmy_vision.ports.grammar import SchemaGrammar
from shimmy_vision.ports.image_encoder import EncodedTile
from shimmy_vision.ports.image_intake import DecodedImage, ImageIntake, IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.ports.progress import Progress, ProgressListener, Stage
from shimmy_vision.use_cases.admit_pages import Admission, admit_pages
from shimmy_vision.use_cases.compose_meta import RunFacts, compose_meta
from shimmy_vision.use_cases.generate_answer import AnswerOrder, GeneratedAnswer, generate_answer
from shimmy_vision.use_cases.settle_pages import settle_pages


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What an analysis works with; built by ``wiring`` alone."""

    licensing: Licensing
    intake: ImageIntake
    intake_limits: IntakeLimits
    schemas: SchemaGrammar
    engines: EngineSource


@dataclass(slots=True)
class _Run:
    """The bookkeeping of one analysis."""

    collaborators: Collaborators
    request: AnalysisRequest
    cancellation: Cancellation
    listener: ProgressListener
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[Stage, float] = field(default_factory=dict)
    warnings: list[Warning_] = field(default_factory=list)
    answers: list[GeneratedAnswer] = field(default_factory=list)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        self.cancellation.check()
        self.listener(Progress(stage, 0, 0))
        started = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - started)

    def add(self, stage: Stage, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def analyze_image(
    data: bytes,
    request: AnalysisRequest,
    collaborators: Collaborators,
    cancellation: Cancellation,
    listener: ProgressListener,
) -> dict[str, Any]:
    """Analyse the image file in ``data``; the result follows ``result_schema``.

    Raises LicenceError, SchemaError, ImageError, ModelError, LibraryError or
    StoppedError; whatever the model writes is never an error.
    """
    run = _Run(collaborators, request, cancellation, listener)
    # One image is one page, whatever its tiles.
    try:
        admission = admit_pages(1, collaborators.licensing)
    except LicenceError:
        cancellation.check()  # Who ran out of patience is not told of the licence.
        raise
    try:
        run.warnings.extend(Warning_(one.code, one.message) for one in admission.granted.notices)
        result = _analyse(data, run, admission)
    except BaseException:
        # What cannot be released now is released when this process is seen to be gone.
        with suppress(LicenceStateError):
            settle_pages(admission, collaborators.licensing, done=False)
        raise
    _commit(admission, collaborators.licensing, result)
    return result


def _analyse(data: bytes, run: _Run, admission: Admission) -> dict[str, Any]:
    collaborators, request = run.collaborators, run.request
    if isinstance(request.question, CustomQuestion) and request.question.schema is not None:
        collaborators.schemas.check(request.question.schema)
    with run.stage("decode"):
        image = collaborators.intake.decode(data, collaborators.intake_limits)
    with run.stage("load"):
        engine = collaborators.engines.open(admission.granted, run.cancellation)
    with run.stage("measure"):
        measured = measure_image(image.pixels)
        plan = _plan(image, engine)
    answered = _answer_all(run, engine, image, plan)
    run.warnings.extend(scale_warnings(answered))
    meta = compose_meta(
        RunFacts(
            request=request,
            plan=admission.granted.plan,
            engine=engine.description,
            image=image.info,
            image_plan=image_json(plan, answered),
            seconds=run.seconds,
            seconds_total=time.perf_counter() - run.started,
            warnings=run.warnings,
            answers=run.answers,
        )
    )
    return assemble_result(answered, measured, meta)


def _commit(admission: Admission, licensing: Licensing, result: dict[str, Any]) -> None:
    """Count the page. A result that is there is not lost because it could not be counted."""
    try:
        settle_pages(admission, licensing, done=True)
    except LicenceStateError as error:
        result["meta"]["warnings"].append({"code": "page-not-counted", "message": error.message})


def _plan(image: DecodedImage, engine: Engine) -> ImagePlan:
    height, width, _ = image.pixels.shape
    grid = engine.encoder.grid
    plan = plan_image(width, height, grid, activity=None)
    if len(plan.tiles) == 1:
        return plan
    return plan_image(width, height, grid, activity=measure_activity(image.pixels))


def _answer_all(run: _Run, engine: Engine, image: DecodedImage, plan: ImagePlan) -> list[Answered]:
    passes = plan_passes(run.request.question, plan, run.request.limits.max_tokens)
    encoded: tuple[Tile, EncodedTile] | None = None
    answered = []
    for number, one in enumerate(passes):
        if encoded is None or encoded[0] != one.tile:
            encoded = (one.tile, _encode(run, engine, image, one.tile, (number, len(passes))))
        answered.append(_answer(run, engine, one, encoded[1]))
    return answered


def _encode(
    run: _Run, engine: Engine, image: DecodedImage, tile: Tile, place: tuple[int, int]
) -> EncodedTile:
    number, count = place
    slices = tile.plan.encodes

    def on_slice(done: int, _total: int) -> None:
        run.listener(Progress("encode", number * slices + done, count * slices))

    with run.stage("encode"):
        return engine.encoder.encode(
            tile.box.crop(image.pixels), on_slice=on_slice, cancellation=run.cancellation
        )


def _answer(run: _Run, engine: Engine, one: AnswerPass, tile: EncodedTile) -> Answered:
    limits = run.request.limits
    order = AnswerOrder(
        prompt=compose_prompt(engine.description.family, one.instructions),
        tile=tile,
        grammar=engine.grammars.compile(one.schema),
        rule=GREEDY if limits.seed is None else SEEDED,
        seed=limits.seed or 0,
        max_tokens=one.max_tokens,
        skip_forced=limits.skip_forced,
    )
    run.cancellation.check()
    run.listener(Progress("prompt", 0, 0))
    answer = generate_answer(
        engine.model,
        order,
        run.cancellation,
        lambda done, bound: run.listener(Progress("generate", done, bound)),
    )
    run.answers.append(answer)
    run.add("prompt", answer.prompt_seconds)
    run.add("generate", answer.generate_seconds)
    return _read(run, one, answer)


def _read(run: _Run, one: AnswerPass, answer: GeneratedAnswer) -> Answered:
    data = bytes(answer.data)
    if answer.truncated:
        data = run.collaborators.schemas.close(one.schema, data)
        run.warnings.append(
            Warning_(
                "answer-truncated",
                f"The {one.kind} answer reached its bound of {answer.tokens} tokens and was "
                "closed there. Raise --max-tokens for more.",
            )
        )
    read = read_answer(data, answer.spans)
    return Answered(one.kind, one.tile, read.value, read.confidences)
