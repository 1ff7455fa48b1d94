"""What both clients know of the way to the server: address, key, patience, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from shimmy_vision.client.failures import ApiError, ServerUnreachable
from shimmy_vision.client.settings import api_key_from_environment

DEFAULT_URL = "http://127.0.0.1:8750"
# A large page on a small machine takes minutes, of which a plain request hears nothing.
DEFAULT_TIMEOUT = 600.0
DEFAULT_RETRIES = 2
_CONNECT_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Too much at once; stopping, or not yet able to; an engine that died and comes back. Nothing that
# failed has counted, so nothing is done twice.
_ENGINE_FAILED = 502
_TRY_AGAIN = (429, _ENGINE_FAILED, 503)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Connection:
    """``timeout`` in seconds of silence; ``retries`` after a refusal for now."""

    base_url: str = DEFAULT_URL
    api_key: str | None = field(default=None, repr=False)
    timeout: float | None = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of httpx's clients."""
        key = self.api_key or api_key_from_environment()
        return {
            "base_url": self.base_url,
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            "timeout": httpx.Timeout(self.timeout, connect=_CONNECT_SECONDS),
            # A proxy named in the environment does not lead to this machine.
            "trust_env": urlsplit(self.base_url).hostname not in _LOOPBACK,
        }

    def pause(self, attempt: int, error: ApiError) -> float | None:
        """Seconds until attempt number ``attempt`` + 1, or None where it would not help."""
        if attempt >= self.retries or error.status not in _TRY_AGAIN or not error.retryable:
            return None
        if error.status == _ENGINE_FAILED and error.retry_after is None:
            return None  # A proxy's own 502, or one that waiting does not mend.
        pause = _FIRST_PAUSE * 2**attempt if error.retry_after is None else error.retry_after
        return pause if pause <= _LONGEST_PAUSE else None

    def broken(self) -> ServerUnreachable:
        """For a stream that ends before the work does."""
        return ServerUnreachable(self.base_url, "the connection ended before the answer did")

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Raise our errors for httpx's. A server that is silent for too long is a TimeoutError."""
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise ServerUnreachable(self.base_url, "it does not accept connections") from error
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{self.base_url} was silent for {self.timeout:g} s.") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ServerUnreachable(self.base_url, reason) from error


def refusal_of(response: httpx.Response) -> ApiError:
    """Of a response that was read."""
    return ApiError.of_response(response.status_code, response.headers, response.content)


def answer_of(response: httpx.Response) -> Any:
    """The JSON of a response that was read. Raises ApiError answer-not-understood."""
    try:
        return json.loads(response.content)
    except ValueError as error:
        raise ApiError.of_record(None, response.status_code) from error
