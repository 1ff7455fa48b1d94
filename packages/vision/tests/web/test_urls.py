"""Which URLs may be visited: a table of what strangers try, and what browsers make of each."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.web.allow_list import AllowList, read_allow_list
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import Allowed, check_authority, check_redirect, check_url

NOTHING = AllowList()
CIRCLED = "\u2460\u2461\u2466"  # 127 in circles
WIDE = "\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11"  # 127.0.0.1, full width

HOSTILE = [
    # Loopback in every form that a resolver or a browser takes for it.
    ("http://127.0.0.1/", "loopback"),
    ("http://127.1/", "loopback"),
    ("http://127.0.1/", "loopback"),
    ("http://127.127.127.127/", "loopback"),
    ("http://2130706433/", "loopback"),
    ("http://0x7f000001/", "loopback"),
    ("http://0X7F.0.0.1/", "loopback"),
    ("http://0x7f.1/", "loopback"),
    ("http://0177.0.0.1/", "loopback"),
    ("http://0177.1/", "loopback"),
    ("http://017700000001/", "loopback"),
    ("http://00000177.0x0.0.1/", "loopback"),
    ("http://127.0.0.1./", "loopback"),
    ("http://%31%32%37.0.0.1/", "loopback"),
    ("http://127%2e0%2e0%2e1/", "loopback"),
    (f"http://{WIDE}/", "loopback"),
    (f"http://{CIRCLED}.0.0.1/", "loopback"),
    ("http://127.0.0.1:8080/admin", "loopback"),
    ("HTTP://127.0.0.1", "loopback"),
    ("http://0/", "unspecified"),
    ("http://0x/", "unspecified"),
    ("http://0.0.0.0/", "unspecified"),
    ("http://[::]/", "unspecified"),
    ("http://[::1]/", "loopback"),
    ("http://[0:0:0:0:0:0:0:1]:80/", "loopback"),
    ("http://[::ffff:127.0.0.1]/", "IPv4-mapped"),
    ("http://[::ffff:7f00:1]/", "IPv4-mapped"),
    ("http://[::127.0.0.1]/", "IPv4-compatible"),
    ("http://[64:ff9b::127.0.0.1]/", "NAT64"),
    ("http://[64:ff9b:1::a9fe:a9fe]/", "NAT64"),
    ("http://[2002:7f00:1::]/", "6to4"),
    ("http://[2001:0:0:0:0:0:80ff:fffe]/", "Teredo"),
    # Clouds' metadata and the neighbours.
    ("http://169.254.169.254/latest/meta-data/", "link-local"),
    ("http://0xa9fea9fe/", "link-local"),
    ("http://2852039166/", "link-local"),
    ("http://0251.0376.0251.0376/", "link-local"),
    ("http://[fd00:ec2::254]/", "unique-local"),
    ("http://[fe80::1]/", "link-local"),
    ("http://[fe80::1%25eth0]/", "not valid"),
    ("http://100.100.100.200/", "carrier-grade NAT"),
    ("http://192.168.0.1/", "private"),
    ("http://10.1/", "private"),
    ("http://172.16.5.4:8000/", "private"),
    ("http://224.0.0.251/", "multicast"),
    ("http://255.255.255.255/", "broadcast"),
    ("http://[ff02::fb]/", "multicast"),
    ("http://[fec0::1]/", "site-local"),
    ("http://198.18.0.1/", "benchmarking"),
    # What two parsers read differently.
    ("http://example.com@127.0.0.1/", "user name"),
    ("http://user:secret@example.com/", "user name"),
    ("http://127.0.0.1\\@example.com/", "backslash"),
    ("http:\\\\127.0.0.1/", "form"),
    ("http:/127.0.0.1/", "form"),
    ("http:127.0.0.1", "form"),
    ("http:///127.0.0.1/", "empty"),
    ("//127.0.0.1/", "no scheme"),
    ("http://example.com#@127.0.0.1/\r\nX: y", "control"),
    ("http://exam\tple.com/", "control"),
    (" http://127.0.0.1/", "scheme"),
    ("http://127.0.0.1 /", "not valid"),
    ("http://example.com%00.evil/", "not valid"),
    ("http://example.com%2f@127.0.0.1/", "user name"),
    ("http://%zz/", "not valid"),
    ("http://%ff%fe/", "not valid"),
    ("http://1.2.3.4.5/", "IPv4"),
    ("http://256.1.1.1/", "IPv4"),
    ("http://1.2.3.999/", "IPv4"),
    ("http://4294967296/", "IPv4"),
    ("http://foo.0x7f/", "IPv4"),
    ("http://09.0.0.1/", "IPv4"),
    ("http://[::1/", "not valid"),
    ("http://::1/", "not valid"),
    ("http://[127.0.0.1]/", "IPv6"),
    ("http://a..b/", "not valid"),
    ("http://-a.example/", "not valid"),
    ("http://a.example../", "not valid"),
    ("http://./", "empty"),
    (f"http://{'a' * 64}.example/", "too long"),
    (f"http://{'.'.join(['a' * 60] * 5)}/", "too long"),
    (f"http://{'%61' * 400}/", "too long"),
    (f"http://example.com/{'a' * 9000}", "longer"),
    ("http://example.com/\udc80", "Unicode"),
    # Other schemes and services.
    ("file:///etc/passwd", "file:"),
    ("ftp://example.com/", "ftp:"),
    ("gopher://example.com/_x", "gopher:"),
    ("data:text/html,x", "data:"),
    ("javascript:alert(1)", "javascript:"),
    ("view-source:http://example.com/", "view-source:"),
    ("chrome://settings", "chrome:"),
    ("blob:http://example.com/1", "blob:"),
    ("ws://example.com/", "ws:"),
    ("about:blank", "about:"),
    ("", "no scheme"),
    ("example.com", "no scheme"),
    ("http://example.com:22/", "port 22"),
    ("http://example.com:6667/", "port 6667"),
    ("http://example.com:0/", "port"),
    ("http://example.com:65536/", "port"),
    ("http://example.com:99999999999999999999/", "port"),
    ("http://example.com:8o/", "not valid"),
    ("http://example.com:-1/", "not valid"),
]


@pytest.mark.parametrize(("url", "reason"), HOSTILE, ids=lambda value: repr(value)[:60])
def test_hostile_urls_are_refused(url: str, reason: str) -> None:
    verdict = check_url(url, NOTHING)
    assert isinstance(verdict, Refused)
    assert reason in verdict.reason
    assert not verdict.reason.endswith(".")


@pytest.mark.parametrize(
    ("url", "written", "host", "port"),
    [
        ("http://example.com", "http://example.com/", "example.com", 80),
        ("HTTPS://Example.COM.:443/A?b=C#d", "https://example.com/A?b=C#d", "example.com", 443),
        ("http://example.com:8080/a b", "http://example.com:8080/a%20b", "example.com", 8080),
        ("http://example.com:00080/", "http://example.com/", "example.com", 80),
        ("http://example.com:/", "http://example.com/", "example.com", 80),
        ("https://b\u00fccher.example/\u00fc", "https://xn--bcher-kva.example/%C3%BC",
         "xn--bcher-kva.example", 443),
        ("https://stra\u00dfe.example/", "https://xn--strae-oqa.example/",
         "xn--strae-oqa.example", 443),
        ("http://a_b.example/%41?%42", "http://a_b.example/%41?%42", "a_b.example", 80),
        ("http://0x08080808/", "http://8.8.8.8/", "8.8.8.8", 80),
        ("http://[2606:4700::1111]:81/", "http://[2606:4700::1111]:81/", "2606:4700::1111", 81),
        ("http://example.com?a=\\b", "http://example.com/?a=\\b", "example.com", 80),
        ("http://127.0.0.1.example.com/", "http://127.0.0.1.example.com/",
         "127.0.0.1.example.com", 80),
        ("http://localhost/", "http://localhost/", "localhost", 80),
    ],
)  # fmt: skip
def test_allowed_urls_are_written_anew(url: str, written: str, host: str, port: int) -> None:
    assert check_url(url, NOTHING) == Allowed(written, host, port)
    assert check_url(written, NOTHING) == Allowed(written, host, port)


def test_the_allow_list_holds_for_addresses_in_urls() -> None:
    allow = read_allow_list(["127.0.0.1:8080", "[::1]"])
    for url, allowed in (
        ("http://127.0.0.1:8080/", True),
        ("http://0x7f.1:8080/", True),
        ("http://127.0.0.1/", False),
        ("http://[::1]:9999/", True),
    ):
        assert isinstance(check_url(url, allow), Allowed) is allowed, url


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b", "http://example.com/b"),
        ("b?x", "http://example.com/dir/b?x"),
        ("//other.example/", "http://other.example/"),
        ("https://other.example:444/c", "https://other.example:444/c"),
        ("//127.0.0.1/", None),
        ("http://[::ffff:a9fe:a9fe]/", None),
        ("file:///etc/passwd", None),
        ("http://u:p@example.com/", None),
        ("/\\127.0.0.1/", None),
        ("http://[", None),
    ],
)
def test_redirects_are_judged_from_where_they_start(location: str, leads_to: str | None) -> None:
    verdict = check_redirect("http://example.com/dir/a", location, NOTHING)
    if leads_to is None:
        assert isinstance(verdict, Refused)
    else:
        assert isinstance(verdict, Allowed)
        assert verdict.url == leads_to


@pytest.mark.parametrize("target", ["example.com", "", ":443", "127.0.0.1:443", "a@b.example:443"])
def test_a_tunnel_needs_a_good_host_and_a_port(target: str) -> None:
    assert isinstance(check_authority(target, NOTHING), Refused)
    assert check_authority("example.com:443", NOTHING) == Allowed("", "example.com", 443)


def _forms(address: IPv4Address | IPv6Address) -> st.SearchStrategy[str]:
    """Ways to write an IPv4 address that browsers accept."""
    number = int(address)
    one = st.sampled_from([str, hex, lambda n: f"0{n:o}"])
    parts = [number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255]
    rests = [number, number & 0xFFFFFF, number & 0xFFFF, number & 0xFF]

    def written(count: int) -> st.SearchStrategy[str]:
        numbers = [*parts[:count], rests[count]]
        writers = st.tuples(*[one] * len(numbers))
        return writers.map(
            lambda chosen: ".".join(w(n) for w, n in zip(chosen, numbers, strict=True))
        )

    return st.integers(0, 3).flatmap(written)


@given(st.ip_addresses(v=4).flatmap(lambda a: st.tuples(st.just(a), _forms(a))), st.booleans())
def test_however_an_address_is_written_it_is_judged_as_what_it_is(
    written: tuple[IPv4Address | IPv6Address, str], coded: bool
) -> None:
    address, form = written
    host = "".join(f"%{ord(char):02x}" for char in form) if coded else form
    verdict = check_url(f"http://{host}/", NOTHING)
    if isinstance(verdict, Allowed):
        assert verdict.host == str(address)
        assert address.is_global
    else:
        assert str(address) in verdict.reason


@given(st.ip_addresses(v=6), st.booleans())
def test_the_same_holds_for_ipv6(address: IPv6Address, exploded: bool) -> None:
    host = address.exploded if exploded else str(address)
    verdict = check_url(f"https://[{host}]/", NOTHING)
    assert isinstance(verdict, Refused) or address.is_global


ANYTHING = st.text(st.sampled_from("htps:/@[]%.#?\\0127x1ae\uff10\u3002 \t"), max_size=30)


@given(ANYTHING.map(lambda text: f"http://{text}") | ANYTHING | st.text())
def test_any_text_is_judged_and_what_is_allowed_reads_the_same_to_others(text: str) -> None:
    verdict = check_url(text, NOTHING)
    if isinstance(verdict, Refused):
        return
    parts = urlsplit(verdict.url)
    assert parts.hostname == verdict.host
    assert (parts.port or {"http": 80, "https": 443}[parts.scheme]) == verdict.port
    assert check_url(verdict.url, NOTHING) == verdict
    try:
        address = ip_address(verdict.host)
    except ValueError:
        return
    assert address.is_global
