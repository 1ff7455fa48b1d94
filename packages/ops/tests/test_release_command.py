"""``shimmy-ops release`` and ``rollback`` as the operator sees them: words, JSON, codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from shimmy_ops.cli.main import main
from shimmy_ops.domain.profile import parse_profile
from shimmy_ops.errors import ProfileError

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[3]
REAL = {
    "store_url": "https://store.shimmy.example",
    "keygen_account": "shimmy-live",
    "mail_from": "licences@shimmy.example",
}


@dataclass
class Desk:
    """An operator's folder with one profile."""

    folder: Path
    capsys: Capture
    profile: str = "sandbox"

    @property
    def config(self) -> Path:
        return self.folder / "shimmy-ops.toml"

    def run(self, *argv: str) -> tuple[int, str, str]:
        code = main([*argv, "--profile", self.profile, "--config", str(self.config)])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def site(self, words: str) -> str:
        folder = self.folder / words
        folder.mkdir(exist_ok=True)
        (folder / "index.html").write_text(words)
        (folder / "a b.css").write_text("same")
        return str(folder)

    def record(self, version: str, *more: str) -> tuple[int, str, str]:
        site = self.site(f"site {version}")
        return self.run("release", "record", "--version", version, "--site", site, *more)


@pytest.fixture
def desk(tmp_path: Path, capsys: Capture) -> Desk:
    made = Desk(tmp_path, capsys)
    made.config.write_text(
        "[sandbox]\n"
        'store_url = "http://127.0.0.1:9"\n'
        'stripe_url = "http://127.0.0.1:9"\n'
        'keygen_url = "http://127.0.0.1:9"\n'
        'keygen_account = "shimmy-sandbox"\n'
        'mail_from = "Shimmy <licences@shimmy.example>"\n'
        'site_current = "current"\n'
        "smoke_paths = []\n"
        f"worker_deploy = [{json.dumps(sys.executable)}, 'deploy.py', '{{folder}}', '--env', 'x']\n"
    )
    (tmp_path / "deploy.py").write_text(
        "import os, sys\nopen('deploys', 'a').write(' '.join(sys.argv[1:]) + chr(10))\n"
        "sys.exit(os.path.exists('refuse'))\n"
    )
    return made


def test_releases_are_listed_shown_and_verified(desk: Desk) -> None:
    assert desk.run("release", "list")[:2] == (0, "no release was recorded yet\n")
    assert desk.run("release", "show")[0] == 1
    assert desk.record("1.0", "--activate", "--revision", "abc")[0] == 0
    assert desk.record("1.1", "--activate")[0] == 0
    shown = json.loads(desk.run("release", "show", "1.0", "--json")[1])
    assert shown["revision"] == "abc" and shown["good since"] and not shown["in place"]
    listed = json.loads(desk.run("release", "list", "--json")[1])
    assert [one["version"] for one in listed["releases"]] == ["1.0", "1.1"]
    assert desk.run("rollback")[0] == 0
    assert (desk.folder / "current" / "index.html").read_text() == "site 1.0"
    code, out, _ = desk.run("release", "status")
    assert code == 0 and "in place       3 (1.0)" in out
    assert desk.run("release", "verify")[1] == "3 records and 2 objects are as they were\n"
    record = next((desk.folder / "shimmy-releases/sandbox/records").glob("0001-*"))
    record.write_text(record.read_text().replace("abc", "abd"))
    code, out, _ = desk.run("release", "verify")
    assert code == 1 and "record 0001-1.0.json is damaged" in out
    assert desk.record("1.2")[0] == 1


def test_a_rehearsal_looks_at_every_file_and_touches_nothing(desk: Desk) -> None:
    assert desk.run("rollback", "--rehearse")[0] == 1
    desk.record("1.0", "--activate")
    desk.record("1.1")
    before = desk.run("release", "list")[1]
    code, out, _ = desk.run("rollback", "--rehearse")
    assert code == 0
    steps = [line.partition("ms")[2].strip() for line in out.splitlines()[:4]]
    assert steps == [
        "put in place 1.0", "put in place 1.1", "rolled back to 1.0", "rolled forward to 1.1"
    ]  # fmt: skip
    assert desk.run("release", "list")[1] == before
    assert (desk.folder / "current" / "index.html").read_text() == "site 1.0"
    for index in (desk.folder / "shimmy-releases/sandbox/objects").glob("*/files/index.html"):
        index.write_text("spoiled")
    code, _, err = desk.run("rollback", "--rehearse")
    assert code == 1 and "[rehearsal-copy-damaged]" in err


def test_the_worker_is_deployed_by_the_command_and_taken_back_when_it_refuses(desk: Desk) -> None:
    bundle = desk.folder / "bundle"
    bundle.mkdir()
    for version in ("1.0", "1.1"):
        (bundle / "entry.py").write_text(version)
        code, _, err = desk.record(version, "--activate", "--worker", str(bundle))
        assert code == 0, err
    deploys = (desk.folder / "deploys").read_text().splitlines()
    assert [Path(line.split()[0], "entry.py").read_text() for line in deploys] == ["1.0", "1.1"]
    assert all(line.endswith(" --env x") for line in deploys)
    (bundle / "entry.py").write_text("1.2")
    (desk.folder / "refuse").touch()
    code, _, err = desk.record("1.2", "--activate", "--worker", str(bundle))
    assert code == 1 and "worker_deploy ended with 1" in err and "release-not-returned" in err
    assert desk.run("release", "status")[0] == 3
    (desk.folder / "refuse").unlink()
    code, _, err = desk.run("release", "resume")
    assert code == 1 and "[release-returned]" in err
    last = (desk.folder / "deploys").read_text().splitlines()[-1].split()[0]
    assert Path(last, "entry.py").read_text() == "1.1"
    assert desk.run("release", "resume")[0] == 0
    assert desk.run("release", "status")[0] == 0


def test_a_release_of_live_is_agreed_to_by_word(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**REAL, "site_current": "current"}
    lines = ["[live]", *(f'{name} = "{value}"' for name, value in settings.items())]
    desk.config.write_text("\n".join([*lines, "smoke_paths = []"]))
    desk.profile = "live"
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    code, _, err = desk.record("1.0", "--activate")
    assert code == 1 and "Type live" in err and not (desk.folder / "current").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO("live\n"))
    assert desk.record("1.0", "--activate")[0] == 0
    assert desk.record("1.1", "--activate", "--yes")[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert desk.run("rollback")[0] == 1
    assert (desk.folder / "current" / "index.html").read_text() == "site 1.1"
    assert desk.run("rollback", "--yes")[0] == 0
    assert (desk.folder / "current" / "index.html").read_text() == "site 1.0"


def test_two_commands_at_once_one_waits_for_another_day(desk: Desk) -> None:
    (desk.folder / "deploy.py").write_text(
        "import time\nopen('begun', 'w').close()\ntime.sleep(30)\n"
    )
    bundle = desk.folder / "bundle"
    bundle.mkdir()
    (bundle / "entry.py").touch()
    given = ("--profile", "sandbox", "--config", str(desk.config), "--worker", str(bundle))
    command = ("release", "record", "--version", "1.0", "--activate", *given)
    said = "from shimmy_ops.cli.main import main; raise SystemExit(main())"
    with subprocess.Popen([sys.executable, "-c", said, *command]) as running:
        while not (desk.folder / "begun").exists():
            assert running.poll() is None
            time.sleep(0.02)
        code, _, err = desk.record("2.0")
        assert code == 75 and "[release-running]" in err
        # Ended in the middle: the same command goes on.
        running.kill()
    assert desk.run("release", "status")[0] == 3
    (desk.folder / "deploy.py").write_text("")
    assert desk.run(*command[:5], "--worker", str(bundle))[0] == 0
    assert desk.run("release", "status")[0] == 0


@pytest.mark.parametrize("version", ["7", "", "../x", "a b"])
def test_a_version_is_a_word_and_no_number(desk: Desk, version: str) -> None:
    code, _, err = desk.run("release", "record", "--version", version, "--site", desk.site("x"))
    assert code == 1 and "[release-version-malformed]" in err


def test_lists_in_a_profile_are_lists_of_words() -> None:
    table = {**REAL, "restart_command": ["systemctl", "restart"], "smoke_paths": ["/health"]}
    profile = parse_profile({"live": table}, "live")
    assert profile.restart_command == ("systemctl", "restart")
    assert parse_profile({"live": REAL}, "live").smoke_paths == ("/health", "/pricing")
    for name, wrong in (
        ("restart_command", "systemctl restart"),
        ("worker_deploy", [1]),
        ("smoke_paths", ["health"]),
        ("restart_command", [""]),
    ):
        with pytest.raises(ProfileError, match=f"{name} must be a list"):
            parse_profile({"live": {**REAL, name: wrong}}, "live")


def test_the_rehearsal_that_the_gate_runs_passes() -> None:
    script = ROOT / "scripts" / "rollback_rehearsal.sh"
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "rollback rehearsed" in done.stdout


def test_names_and_numbers_that_nobody_can_write_are_refused(desk: Desk) -> None:
    site = Path(desk.site("odd"))
    os.close(os.open(os.fsencode(site) + b"/caf\xe9.html", os.O_CREAT | os.O_WRONLY))
    code, _, err = desk.run("release", "record", "--version", "odd", "--site", str(site))
    assert (code, "[part-unusable]" in err, "no text (UTF-8)" in err) == (1, True, True)
    code, _, err = desk.run("release", "show", "²")
    assert (code, "[release-unknown]" in err) == (1, True)
