"""Built sites for tests, and a server that treats them as GitHub Pages does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from shimmy_store.cli.main import main

# Nobody is asked for it: it only has to look like a name of the public web.
STORE = "https://buy.shimmy-vision.app"
HOME = "https://shimmy-vision.app/"
OPERATOR = """
name = "Harbour Software Ltd"
address = "1 Quay Street, Galway, Ireland"
email = "help@shimmy-vision.app"
registration = "CRO 123456"
law = "the law of Ireland"
courts = "Galway"
tax = "Taxes are shown before you pay."
refund_days = 14
effective = "1 December 2026"
source = "https://github.com/harbour/shimmy-vision"
reviewed = true
"""
_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css", ".svg": "image/svg+xml",
    ".webp": "image/webp", ".png": "image/png", ".txt": "text/plain", ".xml": "text/xml",
}  # fmt: skip


def write_operator(folder: Path, text: str = OPERATOR) -> Path:
    """An operator's file."""
    path = folder / "operator.toml"
    path.write_text(text, encoding="utf-8")
    return path


def build(mode: str, out: Path, *more: str, store: str = STORE) -> int:
    """The command's exit code; live builds have an operator and a home of their own."""
    words = ["site", "build", "--mode", mode, "--store-url", store, "--out", str(out), *more]
    if mode == "live" and "--operator" not in more:
        words += ["--operator", str(write_operator(out.parent))]
    if mode == "live" and "--site-url" not in more:
        words += ["--site-url", HOME]
    return main(words)


@contextmanager
def served(folder: Path, base: str) -> Iterator[str]:
    """The folder under ``base``; what is not there gets 404.html, whatever its depth."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = path.removeprefix(base) or "index.html"
            inside = path.startswith(base) and (folder / name).is_file()
            file = folder / (name if inside else "404.html")
            body = file.read_bytes()
            self.send_response(200 if inside else 404)
            self.send_header("Content-Type", _TYPES.get(file.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{base}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
