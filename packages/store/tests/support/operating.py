"""The operator's side of a store: a client with the token, and problems read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from store_server import Store
from town import NO_TLS

OPERATOR_TOKEN = "an-operator-token-of-tests-0123456789"
OLD_TOKEN = "the-one-before-it-of-tests-0123456789"
BEARER = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


@contextmanager
def operator(store: Store, **headers: str) -> Iterator[httpx.Client]:
    """Somebody with the token."""
    with httpx.Client(
        base_url=f"{store.url}/operator",
        trust_env=False,
        verify=NO_TLS,
        timeout=30,
        headers={**BEARER, **headers},
    ) as client:
        yield client


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """An error as it should look: never a page, never kept."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    read: dict[str, Any] = answer.json()
    assert read["status"] == status
    return read
