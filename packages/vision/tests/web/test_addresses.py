"""Which addresses may be reached: each special range, its edges, and what the allow-list opens."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.web.addresses import check_addresses, refuse_address, special_kind
from shimmy_vision.domain.web.allow_list import AllowList, read_allow_list
from shimmy_vision.domain.web.refusal import Refused

NOTHING = AllowList()

SPECIAL = [
    ("0.0.0.0", "unspecified"),  # noqa: S104 - to refuse it
    ("0.1.2.3", "this network"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.0", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.0", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.9", "reserved for protocols"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4 relays"),
    ("192.168.255.255", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::7f00:1", "IPv4-compatible"),
    ("::8.8.8.8", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "IPv4-mapped"),
    ("::ffff:8.8.8.8", "IPv4-mapped"),
    ("::ffff:0:127.0.0.1", "IPv4-translated"),
    ("64:ff9b::7f00:1", "NAT64"),
    ("64:ff9b::a9fe:a9fe", "NAT64"),
    ("64:ff9b:1::1", "NAT64"),
    ("100::1", "discard-only"),
    ("2001::1", "Teredo"),
    ("2001:0:7f00:1::", "Teredo"),
    ("2001:2::1", "benchmarking"),
    ("2001:10::1", "reserved for protocols"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "6to4"),
    ("2002:a00:1::1", "6to4"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("fc00::1", "unique-local"),
    ("fd00:ec2::254", "unique-local"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "bound to one link"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("2600::5efe:7f00:1", "ISATAP"),
    ("2600::200:5efe:a00:1", "ISATAP"),
]
PUBLIC = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0",
          "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0", "192.167.255.255",
          "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111",
          "2a00:1450:4001::200e"]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), SPECIAL)
def test_special_addresses_are_refused_by_their_kind(text: str, kind: str) -> None:
    address = ip_address(text)
    assert special_kind(address) == kind
    refused = refuse_address(address, 80, NOTHING)
    assert refused == Refused(f"{address} is not a public address ({kind})")


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_reached(text: str) -> None:
    assert refuse_address(ip_address(text), 443, NOTHING) is None


@given(st.ip_addresses())
def test_nothing_is_reached_that_python_calls_not_global(
    address: IPv4Address | IPv6Address,
) -> None:
    if refuse_address(address, 80, NOTHING) is None:
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::{}", "64:ff9b::{}"]))
def test_an_ipv4_address_inside_an_ipv6_one_is_never_reached(inner: IPv4Address, form: str) -> None:
    assert refuse_address(ip_address(form.format(inner)), 80, NOTHING) is not None


@given(st.ip_addresses(v=4))
def test_nothing_is_reached_through_6to4_or_teredo(inner: IPv4Address) -> None:
    sixes = (0x2002 << 112 | int(inner) << 80, 0x20010000 << 96 | int(inner) << 64)
    teredo_client = 0x20010000 << 96 | int(inner) ^ 0xFFFFFFFF
    for number in (*sixes, teredo_client):
        assert refuse_address(IPv6Address(number), 80, NOTHING) is not None


def test_the_allow_list_opens_networks_addresses_and_single_ports() -> None:
    allow = read_allow_list(["10.0.0.0/8", "127.0.0.1:8080", "[fd00::1]:80", "fd01::/16"])
    for text, port, reached in (
        ("10.9.8.7", 1234, True),
        ("127.0.0.1", 8080, True),
        ("127.0.0.1", 8081, False),
        ("127.0.0.2", 8080, False),
        ("fd00::1", 80, True),
        ("fd00::1", 81, False),
        ("fd01::9", 443, True),
        ("192.168.0.1", 80, False),
    ):
        assert (refuse_address(ip_address(text), port, allow) is None) is reached, (text, port)


@pytest.mark.parametrize(
    "entry",
    ["", "10.0.0.0/33", "10.0.0.1/8", "host:0", "host:65536", "http://x", "a b", "[::1", "*"],
)
def test_an_entry_that_is_none_of_the_forms_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="'"):
        read_allow_list([entry])


def test_one_bad_address_refuses_a_name() -> None:
    good, bad = "93.184.216.34", "10.0.0.1"
    assert check_addresses("a.example", 80, [good], NOTHING) == (ip_address(good),)
    assert check_addresses("a.example", 80, [good, bad, good], NOTHING) == Refused(
        "a.example: 10.0.0.1 is not a public address (private)"
    )
    assert isinstance(check_addresses("a.example", 80, [], NOTHING), Refused)
    assert isinstance(check_addresses("a.example", 80, ["what?"], NOTHING), Refused)


def test_an_allowed_name_may_be_anywhere_at_its_port() -> None:
    allow = read_allow_list(["Intranet.Example.:8443", "wiki"])
    private = (ip_address("10.0.0.1"),)
    assert check_addresses("intranet.example", 8443, ["10.0.0.1"], allow) == private
    assert isinstance(check_addresses("intranet.example", 443, ["10.0.0.1"], allow), Refused)
    assert check_addresses("wiki", 80, ["10.0.0.1"], allow) == private
    assert isinstance(check_addresses("x.wiki", 80, ["10.0.0.1"], allow), Refused)
