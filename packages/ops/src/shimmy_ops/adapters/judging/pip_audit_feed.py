"""The ``HoleFeed`` port: pip-audit as a process of its own."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import PurePath

from shimmy_ops.domain.judging.holes import Audited, parse_audit
from shimmy_ops.errors import ReleaseError

_REQUEST_SECONDS, _LOCK_SECONDS = 15, 900
# How pip-audit ends where its service cannot be asked: with the library's own exception.
_UNREACHED = re.compile(
    r"(?:ConnectionError|ConnectTimeout|ReadTimeout|Timeout|ProxyError|SSLError|HTTPError"
    r"|ServiceError|JSONDecodeError|Could not connect)"
)


class PipAuditFeed:
    """``osv_url``: an OSV service to ask, empty for PyPI's own."""

    def __init__(self, osv_url: str = "") -> None:
        self._service = ("--vulnerability-service", "osv", "--osv-url", osv_url) if osv_url else ()

    def audit(self, lock: PurePath) -> Audited:
        if importlib.util.find_spec("pip_audit") is None:
            raise ReleaseError(
                "audit-tool-missing",
                "pip-audit is not installed.",
                hint="pip install pip-audit; make test installs it.",
            )
        with tempfile.TemporaryDirectory() as cache:
            # Nothing is installed or resolved: the lock names every version.
            words = (
                sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes",
                "--requirement", str(lock), "--format", "json", "--progress-spinner", "off",
                "--desc", "off", "--aliases", "on", "--timeout", str(_REQUEST_SECONDS),
                "--cache-dir", cache, *self._service,
            )  # fmt: skip
            try:
                done = subprocess.run(
                    words, capture_output=True, text=True, check=False, timeout=_LOCK_SECONDS,
                    stdin=subprocess.DEVNULL,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return Audited(lock.name, reached=False, why="it took too long")
        if done.stdout.strip():
            return parse_audit(done.stdout, lock.name)
        return _without_answer(done.stderr, lock)


def _without_answer(said: str, lock: PurePath) -> Audited:
    lines = said.strip().splitlines() or [""]
    found = _UNREACHED.search(lines[-1])
    if found:
        return Audited(lock.name, reached=False, why=found[0])
    raise ReleaseError(
        "audit-failed",
        f"pip-audit could not read {lock.name}.",
        hint="Each line must be pinned with == and have its hash: shimmy-ops locks looks at that.",
    )
