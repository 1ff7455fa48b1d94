"""Carries out a Dockerfile in a chroot; ``rehearse.sh`` calls it in a mount namespace of its own.

Knows the instructions that our Dockerfiles use, and stops at any other.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

USER = 10001
HOST_FOLDERS = ("usr", "bin", "sbin", "lib", "lib64", "etc")
DEVICES = ("null", "zero", "random", "urandom")
SETTINGS = {
    "MODE": "test",
    "URL": "http://127.0.0.1:8400",
    "STRIPE_KEY": "sk_test_rehearsal",
    "STRIPE_URL": "http://127.0.0.1:9",
    "WEBHOOK_SECRETS": "whsec_rehearsal",
    "KEYGEN_ACCOUNT": "nobody",
    "KEYGEN_TOKEN": "nobody",
    "KEYGEN_URL": "http://127.0.0.1:9",
    "KEYGEN_POLICIES": "developer=1,professional=2,startup=3,enterprise=4,lifetime=5",
    "MAIL": "smtp://127.0.0.1:9",
    "MAIL_FROM": "Shimmy <licences@example.com>",
    "LEDGER": "sqlite:////tmp/ledger.sqlite",
    "SECRET": "rehearsal" * 4,
}


@dataclass
class Stage:
    """One FROM and what follows it."""

    root: Path
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0"
    healthcheck: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Where that lies on this machine."""
        return self.root / str(Path(self.workdir) / path).lstrip("/")

    def chroot(self, command: list[str], *, user: str = "0") -> list[str]:
        """The command line for a command in there."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        there = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *command]
        who = f"--userspec={user}" if user != "0" else "--userspec=0:0"
        return ["chroot", who, str(self.root), "/usr/bin/env", "-i", *variables, *there]


def say(line: str) -> None:
    """Told at once."""
    sys.stdout.write(f"rehearse: {line}\n")
    sys.stdout.flush()


def check(fine: bool, problem: object) -> None:
    """Stop where it is not."""
    if not fine:
        sys.exit(f"rehearse: {problem}")


def mount(*words: str) -> None:
    """``mount``, or the end of it."""
    subprocess.run(["/usr/bin/mount", *words], check=True)


def instructions(text: str) -> list[tuple[str, str]]:
    """Names and the rest of the lines, joined; comments are gone."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", kept)
    pairs = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, rest.strip()) for name, _, rest in pairs]


def prepare(root: Path) -> None:
    """This machine's system folders, which stand for the base image."""
    for name in HOST_FOLDERS:
        source, target = Path("/", name), root / name
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_dir():
            target.mkdir()
            mount("--bind", str(source), str(target))
            mount("-o", "remount,bind,ro", str(target))
    home = Path(sys.base_prefix)
    if not home.is_relative_to("/usr"):
        # Where it lies here, since its own files name that.
        place = root / str(home).lstrip("/")
        place.mkdir(parents=True)
        mount("--bind", str(home), str(place))
        mount("-o", "remount,bind,ro", str(place))
    for name in ("proc", "dev", "tmp", "root", "opt"):
        (root / name).mkdir(exist_ok=True)
    mount("-t", "proc", "proc", str(root / "proc"))
    for name in DEVICES:
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", str(root / "dev" / name))
    mount("-t", "tmpfs", "-o", "mode=1777,size=512m", "tmpfs", str(root / "tmp"))


def ignored(path: str, rules: list[str]) -> bool:
    """As ``.dockerignore`` says; the last rule that fits counts."""
    verdict = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        parents = [path, *(str(one) for one in Path(path).parents if str(one) != ".")]
        fits = any(fnmatch.fnmatch(one, pattern) for one in parents)
        fits = fits or (pattern.startswith("**/") and pattern[3:] in Path(path).parts)
        if fits:
            verdict = not rule.startswith("!")
    return verdict


def copy(stage: Stage, words: list[str], stages: dict[str, Stage], rules: list[str]) -> None:
    """``COPY``, from the checkout or another stage."""
    source_root, from_checkout = Path.cwd(), True
    if words[0].startswith("--from="):
        source_root = stages[words.pop(0).removeprefix("--from=")].root
        from_checkout = False
    *sources, target = words
    into = stage.inside(target)
    for name in sources:
        source = source_root / name.lstrip("/")
        check(source.exists(), f"COPY names {name}, which is not there")
        if source.is_file():
            check(not (from_checkout and ignored(name, rules)), f".dockerignore leaves out {name}")
            into.parent.mkdir(parents=True, exist_ok=True)
            many = len(sources) > 1 or target.endswith("/")
            if many:
                into.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, into / source.name if many else into)
            continue

        def left_out(folder: str, names: list[str]) -> list[str]:
            if not from_checkout:
                return []
            at = Path(folder).relative_to(Path.cwd())
            return [one for one in names if ignored(str(at / one), rules)]

        shutil.copytree(source, into, symlinks=True, dirs_exist_ok=True, ignore=left_out)


def install_settings(stage: Stage) -> None:
    """How pip reaches its index here; an image's build has its own."""
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "SSL_CERT_FILE"):
        if name in os.environ:
            stage.environment[name] = os.environ[name]
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"):
        if name in os.environ:
            stage.environment[name] = os.environ[name]
    for own in (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        if own.exists():
            place = stage.root / "root" / own.relative_to(Path.home())
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(own, place)


def build(dockerfile: Path, root: Path) -> Stage:
    """All stages; the last one."""
    rules = [
        line
        for line in Path(f"{dockerfile}.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    stages: dict[str, Stage] = {}
    stage = Stage(root)
    for name, rest in instructions(dockerfile.read_text()):
        if name == "FROM":
            label = rest.partition(" AS ")[2] or "last"
            (root / label).mkdir()
            stage = stages[label] = Stage(root / label)
            prepare(stage.root)
            python = f"{sys.base_prefix}/bin"
            stage.environment = {"PATH": f"{python}:/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}
            install_settings(stage)
        else:
            follow(stage, name, rest, stages, rules)
    return stage


def follow(stage: Stage, name: str, rest: str, stages: dict[str, Stage], rules: list[str]) -> None:
    """One instruction."""
    if name == "RUN":
        say(f"RUN {rest[:90]}")
        began = time.monotonic()
        subprocess.run(stage.chroot(["/bin/sh", "-ec", rest]), check=True)
        say(f"  {time.monotonic() - began:.1f} s")
    elif name == "COPY":
        copy(stage, shlex.split(rest), stages, rules)
    elif name == "ENV":
        pairs = (one.partition("=") for one in shlex.split(rest))
        stage.environment |= {one: value for one, _, value in pairs}
    elif name == "WORKDIR":
        stage.workdir = rest
        stage.inside("").mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        stage.user = rest
    elif name == "HEALTHCHECK":
        stage.healthcheck = json.loads(rest.partition("CMD")[2])
    elif name in ("CMD", "ENTRYPOINT"):
        setattr(stage, "command" if name == "CMD" else "entrypoint", json.loads(rest))
    else:
        check(name in ("ARG", "LABEL", "EXPOSE", "STOPSIGNAL", "VOLUME"), f"{name} is not known")


def run(stage: Stage) -> None:
    """As its user on a read-only tree, with /tmp alone to write in."""
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT"):
        stage.environment.pop(name, None)
    python = f"{sys.base_prefix}/bin"
    stage.environment["PATH"] += f":{python}"
    stage.environment |= {f"SHIMMY_STORE_{name}": value for name, value in SETTINGS.items()}
    mount("--rbind", str(stage.root), str(stage.root))
    mount("-o", "remount,bind,ro", str(stage.root))
    mount("-t", "tmpfs", "-o", "mode=1777,size=64m", "tmpfs", str(stage.root / "tmp"))
    # Root may not either: what refuses is the mount, not a mode.
    touched = stage.chroot(["touch", "/opt/x"])
    refused = subprocess.run(touched, capture_output=True, text=True, check=False)
    check("Read-only file system" in refused.stderr, refused.stderr)
    began = time.monotonic()
    served = subprocess.Popen(stage.chroot([*stage.entrypoint, *stage.command], user=stage.user))
    try:
        while True:
            probe = subprocess.run(
                stage.chroot(stage.healthcheck, user=stage.user), capture_output=True, check=False
            )
            if probe.returncode == 0:
                break
            check(served.poll() is None, f"it ended with {served.returncode}")
            check(time.monotonic() - began < 60, probe.stderr.decode())
            time.sleep(0.2)
        say(f"HEALTHCHECK passes {time.monotonic() - began:.1f} s after the start")
        owners = {(stage.root / "proc" / str(served.pid)).stat().st_uid}
        check(owners == {USER}, owners)
        say(f"it runs as {owners} on a read-only tree")
    finally:
        served.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            served.wait(20)
        served.kill()
    check(served.returncode == 0, f"SIGTERM ended it with {served.returncode}")
    say("SIGTERM ends it with 0")


def main() -> None:
    """Dockerfile and an empty folder."""
    dockerfile, root = Path(sys.argv[1]), Path(sys.argv[2])
    mount("--make-rprivate", "/")
    # Of this namespace alone, so that nothing has to be taken down afterwards.
    mount("-t", "tmpfs", "-o", "size=3g,mode=755", "tmpfs", str(root))
    began = time.monotonic()
    stage = build(dockerfile, root)
    size = subprocess.run(
        ["/usr/bin/du", "-sxm", str(stage.root / "opt")], capture_output=True, text=True, check=True
    )
    say(f"built in {time.monotonic() - began:.0f} s; /opt holds {size.stdout.split()[0]} MB")
    run(stage)


if __name__ == "__main__":
    main()
