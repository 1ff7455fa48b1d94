"""Chat completions as JSON objects, as OpenAI's clients send and read them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from shimmy_vision.server.bodies import MOST_TOKENS

_MOST_MESSAGES = 1000
_MOST_PARTS = 1000
_NO_OTHER = "Only what changes nothing is taken."
_Refused: TypeAlias = Annotated[Any, Field(description=_NO_OTHER)]


class _Sent(BaseModel):
    """Clients send more fields from year to year; those unknown are let be."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class ImageUrl(_Sent):
    """A data URL with base64, or where an image or a web page is found."""

    url: str


class Part(_Sent):
    """A piece of a message: `text` or `image_url`."""

    type: Annotated[str, Field(description="`text` or `image_url`.")]
    text: str | None = None
    image_url: ImageUrl | None = None


_Parts: TypeAlias = Annotated[list[Part], Field(max_length=_MOST_PARTS)]


class Message(_Sent):
    """What one side said."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | _Parts | None = None
    tool_calls: _Refused = None
    function_call: _Refused = None


class NamedSchema(_Sent):
    """A JSON Schema that the reply follows, always strictly."""

    reply_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class ResponseFormat(_Sent):
    """What the reply is: text, any JSON object, or JSON that follows a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _schema_is_there(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self


class StreamOptions(_Sent):
    """What a stream tells besides the reply."""

    include_usage: bool | None = None


class ChatBody(_Sent):
    """A conversation about one image."""

    # Of many that are wrong the first one says enough.
    messages: Annotated[list[Message], Field(min_length=1, max_length=_MOST_MESSAGES), FailFast()]
    model: Annotated[
        str, Field(max_length=200, description="As `/v1/models` lists it, or `default`.")
    ] = "default"
    response_format: ResponseFormat | None = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=MOST_TOKENS)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=MOST_TOKENS)] = None
    temperature: Annotated[
        float | None, Field(ge=0, le=2, description="Default: the best token each time.")
    ] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: _Refused = None
    tools: _Refused = None
    tool_choice: _Refused = None
    functions: _Refused = None
    function_call: _Refused = None
    logprobs: _Refused = None
    top_logprobs: _Refused = None
    logit_bias: _Refused = None
    stop: _Refused = None
    presence_penalty: _Refused = None
    frequency_penalty: _Refused = None
    modalities: _Refused = None
    audio: _Refused = None
    web_search_options: _Refused = None


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reply(_Told):
    """What the model said."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(_Told):
    """The only one."""

    index: Literal[0] = 0
    message: Reply
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class Usage(_Told):
    """Positions of the context: prompt and image together, and the reply."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(_Told):
    """A whole reply."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: Annotated[list[Choice], Field(min_length=1, max_length=1)]
    usage: Usage


class ModelObject(_Told):
    """A model that requests may name."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[
        int, Field(description="When it was installed, in Unix seconds; 0: unknown.")
    ]
    owned_by: Literal["openbmb"] = "openbmb"


class ModelList(_Told):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
