"""With every way out closed but the licence server's all is analysed, and nothing of it goes.

An audit hook in each Python process of the command, the engine's among them, refuses and notes each
connection; a relay before the licence server keeps what it is sent. What Chromium connects to is
``test_hostile_pages.py``'s.
"""

from __future__ import annotations

import base64
import os
import random
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pdf_writer import text_page, write_pdf
from PIL import Image
from web_places import Site, need_chromium, serve_site

from shimmy_sandbox.synthetic_model import SyntheticPair

QUICK = ("--viewport", "400x300", "--mode", "layout", "--max-tokens", "3")
SHIMMY = str(Path(sys.executable).with_name("shimmy"))
HOOK = """
import os, resource, sys

def note(*words):
    line = " ".join(map(str, (os.getpid(), *words))) + "\\n"
    with open(os.environ["TEST_NOTES"], "a") as notes:
        notes.write(line)

def look(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = given[1]
        if not isinstance(address, tuple):
            return
        if str(address[1]) not in os.environ["TEST_PORTS"].split():
            note("refused", *address[:2])
            raise PermissionError("this test lets nobody out")
        note("allowed", *address[:2])
    elif event == "socket.getaddrinfo" and given[0] not in ("127.0.0.1", None):
        note("looked-up", given[0])
        raise PermissionError("this test lets nobody look up names")

sys.addaudithook(look)
note("hooked", *sys.orig_argv[1:])
note("core", resource.getrlimit(resource.RLIMIT_CORE)[0])
"""


@dataclass
class Relay:
    """A port before another one; ``sent`` is all that clients have sent to it."""

    port: int
    sent: bytearray = field(default_factory=bytearray)


@contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as lines:
        relay = Relay(listener.getsockname()[1])

        def pass_on(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    if kept is not None:
                        kept += data
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def begin(work: Callable[..., None], *given: Any) -> None:
            threads.append(threading.Thread(target=work, args=given))
            threads[-1].start()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client = lines.enter_context(listener.accept()[0])
                    server = socket.create_connection(("127.0.0.1", port))
                    lines.enter_context(server)
                    begin(pass_on, client, server, relay.sent)
                    begin(pass_on, server, client, None)

        begin(accept)
        yield relay
        # Clients are gone by now; what accepts is woken by its end.
        listener.shutdown(socket.SHUT_RDWR)
        for one in threads:
            one.join(20)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve_site({"/": "<title>Heron</title><h1>Project Heron</h1>"}) as served:
        yield served


def _let_dumps_be_written() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def test_an_image_a_document_and_a_page_are_analysed_and_nothing_of_them_leaves(
    synthetic_46: SyntheticPair, licence_variables: dict[str, str], site: Site, tmp_path: Path
) -> None:
    noise = Image.frombytes("RGB", (160, 120), random.Random(1).randbytes(160 * 120 * 3))
    noise.save(tmp_path / "heron.png")
    (tmp_path / "heron.pdf").write_bytes(write_pdf(text_page("Project Heron")))
    hooks, notes = tmp_path / "hooks", tmp_path / "notes"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    before = urlsplit(licence_variables["SHIMMY_LICENSE_URL"])
    with relay_to(before.port or 0) as relay:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
        done = subprocess.run(
            [SHIMMY, "vision", "heron.png", "heron.pdf", "--url", site.url, *QUICK],
            preexec_fn=_let_dumps_be_written,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            check=False,
            env={
                **kept,
                **licence_variables,
                "SHIMMY_LICENSE_URL": f"http://127.0.0.1:{relay.port}",
                "SHIMMY_ALLOW_SYNTHETIC": "1",
                "SHIMMY_ALLOW_URLS": site.place,
                "SHIMMY_BROWSER": need_chromium(),
                "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
                "SHIMMY_STATE_DIR": str(tmp_path / "home"),
                "PYTHONPATH": str(hooks),
                "TEST_NOTES": str(notes),
                "TEST_PORTS": f"{relay.port} {urlsplit(site.url).port}",
            },
        )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    lines = [one.split(" ", 2) for one in notes.read_text().splitlines()]
    hooked = {pid for pid, word, _ in lines if word == "hooked"}
    assert len(hooked) >= 2, "the engine's process is watched, too"
    cores = [rest for _, word, rest in lines if word == "core"]
    assert set(cores[1:]) == {"0"}, "no dump of a crash holds the image or the key"
    assert [one for one in lines if one[1] in ("refused", "looked-up")] == []
    assert {rest for _, word, rest in lines if word == "allowed"} == {
        f"127.0.0.1 {relay.port}",
        f"127.0.0.1 {urlsplit(site.url).port}",
    }
    sent, image = bytes(relay.sent), (tmp_path / "heron.png").read_bytes()
    assert b"validate-key" in sent, "the witness: the relay hears what is sent"
    # Noise cannot be packed: what is shorter than a part of it does not hold it.
    assert len(sent) < len(image) / 4
    for secret in (b"Heron", b"heron", site.place.encode(), b"layout"):
        assert secret not in sent
    assert base64.b64encode(image[300:330])[:-4] not in sent


def test_the_hook_refuses_what_it_is_meant_to(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    script = (
        "import socket\n"
        "for act in (lambda: socket.create_connection(('127.0.0.1', 9)),\n"
        "            lambda: socket.getaddrinfo('example.com', 80),\n"
        "            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
        ".sendto(b'x', ('127.0.0.1', 9))):\n"
        "    try:\n        act()\n    except PermissionError:\n        print('refused')\n"
    )
    notes = tmp_path / "notes"
    variables = {"TEST_NOTES": str(notes), "TEST_PORTS": "1", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["refused"] * 3
    assert notes.read_text().count(" refused ") == 2
