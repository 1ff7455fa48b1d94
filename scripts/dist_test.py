"""Runs the single file on a clean Debian, and installs the wheel; ``dist_test.sh`` calls it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from bootstrap import ROOT, cache_folder, python_of, say, stop

DIST = ROOT / "build/dist"
SANDBOX = Path(sys.executable).with_name("shimmy-sandbox")
USER = 10001
# Whoever finds one of these in the clean root has found nothing out.
UNWANTED = ("python", "gcc", "g++", "cc", "clang", "pip", "libllama", "libggml", "libgomp")
START_SECONDS, HELP_SECONDS = 1.5, 0.4
ENTER = """
mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"
mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
root=$0; exec /usr/sbin/chroot --userspec=10001:10001 "$root" "$@"
"""


def main() -> int:
    """Everything; each result is kept as soon as it is known."""
    target = DIST / "shimmy"
    if not target.is_file():
        stop("There is no build/dist/shimmy.", "Run: make dist")
    results: dict[str, Any] = {"bytes": target.stat().st_size}
    with tempfile.TemporaryDirectory(prefix="shimmy-dist-") as folder:
        clean = Clean(make_root(Path(folder, "root"), results))
        shutil.copy(target, clean.root / "usr/local/bin/shimmy")
        try_single_file(clean, Path(folder), results)
        try_wheel(Path(folder), results)
    results["ok"] = True
    _keep(results)
    print(json.dumps(results, indent=2))
    return 0


def _keep(results: dict[str, Any]) -> None:
    (DIST / "dist-test.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


class Clean:
    """A file system with nothing of ours but the executable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/srv/someone"}

    def run(self, *words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        """``shimmy WORDS`` as a user without rights."""
        enter = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec", ENTER)
        done = subprocess.run(
            [*enter, str(self.root), "/usr/local/bin/shimmy", *words],
            env={**self.environment, **more}, timeout=300,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != code:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            stop(f"shimmy {words[0]} ended with {done.returncode}.", "Its own words stand above.")
        return done

    def seconds(self, *words: str, tries: int = 5) -> float:
        """The quickest of them, entering the namespace included."""
        times = []
        for _ in range(tries):
            started = time.monotonic()
            self.run(*words)
            times.append(time.monotonic() - started)
        return round(min(times), 3)


def make_root(root: Path, results: dict[str, Any]) -> Path:
    """Debian's smallest by debootstrap, kept as an archive; without it the C library alone."""
    archive = cache_folder() / "clean-debian.tar"
    if not archive.is_file() and shutil.which("debootstrap"):
        say("making a Debian (debootstrap), a minute or two, once on this machine")
        _debootstrap(archive)
    root.mkdir()
    if archive.is_file():
        _run(("tar", "-xf", str(archive), "-C", str(root)))
        results["system"] = f"Debian {(root / 'etc/debian_version').read_text().strip()}, minbase"
    else:
        _copy_c_library(root)
        results["system"] = "this machine's C library and nothing else (no debootstrap here)"
    for name in ("proc", "dev", "tmp", "usr/local/bin", "srv/someone", "etc"):
        (root / name).mkdir(parents=True, exist_ok=True)
    # The archive's own root was a private folder.
    root.chmod(0o755)
    os.chown(root / "srv/someone", USER, USER)
    (root / "etc/machine-id").write_text("0" * 31 + "1\n")
    found = sorted({path.name for path in root.rglob("*") if _is_unwanted(path)})
    if found:
        stop(f"The clean system is not clean: {', '.join(found[:9])}", "See UNWANTED.")
    results["unwanted_found"] = found
    return root


def _is_unwanted(path: Path) -> bool:
    """Programs and libraries; Debian keeps folders for Python packages even without one."""
    if path.is_symlink() or not path.is_file() or "share" in path.parts:
        return False
    names = "|".join(map(re.escape, UNWANTED))
    return re.match(rf"({names})[\d.-]*(\.so.*)?$", path.name) is not None


def _debootstrap(archive: Path) -> None:
    said = subprocess.run(
        ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"),
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    suite = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    if not said or suite is None:
        return
    with tempfile.TemporaryDirectory(prefix="shimmy-debian-") as folder:
        command = ("debootstrap", "--variant=minbase", suite[1], folder, said[0])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            say(f"debootstrap failed: {done.stdout.splitlines()[-1:]}")
            return
        beside = archive.with_suffix(".new")
        _run(("tar", "-cf", str(beside), "-C", folder, "."))
        beside.rename(archive)


def _copy_c_library(root: Path) -> None:
    """What the package of the C library installs, as dpkg says."""
    listed = subprocess.run(("dpkg", "-L", "libc6"), capture_output=True, text=True, check=True)
    files = [one for one in listed.stdout.splitlines() if re.search(r"\.so[.\d]*$", one)]
    _run(("cp", "--parents", "-L", *files, str(root)))
    for name, target in (("lib", "usr/lib"), ("lib64", "usr/lib64")):
        if not (root / name).exists():
            (root / name).symlink_to(target)


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


def try_single_file(clean: Clean, folder: Path, results: dict[str, Any]) -> None:
    """Start, self-check, licence, one analysis, and leaving."""
    results["first_start_s"] = clean.seconds("--version", tries=1)
    results["help_s"] = clean.seconds("--help")
    results["self_check"] = json.loads(clean.run("self-check", "--json").stdout)
    model = clean.root / "srv/someone/model"
    _run((str(SANDBOX), "synthetic-model", str(model), "--layout", "4.6"))
    shutil.copy(ROOT / "docs/samples/sign-in.png", clean.root / "srv/someone/sign-in.png")
    with sandbox(folder) as (url, key):
        clean.environment |= {"SHIMMY_LICENSE_URL": url, "SHIMMY_ALLOW_SYNTHETIC": "1"}
        asked = ("vision", "/srv/someone/sign-in.png", "--model", "/srv/someone/model/")
        refused = clean.run(*asked, code=2)
        results["without_licence"] = re.findall(r"\[([a-z-]+)\]", refused.stderr)[-1]
        clean.run("license", "activate", key)
        said: dict[str, Any] = {}
        for name in ("analysis_s", "second_analysis_s"):
            started = time.monotonic()
            said = json.loads(clean.run(*asked, "--max-tokens", "64").stdout)
            results[name] = round(time.monotonic() - started, 2)
        results["analysed"] = {name: said["meta"][name] for name in ("backend", "licence")
                               if name in said["meta"]}  # fmt: skip
        results["web_page"] = try_web_page(clean)
        usage = json.loads(clean.run("license", "usage", "--json").stdout)
        results["pages_used"] = usage["pages_used"]
        left = json.loads(clean.run("uninstall", "--purge", "--yes", "--json").stdout)
        results["uninstalled"] = {"machine": left["machine"], "left": left["left"]}
    home = clean.root / "srv/someone"
    results["left_at_home"] = sorted(
        str(one.relative_to(home)) for one in home.rglob("*") if "shimmy" in one.name
    )
    _judge(results)


def try_web_page(clean: Clean) -> str:
    """The code that a web page is refused with, which says what to do; nothing is counted."""
    page = b"<!doctype html><title>x</title><p>x"

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}"
        refused = clean.run(
            *("vision", "--url", f"http://{place}/", "--model", "/srv/someone/model/"),
            code=3, SHIMMY_ALLOW_URLS=place,
        )  # fmt: skip
        server.shutdown()
    if "shimmy-vision[web]" not in refused.stderr:
        stop("A refused web page does not say what to do.", refused.stderr)
    return str(re.findall(r"\[([a-z-]+)\]$", refused.stderr, re.MULTILINE)[-1])


def _judge(results: dict[str, Any]) -> None:
    _keep(results)
    wrong = [one for one in results["self_check"] if one["level"] == "problem"]
    # It has no pip to add a package with.
    wrong += [one for one in results["self_check"] if "pip install" in one["remedy"]]
    wrong += [results["web_page"]] if results["web_page"] != "playwright-missing" else []
    slow = results["first_start_s"] > START_SECONDS or results["help_s"] > HELP_SECONDS
    if wrong or slow or results["left_at_home"] or results["pages_used"] != 2:
        print(json.dumps(results, indent=2), file=sys.stderr)
        stop("The single file does not do what it should.", "Its results stand above.")


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[tuple[str, str]]:
    """A licence server outside the clean system: its URL, and a key that it sold."""
    command = [str(SANDBOX), "licences", "serve", "--state", str(folder / "licences.sqlite")]
    command += ["--plans", str(ROOT / "contracts/plans.json"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            if server.stdout is None:
                stop("The sandbox says nothing.", "Run it by hand.")
            url = next(found[0] for line in server.stdout
                       if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))  # fmt: skip
            sold = subprocess.run(
                (str(SANDBOX), "licences", "sell", "developer", "--url", url),
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            yield url, sold.stdout.split()[-1]
        finally:
            server.terminate()


def try_wheel(folder: Path, results: dict[str, Any]) -> None:
    """``pip install`` of the wheel in an empty environment, with no compiler to be found."""
    wheel = next(DIST.glob("shimmy_vision-*.whl"), None)
    if wheel is None or wheel.name.endswith("-any.whl"):
        results["wheel"] = "not tried: there is no payload, so no platform wheel"
        return
    place = folder / "empty"
    venv.create(place, with_pip=True)
    ours = ("SHIMMY_", "CC", "CXX", "PYTHON")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment = {**bare, "PATH": str(python_of(place).parent), "HOME": str(folder),
                   "SHIMMY_STATE_DIR": str(folder / "state"),
                   "SHIMMY_CACHE_DIR": str(folder / "cache")}  # fmt: skip
    install = (str(python_of(place)), "-m", "pip", "install", "--quiet", str(wheel))
    started = time.monotonic()
    subprocess.run(install, env=environment, check=True)
    results["pip_install_s"] = round(time.monotonic() - started, 1)
    command = (str(python_of(place).with_name("shimmy")), "self-check", "--json")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    results["wheel"] = {"name": wheel.name, "self_check": json.loads(done.stdout)}
    if done.returncode != 0:
        _keep(results)
        stop("The installed wheel does not hold its own check.", "See build/dist/dist-test.json.")


if __name__ == "__main__":
    sys.exit(main())
