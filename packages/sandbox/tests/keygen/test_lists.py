"""Pages and filters: nothing lost, nothing twice, nothing that does not match."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_sandbox.keygen.server import serve_keygen
from shimmy_sandbox.keygen.wire import camel, metadata_in, metadata_out, snake

COUNT = 23
VALUES: list[Any] = ["1", "true", "null", "x y", "Ä&=", 1, 2, 1.5, True, False, None]
STEPS = {"orderId": 1, "plan": 3, "tenantId": 7}


@dataclass
class Shelf:
    """Licences in the order they were made, and their metadata."""

    client: httpx.Client
    url: str
    ids: list[str]
    metadata: list[dict[str, Any]]

    def follow(self, link: str | None) -> str | None:
        """Where a link of a reply leads."""
        return f"{self.url}{link}" if link else None


@pytest.fixture(scope="module")
def shelf() -> Iterator[Shelf]:
    with serve_keygen(":memory:") as server:
        client = httpx.Client(
            base_url=f"{server.url}/v1/",
            headers={"Authorization": f"Bearer {server.admin_token}"},
            trust_env=False,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )
        with client:
            product = made(client, "products", {"name": "Thing"})
            policy = made(client, "policies", {"name": "Rules"}, product=("products", product))
            metadata = [
                {key: VALUES[place * step % len(VALUES)] for key, step in STEPS.items()}
                for place in range(COUNT)
            ]
            ids = [
                made(client, "licenses", {"metadata": one}, policy=("policies", policy))
                for one in metadata
            ]
            yield Shelf(client, server.url, ids, metadata)


def made(client: httpx.Client, kind: str, attributes: Any, **related: tuple[str, str]) -> str:
    relations = {name: {"data": {"type": kind, "id": one}} for name, (kind, one) in related.items()}
    data = {"type": kind, "attributes": attributes, "relationships": relations}
    reply = client.post(kind, json={"data": data})
    assert reply.status_code == 201, reply.text
    identifier: str = reply.json()["data"]["id"]
    return identifier


def ids(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [one["id"] for one in reply.json()["data"]]


@settings(max_examples=25)
@given(size=st.integers(1, 100), order=st.sampled_from(["desc", "asc", None]))
def test_pages_cover_everything_exactly_once(shelf: Shelf, size: int, order: str | None) -> None:
    target: str | None = f"licenses?page[number]=1&page[size]={size}"
    target = f"{target}&order={order}" if order else target
    seen: list[str] = []
    while target:
        reply = shelf.client.get(target)
        seen += ids(reply)
        links = reply.json()["links"]
        assert links["meta"] == {"pages": -(-COUNT // size), "count": COUNT}
        target = shelf.follow(links["next"])
    assert seen == (shelf.ids if order == "asc" else shelf.ids[::-1])


def test_links_lead_where_they_say(shelf: Shelf) -> None:
    reply = shelf.client.get("licenses?page[number]=2&page[size]=5&metadata[plan]=1")
    query = parse_qs(urlsplit(reply.json()["links"]["self"]).query)
    assert query == {"page[number]": ["2"], "page[size]": ["5"], "metadata[plan]": ["1"]}
    links = shelf.client.get("licenses?page[number]=2&page[size]=10").json()["links"]
    assert ids(shelf.client.get(shelf.url + links["prev"])) == shelf.ids[::-1][:10]
    assert ids(shelf.client.get(shelf.url + links["first"])) == shelf.ids[::-1][:10]
    last = shelf.client.get(shelf.url + links["last"])
    assert ids(last) == shelf.ids[::-1][20:]
    assert last.json()["links"]["next"] is None


@given(limit=st.integers(1, 100))
@settings(max_examples=10)
def test_limits_take_the_newest(shelf: Shelf, limit: int) -> None:
    reply = shelf.client.get("licenses", params={"limit": limit})
    assert ids(reply) == shelf.ids[::-1][:limit]
    assert "links" not in reply.json()


def test_ten_by_default(shelf: Shelf) -> None:
    assert ids(shelf.client.get("licenses")) == shelf.ids[::-1][:10]
    assert len(ids(shelf.client.get("licenses?page[number]=1"))) == 10
    assert ids(shelf.client.get("licenses?page[number]=99&page[size]=100")) == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("page[number]=0", "page[number]"),
        ("page[number]=101", "page[number]"),
        ("page[number]=1&page[size]=101", "page[size]"),
        ("page[size]=10", "page"),
        ("page[cursor]=", "page[cursor]"),
        ("order=up", "order"),
    ],
)
def test_impossible_pages(shelf: Shelf, query: str, parameter: str) -> None:
    reply = shelf.client.get(f"licenses?{query}")
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["source"] == {"parameter": parameter}


def matches(kept: Any, asked: str) -> bool:
    """Keygen finds what is kept as the text asked for, or as what the text means."""
    meant: Any = {"true": True, "false": False, "null": None}.get(asked, asked)
    if asked.replace(".", "", 1).isdigit() and asked.isascii():
        meant = float(asked)
    same_type = isinstance(kept, bool) == isinstance(meant, bool)
    return kept == asked or (same_type and kept == meant)


TEXTS = st.sampled_from(["1", "2", "1.5", "1.0", "true", "false", "null", "x y", "Ä&=", "x"])


@settings(max_examples=60)
@given(wanted=st.dictionaries(st.sampled_from([*STEPS, "order_id", "nothing"]), TEXTS, max_size=3))
def test_metadata_filters(shelf: Shelf, wanted: dict[str, str]) -> None:
    query = {f"metadata[{key}]": value for key, value in wanted.items()}
    found = ids(shelf.client.get("licenses", params={**query, "limit": "100"}))
    expected = [
        identifier
        for identifier, metadata in zip(shelf.ids, shelf.metadata, strict=True)
        if all(
            (name := camel(key)) in metadata and matches(metadata[name], value)
            for key, value in wanted.items()
        )
    ]
    assert found == expected[::-1]


# Words of one letter do not survive, with Keygen neither: a_b_c is sent as aBC, and kept as a_bc.
NAMES = st.lists(st.text("abz", min_size=2, max_size=4), min_size=1, max_size=4).map("_".join)


@given(NAMES)
def test_names_go_there_and_back(name: str) -> None:
    assert snake(camel(name)) == name


@given(st.dictionaries(NAMES, st.lists(st.dictionaries(NAMES, st.none(), max_size=2), max_size=2)))
def test_metadata_goes_there_and_back(metadata: dict[str, Any]) -> None:
    assert metadata_in(metadata_out(metadata)) == metadata


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("pagesPeriodStart", "pages_period_start"),
        ("HTTPServer", "http_server"),
        ("tenant-id", "tenant_id"),
        ("SHA256Sum", "sha256_sum"),
    ],
)
def test_names_are_kept_as_rails_keeps_them(sent: str, kept: str) -> None:
    assert snake(sent) == kept
