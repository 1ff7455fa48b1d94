"""Requests as JSON objects: their fields, for reading and for the API's description."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shimmy_vision.domain.answer.analysis_request import Mode, SliceWish

_LONGEST_PROMPT = 20_000
MOST_TOKENS = 32_768


class VisionOptions(BaseModel):
    """What to find in an image, a document or a web page."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    mode: Annotated[
        Mode | None, Field(description="One of ours; full where no own question is asked.")
    ] = None
    prompt: Annotated[
        str | None,
        Field(
            max_length=_LONGEST_PROMPT,
            description="Your own question; the reply stands under `answer`.",
        ),
    ] = None
    answer_schema: Annotated[
        dict[str, Any] | None,
        Field(alias="schema", description="JSON Schema that the answer must follow."),
    ] = None
    pages: Annotated[
        str | None,
        Field(max_length=1000, description="Pages of a PDF, like `1-3,7,10-`; default: all."),
    ] = None
    dpi: Annotated[
        int | None,
        Field(ge=1, le=1200, description="Sharpness of a PDF's pages; default: what text needs."),
    ] = None
    viewport: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{2,4}x[0-9]{2,4}$",
            description="Of a web page, in CSS pixels; default `1280x800`.",
        ),
    ] = None
    scale: Annotated[
        float | None, Field(ge=0.5, le=4, description="Device pixels per CSS pixel; default 1.")
    ] = None
    full_page: Annotated[
        bool, Field(description="All of a web page, or what the viewport shows.")
    ] = True
    max_tokens: Annotated[
        int | None,
        Field(ge=1, le=MOST_TOKENS, description="Bound of each generated answer."),
    ] = None
    seed: Annotated[
        int | None,
        Field(ge=0, lt=2**63, description="Sample with this seed instead of taking the best."),
    ] = None
    raw: Annotated[bool, Field(description="Keep the model's own words in `meta.raw`.")] = False
    cache: Annotated[
        bool, Field(description="Whether a result kept from the same request may answer.")
    ] = True
    slices: Annotated[
        SliceWish,
        Field(
            description="`all` looks at every slice, also at blank ones; see `meta.image.slices`."
        ),
    ] = "auto"
    timeout_ms: Annotated[
        int | None,
        Field(
            ge=1,
            le=3_600_000,
            description="Stop after so long, waiting included; of a PDF, each page.",
        ),
    ] = None


class SourceBody(VisionOptions):
    """One image, document or web page with what to find in it."""

    image: Annotated[
        str | None,
        Field(description="The file in base64, or a data URL. An image or a PDF."),
    ] = None
    url: Annotated[
        str | None,
        Field(max_length=8192, description="Where an image, a PDF or a web page is found."),
    ] = None


class VisionBody(SourceBody):
    """An analysis that is answered on the same connection."""

    stream: Annotated[
        bool, Field(description="Answer with server-sent events as the work goes on.")
    ] = False


class JobBody(SourceBody):
    """An analysis that is fetched later."""

    callback_url: Annotated[
        str | None,
        Field(max_length=8192, description="Where the finished job is posted to, signed."),
    ] = None
