"""MiniCPM-V served by vLLM, over its OpenAI-compatible API: the ``RemoteModel`` port.

Images go to that one server, as data URLs, and nowhere else: no redirect is followed and no proxy
of the environment is used. The schema goes as ``response_format`` (``json_schema``), which vLLM
takes from 0.6.3 on; earlier ones knew ``guided_json`` only and are refused by their answers.
"""

from __future__ import annotations

import base64
import io
import json
import math
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

import httpx
from PIL import Image

from shimmy_vision import __version__
from shimmy_vision.adapters.http_line import Line
from shimmy_vision.domain.answer.analysis_request import ChatTurn
from shimmy_vision.domain.answer.chat_pieces import DONE, ChatPieces, ChatStreamError
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.model.remote_identity import NotServed, ServedElsewhere, decide_served
from shimmy_vision.errors import LibraryError, ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.remote_model import RemoteAnswer, RemoteQuestion

T = TypeVar("T")

_CONNECT_SECONDS = 5.0
# Between two pieces; the first one waits for the whole prompt, and for others before it.
_SILENCE_SECONDS = 120.0
_TRIES, _FIRST_PAUSE, _LONGEST_PAUSE = 4, 0.5, 8.0
_LONGEST_EVENT = 1 << 20
_MOST_BYTES = 1 << 24
_LONGEST_LIST = 1 << 20
# So long what was told of the model is believed. Another one takes longer to load, and no try that
# failed is followed by one that was not asked for again.
_KNOWN_SECONDS = 30.0


class VllmModel:
    """One server. ``url`` is its base, without /v1; ``key`` is sent as a bearer token."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        silence: float = _SILENCE_SECONDS,
        first_pause: float = _FIRST_PAUSE,
        known_for: float = _KNOWN_SECONDS,
    ) -> None:
        self._url, self._pause = url.rstrip("/").removesuffix("/v1"), first_pause
        self._headers = {"User-Agent": f"shimmy-vision/{__version__}"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout = httpx.Timeout(silence, connect=min(_CONNECT_SECONDS, silence))
        # Made once: it reads every root certificate, for which plain HTTP has no use.
        secure = self._url.startswith("https:")
        self._trust = (
            httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self._served: ServedElsewhere | None = None
        self._known_for, self._known_until = known_for, -math.inf

    def identify(self, cancellation: Cancellation) -> ServedElsewhere:
        """What is served. Raises ModelError remote-model-refused and remote-model-changed,

        LibraryError.
        """
        return _persist(lambda: self._look(cancellation), cancellation, self._pause)

    def _look(self, cancellation: Cancellation) -> ServedElsewhere:
        match found := decide_served(self._list(cancellation)):
            case NotServed(reason=reason):
                raise ModelError(
                    "remote-model-refused",
                    f"The server at SHIMMY_VLLM_URL is not used: {reason}.",
                    hint="Serve one with vLLM: vllm serve openbmb/MiniCPM-V-4_5",
                )
            case ServedElsewhere() if self._served and found.root != self._served.root:
                raise ModelError(
                    "remote-model-changed",
                    "The server at SHIMMY_VLLM_URL has another model loaded than at the beginning.",
                    hint="Ask again to go on with that one; its results say meta.model.",
                    retryable=True,
                )
            case ServedElsewhere():
                self._served = found
                self._known_until = time.monotonic() + self._known_for
                return found

    def _list(self, cancellation: Cancellation) -> Any:
        with (
            self._line(cancellation) as (client, tracing),
            client.stream("GET", f"{self._url}/v1/models", extensions=tracing) as reply,
        ):
            _check_status(reply)
            told = bytearray()
            for chunk in reply.iter_bytes():
                told += chunk
                if len(told) > _LONGEST_LIST:
                    raise _not_understood("its list of models does not end")
        try:
            return json.loads(bytes(told))
        except (ValueError, RecursionError) as error:
            raise _not_understood("it answers with no JSON") from error

    def ask(
        self, question: RemoteQuestion, cancellation: Cancellation, hear: Callable[[int], None]
    ) -> RemoteAnswer:
        """As the port says. A try that told something is not repeated where it breaks off."""
        order = _order(question)

        def once() -> RemoteAnswer:
            served = self._served
            if served is None or time.monotonic() > self._known_until:
                served = self._look(cancellation)
            try:
                return self._stream({"model": served.name, **order}, cancellation, hear)
            except LibraryError:
                # Whoever was started anew may have another model.
                self._known_until = -math.inf
                raise

        return _persist(once, cancellation, self._pause)

    def close(self) -> None:
        """As the port says; each exchange has a connection of its own, and ends with it."""

    def _stream(
        self, order: dict[str, Any], cancellation: Cancellation, hear: Callable[[int], None]
    ) -> RemoteAnswer:
        pieces = ChatPieces()
        with (
            self._line(cancellation) as (client, tracing),
            client.stream(
                "POST", f"{self._url}/v1/chat/completions", json=order, extensions=tracing
            ) as reply,
        ):
            _check_status(reply)
            if not reply.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise _not_understood("it does not stream its answer")
            with closing(_events(reply)) as events:
                for event in events:
                    if event == DONE:
                        break
                    pieces.take(event)
                    hear(pieces.tokens)
        if pieces.finish not in ("stop", "length"):
            raise _broken_off("the answer broke off")
        return RemoteAnswer(
            bytes(pieces.data),
            tuple(pieces.spans),
            pieces.finish == "length",
            pieces.prompt_tokens,
            pieces.tokens,
        )

    @contextmanager
    def _line(self, cancellation: Cancellation) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
        """A stopped analysis hangs up, which also stops vLLM's work on it. All errors end here."""
        line = Line()
        try:
            # A client of its own: of a connection that is used again the line would not know.
            with (
                httpx.Client(
                    headers=self._headers,
                    timeout=self._timeout,
                    verify=self._trust,
                    follow_redirects=False,
                    # A proxy of the environment would see the images.
                    trust_env=False,
                ) as client,
                cancellation.when_cancelled(line.hang_up),
            ):
                yield client, {"trace": line.trace}
        except httpx.ConnectError as error:
            cancellation.check()
            if _is_distrust(error):
                raise _distrusted() from error
            raise _unreachable("no connection is made") from error
        except httpx.TimeoutException as error:
            cancellation.check()
            raise _unreachable("it does not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            cancellation.check()
            raise _broken_off(f"the connection broke off ({type(error).__name__})") from error
        except ChatStreamError as error:
            cancellation.check()
            raise _broken_off(f"what came is no answer ({error})") from error


def _order(question: RemoteQuestion) -> dict[str, Any]:
    """All but the model's name."""
    schema = {"name": "answer", "schema": question.schema, "strict": True}
    return {
        "messages": [_message(turn, question.pixels) for turn in question.turns],
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        "top_p": question.top_p,
        **({} if question.seed is None else {"seed": question.seed}),
        "stream": True,
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "response_format": {"type": "json_schema", "json_schema": schema},
        # 4.5 and 4.6 can spend their whole budget on thinking.
        "chat_template_kwargs": {"enable_thinking": False},
    }


def _message(turn: ChatTurn, pixels: RgbPixels) -> dict[str, Any]:
    if turn.after_image is None:
        return {"role": turn.role, "content": turn.text}
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}]
    if turn.text:
        parts.insert(0, {"type": "text", "text": turn.text})
    if turn.after_image:
        parts.append({"type": "text", "text": turn.after_image})
    return {"role": turn.role, "content": parts}


def _events(reply: httpx.Response) -> Generator[str, None, None]:
    """The data of server-sent events; all that a hostile server can make us hold is bounded."""
    held, taken = bytearray(), 0
    for chunk in reply.iter_bytes():
        taken += len(chunk)
        held += chunk
        if taken > _MOST_BYTES:
            raise ChatStreamError("answer-too-long")
        *lines, rest = held.split(b"\n")
        held = bytearray(rest)
        if len(held) > _LONGEST_EVENT:
            raise ChatStreamError("event-too-long")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip().decode("utf-8", "replace")


def _persist(once: Callable[[], T], cancellation: Cancellation, pause: float) -> T:
    """``once`` again after what may pass, each time a little later, and stopped at once."""
    for number in range(_TRIES):
        try:
            return once()
        except LibraryError as error:
            cancellation.check()
            if not error.retryable or number == _TRIES - 1:
                raise
            wait = error.retry_after or min(pause * 2**number, _LONGEST_PAUSE)
        _sleep(min(wait, _LONGEST_PAUSE), cancellation)
    raise _unreachable("it does not answer")


def _sleep(seconds: float, cancellation: Cancellation) -> None:
    woken = threading.Event()
    with cancellation.when_cancelled(woken.set):
        woken.wait(seconds)
    cancellation.check()


def _check_status(reply: httpx.Response) -> None:
    """Raises LibraryError. What the server says is not repeated: it may quote the prompt."""
    status = reply.status_code
    if status == httpx.codes.OK:
        return
    if status in (401, 403):
        raise LibraryError(
            "remote-key-refused",
            f"The server at SHIMMY_VLLM_URL refuses the key (HTTP {status}).",
            hint="Set SHIMMY_VLLM_KEY or SHIMMY_VLLM_KEY_FILE to what vLLM's --api-key says.",
        )
    if status == 429 or status >= 500:
        raise LibraryError(
            "remote-busy",
            f"The server at SHIMMY_VLLM_URL takes nothing now (HTTP {status}).",
            hint="Try again later, or look at vLLM's log.",
            retryable=True,
            retry_after=_wish(reply.headers),
        )
    if status in (400, 413, 422):
        raise LibraryError(
            "remote-request-refused",
            f"The server at SHIMMY_VLLM_URL refuses the request (HTTP {status}).",
            hint="Look at vLLM's log: its --max-model-len may be too small for this image and "
            "question, or it may be older than 0.6.3.",
        )
    raise _not_understood(f"it refuses the request (HTTP {status})")


def _wish(headers: Mapping[str, str]) -> float | None:
    with suppress(ValueError):
        wish = float(headers.get("Retry-After", ""))
        return wish if wish > 0 else None
    return None


def _unreachable(reason: str) -> LibraryError:
    return LibraryError(
        "remote-unreachable",
        f"The server at SHIMMY_VLLM_URL is not heard: {reason}.",
        hint="Look whether vLLM runs there: its /health answers once it is ready.",
        retryable=True,
    )


def _is_distrust(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None


def _distrusted() -> LibraryError:
    return LibraryError(
        "remote-not-trusted",
        "The server at SHIMMY_VLLM_URL has no certificate that is trusted here.",
        hint="Set SSL_CERT_FILE to a file with the certificate of whoever signed the server's.",
    )


def _broken_off(reason: str) -> LibraryError:
    return LibraryError(
        "remote-broken-off",
        f"The server at SHIMMY_VLLM_URL did not finish its answer: {reason}.",
        hint="Look at vLLM's log; it may have run out of memory.",
        retryable=True,
    )


def _not_understood(reason: str) -> LibraryError:
    return LibraryError(
        "remote-not-understood",
        f"The server at SHIMMY_VLLM_URL is no vLLM that this program can use: {reason}.",
        hint="Check the address; vLLM 0.6.3 is the oldest with response_format.",
    )
