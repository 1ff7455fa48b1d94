"""Model files over HTTP, from the hub or from a mirror with the same layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from shimmy_vision import __version__
from shimmy_vision.adapters.http_line import Line
from shimmy_vision.domain.licence.licensor import is_loopback
from shimmy_vision.domain.model.download import PartState, ServerReply, read_number
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.errors import DownloadError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_source import Transfer

_CONNECT_SECONDS = 10.0


class HttpModelSource:
    """The ``ModelSource`` port; errors name file and repository, never a whole URL."""

    def __init__(self, base_url: str, *, offline: bool = False, timeout: float = 30.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._offline = offline
        self._timeout = timeout

    @contextmanager
    def fetch(
        self, pin: ModelPin, file: ModelFile, part: PartState, cancellation: Cancellation
    ) -> Iterator[Transfer]:
        what = f"{file.name} of {pin.repository}"
        if self._offline:
            raise DownloadError(
                "offline",
                f"{what} is not installed and SHIMMY_OFFLINE forbids downloads.",
                hint="Copy the files into the folder that this prints: shimmy models path "
                f"{pin.family}",
            )
        headers = {"User-Agent": f"shimmy-vision/{__version__}", "Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.tag and not part.tag.startswith("W/"):
                headers["If-Range"] = part.tag
        line = Line()
        with (
            _network_errors(what),
            self._client() as client,
            cancellation.when_cancelled(line.hang_up),
        ):
            url, tracing = f"{self._base_url}/{pin.path_of(file)}", {"trace": line.trace}
            with client.stream("GET", url, headers=headers, extensions=tracing) as response:
                _check_status(response, what)
                # Pieces as they arrive: a fixed chunk size would lose what a cut leaves unfilled.
                yield Transfer(_reply(response), response.iter_raw())

    def _client(self) -> httpx.Client:
        return httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(self._timeout, connect=min(_CONNECT_SECONDS, self._timeout)),
            event_hooks={"request": [self._refuse_insecure]},
        )

    def _refuse_insecure(self, request: httpx.Request) -> None:
        """A mirror the user chose may be plain HTTP; a redirect may not lead there."""
        chosen = _origin(request.url) == _origin(httpx.URL(self._base_url))
        if request.url.scheme == "https" or chosen or is_loopback(request.url.host):
            return
        raise DownloadError(
            "download-insecure",
            "The server redirects the download to an unencrypted address.",
            hint="Check SHIMMY_MODEL_BASE_URL.",
        )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _reply(response: httpx.Response) -> ServerReply:
    return ServerReply(
        status=response.status_code,
        tag=response.headers.get("ETag", ""),
        content_range=response.headers.get("Content-Range", ""),
        length=read_number(response.headers.get("Content-Length", "")),
    )


def _check_status(response: httpx.Response, what: str) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        _check_kind(response, what)
        return
    if status in (401, 403):
        raise DownloadError(
            "download-refused",
            f"The server refuses {what} (HTTP {status}).",
            hint="If you use a mirror, check its access rules.",
        )
    if status in (404, 410):
        raise DownloadError(
            "download-missing",
            f"The server does not have {what} (HTTP {status}).",
            hint="Check SHIMMY_MODEL_BASE_URL, or update: pip install -U shimmy-vision",
        )
    if status == 429:
        raise DownloadError(
            "download-throttled",
            f"The server asks to slow down for {what} (HTTP 429).",
            hint="Try again later: the download resumes.",
            retryable=True,
            retry_after=read_number(response.headers.get("Retry-After", "")),
        )
    raise DownloadError(
        "download-server-error",
        f"The server failed for {what} (HTTP {status}).",
        hint="Try again later: the download resumes.",
        retryable=status >= 500,
    )


def _check_kind(response: httpx.Response, what: str) -> None:
    if response.headers.get("Content-Type", "").startswith("text/html") and response.is_success:
        raise DownloadError(
            "download-web-page",
            f"A web page came instead of {what}.",
            hint="A network's sign-in page may stand in between: sign in with a browser, then "
            "run the command again: it resumes. If you use a mirror, check it.",
        )


@contextmanager
def _network_errors(what: str) -> Iterator[None]:
    """The one place where httpx's failures become ours."""
    try:
        yield
    except httpx.TooManyRedirects as error:
        raise DownloadError("download-redirects", f"Too many redirects for {what}.") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise DownloadError(
            "download-bad-address",
            "The download address is not a valid http or https URL.",
            hint="Check SHIMMY_MODEL_BASE_URL.",
        ) from error
    except httpx.TransportError as error:
        raise DownloadError(
            "download-network",
            f"The connection failed while downloading {what}: {type(error).__name__}.",
            hint="Check the network and run the command again: it resumes.",
            retryable=True,
        ) from error
