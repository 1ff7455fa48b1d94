"""Debian's nginx with the configuration that Compose mounts, before stores that come and go."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from kept_ports import free_port
from store_server import eventually

CONFIGURATION = Path(__file__).resolve().parents[3] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
OPENSSL = shutil.which("openssl")


class Host(http.server.BaseHTTPRequestHandler):
    """Says at which address it was asked, and for what."""

    def do_GET(self) -> None:
        told = (self.connection.getsockname()[0], self.path, self.headers["X-Forwarded-For"])
        body = " ".join(map(str, told)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def _names(addresses: list[str], told: list[int]) -> Iterator[int]:
    """A resolver to which every name has these addresses, for a second; ``told``: how many."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                asked, who = resolver.recvfrom(512)
                if not asked:
                    return
                question = asked[12 : asked.index(b"\0", 12) + 5]
                each = [
                    b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(one) for one in addresses
                ]
                head = asked[:2] + b"\x81\x80\0\1" + len(each).to_bytes(2, "big") + bytes(4)
                resolver.sendto(head + question + b"".join(each), who)
                told.append(len(each))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield resolver.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", resolver.getsockname())
        thread.join()


@contextmanager
def _store(address: str, port: int) -> Iterator[None]:
    server = http.server.ThreadingHTTPServer((address, port), Host)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _proxy(folder: Path, names: int, store: int) -> Iterator[str]:
    plain, secure = free_port(), free_port()
    text = CONFIGURATION.read_text()
    for before, after in (
        ("/etc/nginx/tls", str(folder)),
        ("/run/nginx.pid", f"{folder}/pid"),
        ("resolver 127.0.0.11 valid=5s", f"resolver 127.0.0.1:{names} valid=1s"),
        ("set $store store:8400", f"set $store store:{store}"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{secure} ssl"),
        ("worker_processes auto", "worker_processes 1"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    (folder / "nginx.conf").write_text(text)
    made = f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=store".split()
    keys = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run([*made, *keys], check=True, capture_output=True)
    words = [str(NGINX), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"https://127.0.0.1:{secure}"
        finally:
            process.terminate()


@pytest.mark.skipif(not (NGINX and OPENSSL), reason="nginx is not installed: apt-get install nginx")
def test_a_store_that_was_replaced_is_found_without_telling_the_proxy(tmp_path: Path) -> None:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    addresses, told, port = ["127.0.0.1"], list[int](), free_port()
    with (
        _names(addresses, told) as names,
        _proxy(tmp_path, names, port) as url,
        httpx.Client(base_url=url, verify=trust, trust_env=False) as client,
    ):

        def ask(path: str, **more: Any) -> httpx.Response | None:
            try:
                return client.get(path, **more)
            except httpx.TransportError:
                return None

        with _store("127.0.0.1", port):
            path = "/buy?plan=a%2Fb"
            answer = eventually(lambda: ask(path, headers={"X-Forwarded-For": "203.0.113.1"}))
            assert answer.text == f"127.0.0.1 {path} 127.0.0.1", "nor is a visitor believed"
            assert [client.get(one).status_code for one in ("/alive", "/ready", "/metrics")] == [
                404,
                404,
                404,
            ]
        # The next one, as `docker compose up` makes it.
        addresses[:] = ["127.0.0.2"]
        with _store("127.0.0.2", port):
            moved = eventually(lambda: client.get("/").text.startswith("127.0.0.2"), 60)
            assert moved
            # Of two, one that is just gone is passed by.
            addresses[:] = ["127.0.0.2", "127.0.0.3"]
            seen = set[int]()

            def asked_anew() -> bool:
                seen.add(client.get("/").status_code)
                return told[-1] == 2

            eventually(asked_anew)
            seen |= {client.get("/").status_code for _ in range(6)}
            assert seen == {200}
