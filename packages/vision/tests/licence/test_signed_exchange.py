"""The exchange with the licence server, against everything that may answer in its place."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from stranger import NOW, Answer, Heard, Stranger, raw, signed, strangers

from shimmy_sandbox.keygen.signing import Exchange, SigningKey, signature_headers
from shimmy_vision.adapters.licence.keygen_licences import KeygenLicences
from shimmy_vision.adapters.licence.signed_exchange import Reply, SignedExchange
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.errors import LicenceServerError
from shimmy_vision.ports.licence_server import MachineToActivate

KEY = "C1B6DE-39A6E3-DE1529-8559A0-4AF593-V3"
TIMEOUT = 0.4


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with strangers() as opened:
        yield opened


@contextmanager
def exchanges(url: str, *, offline: bool = False, timeout: float = 5) -> Iterator[SignedExchange]:
    exchange = SignedExchange(
        url,
        PINNED.account,
        PINNED.public_key,
        now=lambda: NOW,
        timeout=timeout,
        offline=offline,
    )
    yield exchange
    exchange.close()


def ask(url: str, *, timeout: float = 5, **more: Any) -> Reply:
    with exchanges(url, timeout=timeout, **more) as exchange:
        return exchange.ask("GET", "me", key=KEY)


def failure(url: str, *, timeout: float = 5, **more: Any) -> LicenceServerError:
    with pytest.raises(LicenceServerError) as raised:
        ask(url, timeout=timeout, **more)
    error = raised.value
    said = f"{error} {error.hint} {error!r}"
    for secret in (KEY, "http:", "127.0.0.1", "localhost", PINNED.account, url.rpartition(":")[2]):
        assert secret not in said
    assert error.retryable
    return error


def test_what_the_server_signed_arrives(stranger: Stranger) -> None:
    stranger.answer = signed(404, b'{"errors": [{"code": "NOT_FOUND", "detail": "no"}, 7]}')
    reply = ask(stranger.url)
    assert (reply.status, reply.at) == (404, NOW)
    assert reply.error_codes() == {"NOT_FOUND"}
    assert reply.error_detail() == "no"
    stranger.answer = signed(204, b"")
    assert ask(stranger.url) == Reply(204, {}, NOW)


def test_the_longest_reply_that_is_read_is_a_megabyte(stranger: Stranger) -> None:
    whole = b'{"data": 1' + b" " * 999_989 + b"}"
    stranger.answer = signed(200, whole)
    assert ask(stranger.url).document == {"data": 1}
    stranger.answer = signed(200, whole + b" ")
    assert "too long" in failure(stranger.url).message


NO_ANSWER: Mapping[str, Answer] = {
    "broken off before the first byte": lambda _connection, _heard: None,
    "broken off within the headers": lambda connection, _heard: connection.sendall(b"HTTP/1.1 2"),
    "broken off within the body": raw("HTTP/1.1 200 OK\nContent-Length: 1000", b"{"),
    "broken off within a chunk": raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"ff\r\n{"),
    "not HTTP": lambda connection, _heard: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a header that is none": raw("HTTP/1.1 200 OK\n\x00\x01: \x02"),
    "headers without end": lambda connection, _heard: connection.sendall(b"X: y\r\n" * 30_000),
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_a_broken_connection_says_that_the_request_may_have_arrived(
    stranger: Stranger, name: str
) -> None:
    stranger.answer = NO_ANSWER[name]
    error = failure(stranger.url)
    assert (error.code, error.sent) == ("licence-server-unreachable", True)
    assert "the connection broke" in error.message


SLOW_ANSWERS: Mapping[str, Callable[[Stranger], Answer]] = {
    "silence": lambda stranger: stranger.trickle(b""),
    "a first line that never ends": lambda stranger: stranger.trickle(b"H"),
    "headers that never end": lambda stranger: _after(
        b"HTTP/1.1 200 OK\r\n", stranger.trickle(b"X-Wait: more\r\n")
    ),
    "a body that never ends": lambda stranger: _after(
        b"HTTP/1.1 200 OK\r\n\r\n", stranger.trickle(b" ")
    ),
    "a body of known length that takes for ever": lambda stranger: _after(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", stranger.trickle(b" ")
    ),
}


def _after(first: bytes, then: Answer) -> Answer:
    def answer(connection: socket.socket, heard: Heard) -> None:
        connection.sendall(first)
        then(connection, heard)

    return answer


@pytest.mark.parametrize("name", SLOW_ANSWERS)
def test_no_answer_is_waited_for_longer_than_the_time_allowed(
    stranger: Stranger, name: str
) -> None:
    stranger.answer = SLOW_ANSWERS[name](stranger)
    # Other tests of this process may have left some behind.
    before = set(threading.enumerate())
    began = time.monotonic()
    error = failure(stranger.url, timeout=TIMEOUT)
    # None of these answers ever ends by itself; without a limit it would be waited for for ever.
    assert TIMEOUT * 0.9 < time.monotonic() - began < TIMEOUT + 15
    assert (error.code, error.sent) == ("licence-server-unreachable", True)
    assert "did not answer in time" in error.message
    left = set(threading.enumerate()) - before
    assert not [one for one in left if isinstance(one, threading.Timer)]


def test_an_answer_without_end_is_not_kept_in_memory(stranger: Stranger) -> None:
    def flood(connection: socket.socket, _heard: Heard) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not stranger.stopping.is_set():
            connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    stranger.answer = flood
    error = failure(stranger.url)
    assert (error.code, error.sent) == ("licence-server-unreachable", True)
    assert "too long" in error.message


def test_a_request_that_cannot_go_out_was_certainly_not_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # Nobody listens there, and nobody else gets it.
        error = failure(f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert (error.code, error.sent) == ("licence-server-unreachable", False)


def test_a_server_that_accepts_nobody_was_certainly_not_asked() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        place = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # They fill the queue of a server that never looks into it.
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(place)
        error = failure(f"http://127.0.0.1:{place[1]}", timeout=TIMEOUT)
        for one in waiting:
            one.close()
    assert (error.code, error.sent) == ("licence-server-unreachable", False)


def test_a_server_whose_name_never_resolves_was_certainly_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, look_up = threading.Event(), socket.getaddrinfo

    def never(host: Any, *given: Any, **more: Any) -> Any:
        if host == "licences.test":
            over.wait(60)
        return look_up("127.0.0.1" if host == "licences.test" else host, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", never)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as late:
        late.settimeout(60)
        error = failure(f"http://licences.test:{late.getsockname()[1]}", timeout=TIMEOUT)
        assert (error.code, error.sent) == ("licence-server-unreachable", False)
        assert "did not answer in time" in error.message
        over.set()
        with late.accept()[0] as connection:
            connection.settimeout(60)
            assert connection.recv(1) == b"", "nor once its name is known after all"


def test_offline_nothing_goes_out(stranger: Stranger) -> None:
    error = failure(stranger.url, offline=True)
    assert (error.code, error.sent) == ("licence-server-forbidden", False)
    assert not stranger.heard


LIES: Mapping[str, Answer] = {
    "a sign-in page": raw("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: 6", b"<html>"),
    "a redirect": raw("HTTP/1.1 302 Found\nLocation: http://127.0.0.1:9/\nContent-Length: 0"),
    "a refusal of something else": raw("HTTP/1.1 403 Forbidden\nContent-Length: 2", b"{}"),
    "another body": signed(sent=b'{"data": true}'),
    "no body": signed(sent=b""),
    "another key": signed(key=SigningKey(b"\x07" * 32)),
    "an answer to another path": signed(target="/v1/accounts/x/me"),
    "an answer to another method": signed(method="DELETE"),
    "a signature that is no base64": signed(headers={"Keygen-Signature": 'signature="?"'}),
    "a signature that is not even ASCII": signed(
        headers={
            "Keygen-Signature": 'algorithm="ed25519", signature="é", '
            'headers="(request-target) host date digest"'
        }
    ),
    "a date that is none": signed(headers={"Keygen-Date": "yesterday"}),
    "another date": signed(headers={"Keygen-Date": "Wed, 25 Nov 2026 12:00:01 GMT"}),
    "no date": signed(headers={"Keygen-Date": "", "Date": ""}),
}


@pytest.mark.parametrize("name", LIES)
def test_what_the_server_did_not_sign_is_not_its_word(stranger: Stranger, name: str) -> None:
    stranger.answer = LIES[name]
    error = failure(stranger.url)
    assert (error.code, error.sent) == ("licence-server-not-genuine", True)
    assert "something else answered" in error.message
    assert len(stranger.heard) == 1


NONSENSE = [b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{'data': 1}", b"[" * 100_000]


@pytest.mark.parametrize("body", NONSENSE, ids=range(len(NONSENSE)))
def test_signed_nonsense_is_neither_yes_nor_no(stranger: Stranger, body: bytes) -> None:
    stranger.answer = signed(body=body)
    error = failure(stranger.url)
    assert (error.code, error.sent) == ("licence-server-malformed", True)


@pytest.mark.parametrize(
    ("server_time", "words"),
    [
        (NOW + timedelta(minutes=6), "6 minutes behind"),
        (NOW - timedelta(minutes=90), "90 minutes ahead of"),
        (NOW - timedelta(hours=26), "26 hours ahead of"),
        (NOW + timedelta(days=400), "9600 hours behind"),
    ],
)
def test_a_wrong_clock_is_told_with_how_far_and_which_way(
    stranger: Stranger, server_time: datetime, words: str
) -> None:
    stranger.answer = signed(at=server_time)
    error = failure(stranger.url)
    assert error.code == "clock-wrong"
    assert f"this machine's clock is {words} the licence server's" in error.message


def test_a_clock_that_is_a_little_off_is_none_of_our_business(stranger: Stranger) -> None:
    for skew in (timedelta(minutes=5), -timedelta(minutes=5)):
        stranger.answer = signed(at=NOW + skew)
        assert ask(stranger.url).at == NOW + skew


@pytest.mark.parametrize("status", [500, 502, 503, 504, 521, 599])
@pytest.mark.parametrize("genuine", [False, True])
def test_a_failing_server_says_nothing_about_the_licence(
    stranger: Stranger, status: int, genuine: bool
) -> None:
    body = b'{"errors": [{"code": "LICENSE_SUSPENDED"}]}'
    unsigned = raw(f"HTTP/1.1 {status} Oops\nContent-Length: {len(body)}", body)
    stranger.answer = signed(status, body) if genuine else unsigned
    error = failure(stranger.url)
    assert (error.code, error.sent) == ("licence-server-failing", True)
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("17", 17.0),
        ("0", 0.0),
        ("Wed, 25 Nov 2026 12:00:00 GMT", None),
        ("-1", None),
        ("1e9", None),
        ("²", None),
    ],
)
def test_a_busy_server_names_when_to_come_back(
    stranger: Stranger, wish: str, seconds: float | None
) -> None:
    stranger.answer = raw(f"HTTP/1.1 429 Slow\nRetry-After: {wish}\nContent-Length: 0")
    error = failure(stranger.url)
    assert (error.code, error.retry_after) == ("licence-server-busy", seconds)
    assert error.sent


def test_a_reply_to_an_earlier_question_is_no_answer(stranger: Stranger) -> None:
    """Right key, right path, right body, right now: only the nonce tells."""
    said: list[bytes] = []

    def replay(connection: socket.socket, heard: Heard) -> None:
        nonce = json.loads(heard.body)["meta"]["nonce"]
        body = json.dumps({"data": None, "meta": {"nonce": nonce, "code": "SUSPENDED"}}).encode()
        said.append(body)
        signed(body=said[0])(connection, heard)

    stranger.answer = replay
    with exchanges(stranger.url) as exchange:
        server = KeygenLicences(exchange, PINNED.product)
        assert getattr(server.validate(KEY, "f" * 64), "code", "") == "SUSPENDED"
        with pytest.raises(LicenceServerError) as raised:
            server.validate(KEY, "f" * 64)
    assert raised.value.code == "licence-server-malformed"


def test_the_key_goes_where_it_must_and_nowhere_else(stranger: Stranger) -> None:
    stranger.answer = signed(503)
    machine = MachineToActivate("licence-id", "f" * 64, "name", "platform")
    with exchanges(stranger.url) as exchange:
        server = KeygenLicences(exchange, PINNED.product)
        for call in (
            lambda: server.validate(KEY, "f" * 64),
            lambda: server.activate(KEY, machine),
            lambda: server.machines(KEY),
            lambda: server.deactivate(KEY, "a/b c"),
            lambda: server.check_out(KEY, "f" * 64, timedelta(hours=1)),
            lambda: server.read(KEY),
            lambda: server.increment(KEY, "licence-id", 3),
        ):
            with pytest.raises(LicenceServerError):
                call()
    asked = [one.target.rpartition(PINNED.account)[2] for one in stranger.heard]
    assert asked[0] == "/licenses/actions/validate-key"
    assert asked[3] == "/machines/a%2Fb%20c"
    first, *others = stranger.heard
    assert "authorization" not in first.headers
    assert json.loads(first.body)["meta"]["key"] == KEY
    for one in others:
        assert one.headers["authorization"] == f"License {KEY}"
        assert KEY.encode() not in one.body
    for one in stranger.heard:
        assert KEY not in one.target
        # A packed body would not be the one that was signed.
        assert one.headers["accept-encoding"] == "identity"
        assert one.headers["accept"] == "application/vnd.api+json"


def test_a_key_that_nobody_issued_may_hold_any_character(stranger: Stranger) -> None:
    stranger.answer = signed(401, b'{"errors": [{"code": "LICENSE_INVALID", "detail": "no"}]}')
    with exchanges(stranger.url) as exchange:
        found = KeygenLicences(exchange, PINNED.product).machines("ключ-…")
    assert getattr(found, "code", "") == "NOT_FOUND"
    assert len(stranger.heard) == 1


def test_no_proxy_stands_between_a_machine_and_itself(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger.answer = signed()
    with strangers() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert ask(stranger.url).status == 200
        assert not proxy.heard


def test_a_proxy_that_the_environment_names_is_used_for_the_world(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def relay(connection: socket.socket, heard: Heard) -> None:
        path = heard.target.removeprefix("http://licences.test")
        asked = Exchange(heard.method, path, "licences.test")
        lines = signature_headers(SigningKey(), PINNED.account, asked, b"{}", NOW).items()
        head = "\n".join(f"{name}: {value}" for name, value in lines)
        raw(f"HTTP/1.1 200 OK\n{head}\nContent-Length: 2", b"{}")(connection, heard)

    with strangers() as proxy:
        proxy.answer = relay
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert ask("http://licences.test").status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9"),  # Needs a package that is not installed.
        ("ALL_PROXY", "gopher://127.0.0.1:9"),
        ("ALL_PROXY", "http://[::1"),
        ("SSL_CERT_FILE", "no/such/file.pem"),
    ],
)
def test_an_environment_that_cannot_be_used_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for one in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(one, raising=False)
        monkeypatch.delenv(one.lower(), raising=False)
    monkeypatch.setenv(name, value)
    with exchanges("https://licences.test") as exchange:
        with pytest.raises(LicenceServerError) as raised:
            exchange.ask("GET", "me")
        assert (raised.value.code, raised.value.sent) == ("licence-server-unreachable", False)
        assert "environment" in raised.value.message
