"""``shimmy-ops audit``: pip-audit itself before a service on loopback, and its answers read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_ops.cli.main import main
from shimmy_ops.domain.judging.allow_lists import HoleAllowance, parse_hole_allowances
from shimmy_ops.domain.judging.holes import Audited, Hole, judge_holes, parse_audit
from shimmy_ops.errors import ReleaseError

Capture = pytest.CaptureFixture[str]
TODAY = date(2026, 11, 26)
REASON = "it needs a debugger that we do not ship"
HOLES = {
    "idna": {
        "vulns": [
            {
                "id": "PYSEC-2099-1",
                "aliases": ["CVE-2099-1"],
                "published": "2099-01-01T00:00:00Z",
                "affected": [
                    {
                        "package": {"name": "idna", "ecosystem": "PyPI"},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "99.1"}]}],
                    }
                ],
            }
        ]
    }
}


class _Osv(BaseHTTPRequestHandler):
    """Answers as an OSV service does: an empty object for what has no hole."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(HOLES.get(asked["package"]["name"], {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def osv_service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Osv)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def lock(folder: Path, *names: str) -> str:
    path = folder / f"{'-'.join(names)}.lock"
    path.write_text("".join(f"{n}==1.0 \\\n    --hash=sha256:{'0' * 64}\n" for n in names))
    return str(path)


def test_holes_are_told_allowed_and_told_again_when_that_is_over(
    folder: Path, capsys: Capture
) -> None:
    given = lock(folder, "idna", "click")
    with osv_service() as url:
        assert main(["audit", given, "--osv-url", url]) == 1
        said = capsys.readouterr().out
        assert "idna 1.0: PYSEC-2099-1 (CVE-2099-1): fixed in 99.1" in said
        assert said.endswith("1 known holes in 2 packages, 0 allowed\n")
        entry = f'[[allow]]\nid = "CVE-2099-1"\nreason = "{REASON}"\nexpires = '
        (folder / "audit-allow.toml").write_text(f"{entry}2999-01-01\n")
        assert main(["audit", given, "--osv-url", url, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["reached"] is True and told["holes"][0]["allowed"] is True
        (folder / "audit-allow.toml").write_text(f"{entry}2026-01-01\n")
        assert main(["audit", given, "--osv-url", url]) == 1
        assert "CVE-2099-1 was allowed until 2026-01-01" in capsys.readouterr().out


def test_a_service_that_is_not_reached_is_never_called_clean(folder: Path, capsys: Capture) -> None:
    given = [lock(folder, "idna"), "--osv-url", "http://127.0.0.1:9/v1/query"]
    assert main(["audit", *given]) == 75
    assert "unreachable: whether there are known holes is not known" in capsys.readouterr().out
    assert main(["audit", *given, "--allow-unreachable", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reached"] is False


def test_what_is_no_lock_file_is_refused(folder: Path, capsys: Capture) -> None:
    (folder / "loose.lock").write_text("idna\n")
    assert main(["audit", "loose.lock", "--osv-url", "http://127.0.0.1:9/", "--allow-unreachable"])
    assert "[audit-failed]" in capsys.readouterr().err
    assert main(["audit"]) == 2
    assert main(["audit", "loose.lock", "--allow-list", "nowhere.toml"]) == 1


def answer(**packages: list[dict[str, Any]] | None) -> str:
    told = [
        {"name": name, "skip_reason": "x"}
        if vulns is None
        else {"name": name, "version": "1", "vulns": vulns}
        for name, vulns in packages.items()
    ]
    return json.dumps({"dependencies": told, "fixes": []})


def test_a_service_that_knows_no_package_is_no_service() -> None:
    assert parse_audit(answer(a=None, b=None), "x.lock").reached is False
    some = parse_audit(answer(a=None, b=[]), "x.lock")
    assert (some.reached, some.unknown, some.asked) == (True, ("a",), 2)
    assert parse_audit(answer(), "x.lock") == Audited("x.lock", reached=True)
    for text in ("", "[]", '{"dependencies": [1]}', '{"dependencies": [{"name": "a"}]}'):
        with pytest.raises(ReleaseError):
            parse_audit(text, "x.lock")


IDS, NAMES = st.sampled_from(["P-1", "C-1", "C-2"]), st.sampled_from(["a", "b"])
FOUND = st.builds(
    Hole, st.just("x.lock"), NAMES, st.just("1"), IDS, st.lists(IDS).map(tuple), st.just(())
)
ALLOWED = st.builds(
    HoleAllowance, IDS, st.sampled_from(["", "a", "b"]), st.just(REASON),
    st.sampled_from([date(2026, 11, 25), TODAY]),
)  # fmt: skip


@given(st.lists(FOUND), st.lists(ALLOWED))
def test_no_hole_is_lost_and_none_is_allowed_without_an_entry(
    holes: list[Hole], allowances: list[HoleAllowance]
) -> None:
    judged = judge_holes([Audited("x.lock", True, tuple(holes))], allowances, TODAY)
    assert sorted(map(str, [*judged.holes, *judged.allowed])) == sorted(map(str, holes))
    valid = [one for one in allowances if one.expires >= TODAY]
    for hole in judged.allowed:
        assert any(a.id in (hole.id, *hole.aliases) and a.package in ("", hole.package)
                   for a in valid)  # fmt: skip
    if not valid:
        assert not judged.allowed
    for hole in judged.holes:
        assert not any(a.id == hole.id and a.package in ("", hole.package) for a in valid)


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "A", "reason": REASON},
        {"id": "A", "reason": "short", "expires": TODAY},
        {"id": "", "reason": REASON, "expires": TODAY},
        {"id": "A", "reason": REASON, "expires": "2026-11-26"},
        {"id": "A", "reason": REASON, "expires": TODAY, "more": 1},
        {"id": 1, "reason": REASON, "expires": TODAY},
    ],
)
def test_an_entry_says_what_why_and_until_when(entry: dict[str, object]) -> None:
    with pytest.raises(ReleaseError) as refused:
        parse_hole_allowances({"allow": [entry]})
    assert refused.value.code == "allowances-wrong"
    with pytest.raises(ReleaseError):
        parse_hole_allowances({"other": []})
