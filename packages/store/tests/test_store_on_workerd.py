"""The deployed bundle under ``wrangler dev``, where Cloudflare's own Pyodide is supplied."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from pyodide_host import prepare_pyodide
from store_server import eventually
from town import NO_TLS

# A folder as workerd's --pyodide-bundle-disk-cache-dir takes it.
BUNDLE = "SHIMMY_TEST_WORKERD_BUNDLE"


def _wrapper(folder: Path, npm: Path) -> Path:
    """workerd, told where the bundle lies: wrangler has no word for it."""
    found = next(npm.glob("node_modules/@cloudflare/workerd-*/bin/workerd"))
    wrapper = folder / "workerd"
    told = f"--pyodide-bundle-disk-cache-dir='{os.environ[BUNDLE]}'"
    wrapper.write_text(f'#!/bin/sh\nexec "{found}" "$@" {told}\n')
    wrapper.chmod(0o755)
    return wrapper


def test_it_starts_and_says_what_is_missing(tmp_path: Path) -> None:
    if not os.environ.get(BUNDLE):
        pytest.skip(
            f"{BUNDLE} is not set: workerd fetches Cloudflare's Pyodide from the internet, which"
            " tests do not reach"
        )
    pyodide = prepare_pyodide(tmp_path / "bundle")
    npm = pyodide.home.parents[1]
    environment = {
        **os.environ,
        "MINIFLARE_WORKERD_PATH": str(_wrapper(tmp_path, npm)),
        "WRANGLER_SEND_METRICS": "false",
        "CI": "1",
    }
    port = 8787
    command = [str(npm / "node_modules/.bin/wrangler"), "dev", "--env=test", f"--port={port}"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=pyodide.bundle,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.PIPE,
            start_new_session=True,
        ) as process,
    ):
        try:

            def answer() -> httpx.Response | None:
                try:
                    return httpx.get(
                        f"http://127.0.0.1:{port}/pricing",
                        trust_env=False,
                        verify=NO_TLS,
                        timeout=60,
                    )
                except httpx.HTTPError:
                    return None

            told = eventually(answer, 120)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
    # Imported, opened, and nothing filled in: all of the way but the shop.
    assert told.status_code == 503, (tmp_path / "log").read_text()
    assert told.json()["code"] == "settings-incomplete"
