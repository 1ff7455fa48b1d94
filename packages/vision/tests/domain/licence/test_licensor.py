"""Whose licences a build accepts: the file it is built from, and where it may be pointed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_sandbox.keygen.identity import ACCOUNT_ID, PRODUCT_ID
from shimmy_sandbox.keygen.signing import SigningKey
from shimmy_vision.domain.licence.licensor import Licensor, choose_api_url, read_licensor
from shimmy_vision.domain.licence.pinned import PINNED

SANDBOX_FILE = Path(__file__).resolve().parents[5] / "contracts/sandbox-licensor.json"
SANDBOX = asdict(PINNED)
LIVE = {
    **SANDBOX,
    "mode": "live",
    "public_key": "e8" * 32,
    "api_url": "https://api.example.com",
    "pricing_url": "https://example.com/pricing",
    "portal_url": "https://example.com/account",
}
URLS = ("api_url", "pricing_url", "portal_url")


def test_the_contracts_sandbox_licensor_is_the_pinned_one() -> None:
    read = read_licensor(json.loads(SANDBOX_FILE.read_text(encoding="utf-8")))
    assert read == PINNED
    assert read.sandbox


def test_the_pinned_licensor_is_the_sandbox_server() -> None:
    """Its account, its product and the public half of the key that is there for everybody."""
    assert (PINNED.account, PINNED.product) == (ACCOUNT_ID, PRODUCT_ID)
    assert PINNED.public_key == SigningKey().public_hex


def test_a_live_licensor_is_accepted_and_is_no_sandbox() -> None:
    read = read_licensor(LIVE)
    assert asdict(read) == LIVE
    assert not read.sandbox


@pytest.mark.parametrize("licensor", [SANDBOX, LIVE], ids=["sandbox", "live"])
@pytest.mark.parametrize("name", list(SANDBOX))
def test_a_missing_field_is_named(licensor: Mapping[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        read_licensor({one: value for one, value in licensor.items() if one != name})


@pytest.mark.parametrize("licensor", [SANDBOX, LIVE], ids=["sandbox", "live"])
@pytest.mark.parametrize("name", list(SANDBOX))
@pytest.mark.parametrize("value", [None, 7, b"text", ["text"]])
def test_a_field_that_is_no_text_is_named(
    licensor: Mapping[str, Any], name: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be text$"):
        read_licensor({**licensor, name: value})


def test_another_field_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly these fields"):
        read_licensor({**SANDBOX, "webhook": "x"})


@pytest.mark.parametrize("mode", ["", "Live", "LIVE", "test", "sandbox "])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=r"^mode must be"):
        read_licensor({**SANDBOX, "mode": mode})


@pytest.mark.parametrize("name", ["account", "product"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "shimmy",
        PINNED.account.upper(),
        PINNED.account.replace("-", ""),
        "{" + PINNED.account + "}",
        "urn:uuid:" + PINNED.account,
        PINNED.account + "\n",
        PINNED.account[:-1] + "٣",
    ],
)
def test_ids_are_uuids_in_lower_case(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a UUID"):
        read_licensor({**SANDBOX, name: value})


@pytest.mark.parametrize(
    "value", ["", "35" * 31, "35" * 33, "3G" * 32, "AB" * 32, "35" * 32 + "\n", "0x" + "35" * 31]
)
def test_the_public_key_is_32_bytes_in_hex(value: str) -> None:
    with pytest.raises(ValueError, match=r"^public_key must be"):
        read_licensor({**SANDBOX, "public_key": value})


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "example.com",
        "http://example.com",
        "http://127.0.0.1:7410",
        "https://127.0.0.1",
        "https://127.0.0.2",
        "https://localhost.",
        "https://localhost:7410",
        "https://[::1]",
        "https://",
        "https:///path",
        "ftp://example.com",
        "https://[::1",
        "https://example.com:port",
        "https://example.com:99999",
    ],
)
def test_a_live_build_speaks_https_to_the_world(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        read_licensor({**LIVE, name: value})


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "127.0.0.1:7410",
        "https://127.0.0.1:7410",
        "http://example.com",
        "http://10.0.0.1:7410",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1:80@example.com",
        "http://localhost.example.com",
        "http://[::1",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
    ],
)
def test_a_sandbox_build_speaks_http_to_this_machine(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        read_licensor({**SANDBOX, name: value})


@pytest.mark.parametrize("licensor", [SANDBOX, LIVE], ids=["sandbox", "live"])
@pytest.mark.parametrize("more", ["/", "/v1", "?a=b", "#top", "//"])
def test_the_licence_server_has_no_path(licensor: Mapping[str, str], more: str) -> None:
    """Whatever stood after the host would stand before the path of every request."""
    with pytest.raises(ValueError, match=r"^api_url must have no path"):
        read_licensor({**licensor, "api_url": licensor["api_url"] + more})
    for name in ("pricing_url", "portal_url"):
        url = licensor[name] + more
        assert asdict(read_licensor({**licensor, name: url}))[name] == url


@pytest.mark.parametrize("licensor", [SANDBOX, LIVE], ids=["sandbox", "live"])
def test_the_licence_server_has_no_user(licensor: Mapping[str, str]) -> None:
    """Clients would send that as the authentication, in the licence key's place."""
    url = licensor["api_url"].replace("://", "://user:password@")
    with pytest.raises(ValueError, match=r"^api_url must have no path, query or user"):
        read_licensor({**licensor, "api_url": url})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:7411", "http://[::1]:80"])
def test_a_sandbox_build_may_be_pointed_at_another_sandbox(url: str) -> None:
    assert choose_api_url(PINNED, url) == url
    assert choose_api_url(PINNED, url + "/") == url
    assert read_licensor({**SANDBOX, "api_url": url}).api_url == url


@pytest.mark.parametrize("wish", [None, "", PINNED.api_url, PINNED.api_url + "/"])
def test_no_wish_or_the_pinned_server_is_the_pinned_server(wish: str | None) -> None:
    assert choose_api_url(PINNED, wish) == PINNED.api_url


@pytest.mark.parametrize(
    "wish",
    [
        "https://api.keygen.sh",
        "https://127.0.0.1:7410",
        "http://example.com",
        "http://127.0.0.1:80@example.com",
        "127.0.0.1:7410",
        "file:///etc/passwd",
        "http://[::1",
        "http://127.0.0.1:port",
        "http://127.0.0.1:70000",
        "http://127.0.0.1:7410?a=b",
        "http://127.0.0.1:7410/v1",
        " http://127.0.0.1:7410",
        "http://127.0.0.1:7410\n",
        "nonsense",
    ],
)
def test_a_sandbox_build_cannot_be_pointed_elsewhere(wish: str) -> None:
    with pytest.raises(ValueError, match="the licence server"):
        choose_api_url(PINNED, wish)


def test_a_live_build_cannot_be_pointed_anywhere() -> None:
    live = read_licensor(LIVE)
    assert choose_api_url(live, None) == live.api_url
    assert choose_api_url(live, live.api_url + "/") == live.api_url
    for wish in ("https://api.keygen.sh", "http://127.0.0.1:7410", "https://api.example.com/v1"):
        with pytest.raises(ValueError, match="is fixed"):
            choose_api_url(live, wish)


WISHES = st.text(max_size=30) | st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["127.0.0.1", "localhost", "[::1]", "example.com", "[::"]),
    st.text(alphabet=":/?#@.0123456789ab", max_size=8),
)


@given(wish=WISHES, mode=st.sampled_from(["sandbox", "live"]))
def test_whatever_is_wished_no_build_leaves_its_own_kind(wish: str, mode: str) -> None:
    licensor: Licensor = PINNED if mode == "sandbox" else read_licensor(LIVE)
    try:
        chosen = choose_api_url(licensor, wish)
    except ValueError:
        return
    # What was chosen could have been pinned: the same rules hold for both.
    pinned = replace(licensor, api_url=chosen)
    assert read_licensor(asdict(pinned)) == pinned
    if mode == "live":
        assert chosen == licensor.api_url
