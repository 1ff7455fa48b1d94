"""A client of any release sends its owner to two pages of the store: they stay where they are."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.routing import Match

from shimmy_store.server.app import create_app
from shimmy_store.settings import Settings
from shimmy_store.wiring import open_shop

LICENSOR = Path(__file__).resolve().parents[3] / "contracts/sandbox-licensor.json"


@pytest.mark.parametrize("name", ["pricing_url", "portal_url"])
def test_a_page_that_clients_name_is_a_page_of_the_store(name: str) -> None:
    """The client calls no other address of the store; it asks Keygen."""
    settings = Settings(
        mode="test",
        url="http://127.0.0.1:1",
        stripe_key="",
        webhook_secrets=("",),
        keygen_account="",
        keygen_token="",
        policies={},
        mail="",
        mail_from="",
        ledger="sqlite:///:memory:",
        secrets=("",),
    )
    path = urlsplit(json.loads(LICENSOR.read_text(encoding="utf-8"))[name]).path
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    app = create_app(settings, open_shop)
    assert Match.FULL in [route.matches(scope)[0] for route in app.routes]
    gone = {**scope, "path": f"{path}-gone"}
    assert Match.FULL not in [route.matches(gone)[0] for route in app.routes]
