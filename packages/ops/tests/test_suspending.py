"""A licence that the store suspends in the very moment is suspended; one that cannot be is told."""

from __future__ import annotations

import httpx
import pytest

from shimmy_ops.adapters.accounts.keygen_customers import KeygenCustomers
from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire
from shimmy_ops.errors import LicensingError


def _keygen(*looks: bool) -> tuple[KeygenCustomers, list[str]]:
    """Keygen that refuses to suspend; ``looks`` is how the licence stands at each look."""
    left, asked = list(looks), list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if request.method == "POST":
            said = {"title": "Unprocessable", "code": "LICENSE_SUSPENDED", "detail": "is suspended"}
            return httpx.Response(422, json={"errors": [said]})
        return httpx.Response(200, json={"data": {"attributes": {"suspended": left.pop(0)}}})

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://keygen/")
    return KeygenCustomers(KeygenWire(client)), asked


def test_what_the_store_suspends_meanwhile_is_suspended() -> None:
    keygen, asked = _keygen(False, True)
    keygen.suspend("a")
    assert asked == ["GET", "POST", "GET"]


def test_what_is_suspended_already_is_left_alone() -> None:
    keygen, asked = _keygen(True)
    keygen.suspend("a")
    assert asked == ["GET"]


def test_a_refusal_is_told() -> None:
    keygen, _ = _keygen(False, False)
    with pytest.raises(LicensingError):
        keygen.suspend("a")
