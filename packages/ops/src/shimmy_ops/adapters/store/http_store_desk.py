"""The ``StoreDesk`` port over HTTP: the one place that translates the store's refusals."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import httpx

from shimmy_ops.errors import DeskError
from shimmy_ops.ports.store_desk import Answered, Document

_DUMP_TYPE = "application/x-ndjson"
_NOT_ALLOWED = frozenset({401, 403, 404})
_CODE = re.compile(r"[a-z0-9-]{1,80}")
# A ledger of a million events is written and read in minutes.
_WHOLE_LEDGER_SECONDS = 1800


class HttpStoreDesk:
    """``client`` speaks to the store's own address and gives no token by itself."""

    def __init__(self, client: httpx.Client, operator_token: str, metrics_token: str = "") -> None:
        self._client = client
        self._token = operator_token
        self._metrics_token = metrics_token

    def get(self, path: str) -> Answered:
        began = time.perf_counter()
        with _errors(path):
            reply = self._client.get(path)
            return Answered(reply.status_code, reply.text, time.perf_counter() - began)

    def metrics(self) -> str:
        headers = {"Authorization": f"Bearer {self._metrics_token}"} if self._metrics_token else {}
        with _errors("/metrics"):
            reply = self._client.get("/metrics", headers=headers)
        _check(reply, "/metrics")
        return reply.text

    def figures(self, hours: int) -> Document:
        return self._ask("GET", "figures", params={"hours": hours})

    def find_customers(self, *, customer: str = "", email: str = "") -> Sequence[Document]:
        asked = {"customer": customer} if customer else {"email": email}
        return _listed(self._ask("POST", "customers", json=asked), "customers")

    def look(self, customer: str) -> str:
        return str(self._ask("POST", "look", json={"customer": customer}).get("outcome", ""))

    def export(self, customer: str) -> Document:
        return self._ask("POST", "export", json={"customer": customer})

    def erase(self, customer: str) -> Document:
        return self._ask("POST", "erase", json={"customer": customer})

    def alarms(self) -> Sequence[Document]:
        return _listed(self._ask("GET", "alarms"), "alarms")

    def acknowledge(self, code: str, subject: str) -> bool:
        asked = {"code": code, "subject": subject}
        return bool(self._ask("POST", "alarms/done", json=asked).get("done"))

    def probe_mail(self, to: str) -> float:
        return float(self._ask("POST", "mail-probe", json={"to": to}).get("seconds", 0.0))

    def dump(self, into: PurePath) -> int:
        path = Path(into)
        with (
            _files(path),
            _errors("/operator/dump"),
            self._client.stream(
                "GET", "/operator/dump", headers=self._bearer(), timeout=_WHOLE_LEDGER_SECONDS
            ) as reply,
        ):
            if not reply.is_success:
                reply.read()
                _check(reply, "/operator/dump")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for piece in reply.iter_bytes():
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                return file.tell()

    def restore(self, source: PurePath) -> Document:
        with _files(Path(source)), Path(source).open("rb") as file:
            headers = {**self._bearer(), "Content-Type": _DUMP_TYPE}
            with _errors("/operator/restore"):
                reply = self._client.post(
                    "/operator/restore",
                    content=_pieces(file),
                    headers=headers,
                    timeout=_WHOLE_LEDGER_SECONDS,
                )
        return _document(reply, "/operator/restore")

    def _ask(self, method: str, name: str, **given: Any) -> Document:
        path = f"/operator/{name}"
        with _errors(path):
            reply = self._client.request(method, path, headers=self._bearer(), **given)
        return _document(reply, path)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


def _pieces(file: Any) -> Iterator[bytes]:
    while piece := file.read(1 << 16):
        yield piece


def _document(reply: httpx.Response, path: str) -> Document:
    _check(reply, path)
    try:
        read = reply.json()
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise _nonsense(path)
    return read


def _listed(document: Document, name: str) -> Sequence[Document]:
    found = document.get(name)
    if not isinstance(found, list):
        raise _nonsense(name)
    return found


def _nonsense(path: str) -> DeskError:
    return DeskError(
        "desk-malformed",
        f"What answers at {path} is of another shape than the store's.",
        hint="Check store_url in the profile, and the store's version.",
    )


def _check(reply: httpx.Response, path: str) -> None:
    if reply.is_success:
        return
    code = _code(reply)
    said = f"{path} is answered {reply.status_code} ({code or 'no code'})"
    if code in ("customer-unknown", "customer-merged"):
        raise DeskError("desk-no-such-customer", f"The store: {said}.")
    if reply.status_code in _NOT_ALLOWED or reply.is_redirect:
        raise DeskError(
            "desk-not-allowed",
            f"The store does not let us: {said}.",
            hint="Start it with the operator's token: `shimmy-ops provision --apply --write-env` "
            "makes one and tells the store.",
        )
    busy = reply.status_code == httpx.codes.TOO_MANY_REQUESTS or reply.is_server_error
    if busy:
        raise DeskError(
            "desk-failing",
            f"The store fails: {said}.",
            hint="Look at its log and at /health, and run it again.",
            retryable=True,
        )
    raise DeskError("desk-refused", f"The store refuses: {said}.")


def _code(reply: httpx.Response) -> str:
    try:
        code = str(reply.json().get("code", ""))
    except (ValueError, AttributeError):
        return ""
    # Whatever answers there is shown in a terminal: only what a code of ours looks like.
    return code if _CODE.fullmatch(code) else ""


@contextmanager
def _files(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DeskError(
            "desk-file-unusable",
            f"{path.name} cannot be used here: {error.strerror or type(error).__name__}.",
            hint="Check the folder and its disk's space.",
        ) from error


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise DeskError(
            "desk-unreachable",
            f"The store was not reached at {path}: {type(error).__name__}.",
            hint="Is it running, and is store_url in the profile its address?",
            retryable=True,
        ) from None
