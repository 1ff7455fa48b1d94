"""``shimmy-sandbox mail`` as a process of its own."""

from __future__ import annotations

import json
import re
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage

import pytest

from shimmy_sandbox.cli.main import main

from .conftest import TEXT, letter

PROGRAM = [
    sys.executable,
    "-c",
    "from shimmy_sandbox.cli.main import main; raise SystemExit(main())",
]


@dataclass
class Serving:
    """A mailbox in another process, and commands to it."""

    url: str
    smtp_url: str
    capsys: pytest.CaptureFixture[str] | None = None

    @property
    def smtp_port(self) -> int:
        return int(self.smtp_url.rpartition(":")[2])

    def send(self, text: str = TEXT, **headers: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=20) as client:
            client.send_message(letter(text, **headers))

    def __call__(self, action: str, *args: str) -> tuple[int, str, str]:
        assert self.capsys is not None
        code = main(["mail", action, *args, "--url", self.url])
        said = self.capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture(scope="module")
def process() -> Iterator[Serving]:
    order = ["mail", "serve", "--port", "0", "--smtp-port", "0"]
    with subprocess.Popen(
        [*PROGRAM, *order], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Serving(process.stdout.readline().strip(), process.stdout.readline().strip())
        process.send_signal(signal.SIGTERM)
        rest, said = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    assert "NOT FOR PRODUCTION" in said
    assert len(said.splitlines()) == 5, "a warning, and nothing about what senders did"


@pytest.fixture
def serving(process: Serving, capsys: pytest.CaptureFixture[str]) -> Serving:
    return Serving(process.url, process.smtp_url, capsys)


def test_serve_prints_both_places(serving: Serving) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", serving.url)
    assert re.fullmatch(r"smtp://127\.0\.0\.1:\d+", serving.smtp_url)


def test_what_senders_do_is_not_printed(serving: Serving) -> None:
    with smtplib.SMTP("127.0.0.1", serving.smtp_port, timeout=20) as client:
        assert client.docmd("EXPLODE")[0] == 500
        assert client.login("anybody", "anything")[0] == 235
        client.send_message(letter(To="silent@example.com"))


def test_read_prints_html_where_there_is_no_text(serving: Serving) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"] = "store@shimmy.example", "html@example.com"
    mail.set_content("<p>Key</p>", subtype="html")
    with smtplib.SMTP("127.0.0.1", serving.smtp_port, timeout=20) as client:
        client.send_message(mail)
    assert serving("read", "--to", "html@example.com")[:2] == (0, "<p>Key</p>\n")


def test_list(serving: Serving) -> None:
    serving.send(To="list@example.com", Subject="first")
    serving.send(To="list@example.com, other@example.com", Subject="second")
    code, out, _ = serving("list", "--to", "list@example.com")
    assert code == 0
    first, second = (line.split("\t") for line in out.splitlines())
    assert first[1:] == ["smtp", "list@example.com", "first"]
    assert second[1:] == ["smtp", "list@example.com, other@example.com", "second"]
    code, out, _ = serving("list", "--to", "other@example.com", "--json")
    assert [one["subject"] for one in json.loads(out)] == ["second"]
    assert len(serving("list")[1].splitlines()) >= 2
    assert serving("list", "--to", "nobody@example.com") == (
        0,
        "",
        "shimmy-sandbox: not for production\n",
    )


def test_read_prints_the_newest_that_matches(serving: Serving) -> None:
    for words in ("Sale 1", "Sale 2", "Renewal"):
        serving.send(f"Voilà:\n{words.upper()}\n", To="read@example.com", Subject=words)
    assert serving("read", "--to", "read@example.com")[:2] == (0, "Voilà:\nRENEWAL\n")
    for found in ("Sale", "SALE 2"):
        code, out, _ = serving("read", "--to", "read@example.com", "--match", found)
        assert (code, out) == (0, "Voilà:\nSALE 2\n")
    code, out, err = serving("read", "--to", "read@example.com", "--match", "Refund")
    assert (code, out) == (1, "")
    assert "no mail to read@example.com with 'Refund' in it has come" in err


def test_read_waits_for_the_mail(serving: Serving) -> None:
    sending = threading.Timer(0.3, serving.send, kwargs={"To": "wait@example.com"})
    sending.start()
    code, out, _ = serving("read", "--to", "wait@example.com", "--wait", "20")
    sending.join()
    assert (code, out.startswith("Voilà")) == (0, True)


def test_read_does_not_wait_for_ever(serving: Serving) -> None:
    for seconds in ("0.2", "nan", "-1"):
        code, _, err = serving("read", "--to", "nobody@example.com", f"--wait={seconds}")
        assert code == 1
        assert "no mail to nobody@example.com has come" in err


def test_problems_in_one_line(serving: Serving) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert serving.capsys is not None
        for action in ("list", "read"):
            assert main(["mail", action, "--url", url]) == 1
            assert f"no mailbox answers at {url}: start one" in serving.capsys.readouterr().err
    for taken in (["--smtp-port", str(serving.smtp_port)], ["--port", serving.url[17:]]):
        order = {"--port": "0", "--smtp-port": "0"} | dict([taken])
        done = subprocess.run(
            [*PROGRAM, "mail", "serve", *(word for pair in order.items() for word in pair)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert "is in use: stop what listens there or choose another" in done.stderr
        assert "Traceback" not in done.stderr
