"""Several hosts with ``shimmy serve`` behind a real nginx with the configuration that we ship."""

from __future__ import annotations

import datetime
import getpass
import ipaddress
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from served import Served, serving

SHIPPED = Path(__file__).resolve().parents[4] / "deploy/nginx/shimmy-vision.conf"
_NGINX = """
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/shimmy-vision.conf;
}}
"""


def need_nginx() -> str:
    """Its path; skips the test where there is none, unless the environment requires it."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None and os.environ.get("SHIMMY_TEST_NGINX") == "required":
        pytest.fail("SHIMMY_TEST_NGINX=required, but no nginx is installed")
    if found is None:
        pytest.skip("no nginx; Debian: apt install nginx-light")
    return found


_held: list[socket.socket] = []


def free_port() -> int:
    """One that nobody else is given while this process lives, also while its host is gone.

    It is bound and never listened on: no connection goes out from it, no other search for a free
    one finds it, and a server that names it may bind it all the same.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])


@dataclass
class Host:
    """One machine of the fleet: it may be killed, and comes back as itself."""

    tag: str
    port: int
    home: Path
    variables: Mapping[str, str]
    options: tuple[str, ...] = ()
    served: Served | None = None
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Until it has said its address."""
        self.home.mkdir(exist_ok=True)
        options = ("--port", str(self.port), "--host-tag", self.tag, *self.options)
        self.served = self.running.enter_context(serving(self.variables, self.home, *options))

    def now(self) -> Served:
        assert self.served is not None
        return self.served

    def kill(self) -> None:
        """As a power cut does: everything at once, without a word."""
        root = psutil.Process(self.now().process.pid)
        family = [root, *root.children(recursive=True)]
        for one in family:
            # A trial's process may have ended meanwhile.
            with suppress(psutil.NoSuchProcess):
                one.kill()
        # Whoever inherits them may leave the dead lying for seconds.
        end = time.monotonic() + 20
        while any(map(_lives, family)) and time.monotonic() < end:
            time.sleep(0.01)
        self.running.close()

    def end(self) -> None:
        """Whatever it is doing."""
        if self.served is not None and self.served.process.poll() is None:
            self.kill()

    def stop(self) -> int:
        """As an operator does."""
        code = self.now().stop()
        self.running.close()
        return code

    def done(self) -> float:
        """Analyses that ended here since it started."""
        return self.now().metric("shimmy_jobs_total")

    def report(self) -> None:
        """All pages that wait here go to the licence server."""
        asked = {"refresh": True}
        told = httpx.post(f"{self.url}/api/license/validate", json=asked, timeout=30).json()
        assert told["valid"], told


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


@dataclass
class Nginx:
    """A running one; ``trust`` believes its certificate."""

    port: int
    folder: Path
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust, timeout=60, trust_env=False)


def configure(folder: Path, ports: Mapping[str, int], port: int) -> Path:
    """The shipped configuration with these hosts and places, and what nginx needs around it."""
    text = SHIPPED.read_text(encoding="utf-8")
    for number, found in enumerate(ports.values(), 11):
        text, changed = re.subn(rf"10\.0\.0\.{number}:8750", f"127.0.0.1:{found}", text)
        assert changed == 2, "a host stands in the fleet, and alone"
    certificate, key = certify(folder)
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = text.replace("/etc/ssl/certs/vision.example.com.pem", str(certificate))
    text = text.replace("/etc/ssl/private/vision.example.com.key", str(key))
    (folder / "shimmy-vision.conf").write_text(text, encoding="utf-8")
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    whole = folder / "nginx.conf"
    whole.write_text(_NGINX.format(folder=folder, user=user), encoding="utf-8")
    return whole


def nginx_command(folder: Path, whole: Path) -> list[str]:
    """With nothing of the system's own nginx."""
    return [need_nginx(), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(whole)]


@contextmanager
def proxying(folder: Path, ports: Mapping[str, int]) -> Iterator[Nginx]:
    """nginx before the hosts, until the block ends."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = nginx_command(folder, configure(folder, ports, port))
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _await_port(port, running)
        trust = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        yield Nginx(port, folder, trust)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(20)


def _await_port(port: int, running: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and running.poll() is None:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx does not listen")


def certify(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    secret.chmod(0o600)
    return certificate, secret
