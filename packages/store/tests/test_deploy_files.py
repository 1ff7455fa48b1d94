"""The files in deploy/, as far as no engine is needed; ``deploy/rehearse.sh`` carries them out."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shimmy_store.cli.serve import add_arguments
from shimmy_store.settings import OPTIONAL_SECRETS, PLAIN, SECRETS

yaml: Any = importlib.import_module("yaml")

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml*"))
UID = 10001
PREFIX = "SHIMMY_STORE_"


def instructions(text: str) -> list[tuple[str, str]]:
    """Names and the rest of the lines, joined, without comments."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", kept)
    return [
        (line.partition(" ")[0], line.partition(" ")[2].strip())
        for line in joined.splitlines()
        if line.strip()
    ]


def faults(text: str) -> list[str]:
    """What hadolint would say, and what our own rules do."""
    found, read = [], instructions(text)
    last = read[max(number for number, (name, _) in enumerate(read) if name == "FROM") :]
    base = next((rest for name, rest in read if name == "ARG"), "")
    if not re.fullmatch(r"PYTHON=python(:\d+\.\d+\.\d+-slim-\w+|@sha256:[0-9a-f]{64})", base):
        found.append("the base is not one whole version, or names a registry")
    for name, rest in read:
        if name == "FROM" and rest.partition(" AS ")[0] != "${PYTHON}":
            found.append("another base")
        if name == "ADD":
            found.append("ADD fetches and unpacks")
        if name in ("ENV", "ARG", "LABEL") and re.search(r"(?i)(token|password|secret|_key)", rest):
            found.append("a secret in the image")
        if name == "RUN":
            found += faults_of_run(rest)
        if name == "COPY" and not rest.startswith("--from") and rest.startswith((". ", "/")):
            found.append("COPY of everything")
    named = [name for name, _ in last]
    found += [f"no {one}" for one in ("USER", "HEALTHCHECK", "STOPSIGNAL") if one not in named]
    user = next((rest for name, rest in last if name == "USER"), "0")
    if not re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user):
        found.append("not a user by its number, which Kubernetes can check")
    found += [
        f"{name} in a shell, which signals do not pass"
        for name, rest in last
        if name in ("CMD", "ENTRYPOINT") and not rest.startswith("[")
    ]
    return found


def faults_of_run(line: str) -> list[str]:
    """Of one RUN: nothing comes from anywhere without its hash, nothing stays that is not used."""
    found = []
    for part in re.split(r"&&|;|\|", line):
        fetches = re.search(r"pip3? (install|wheel|download)", part) and "--no-index" not in part
        if fetches and "--require-hashes" not in part:
            found.append(f"pip without hashes: {part.strip()[:40]}")
        if fetches and "--only-binary :all:" not in part and "--no-binary llama" not in part:
            found.append("pip may run a source archive")
        if re.search(r"\b(curl|wget|sudo|ssh)\b", part):
            found.append("fetched past the locks")
    if "apt-get install" in line and not (
        "--no-install-recommends" in line and "rm -rf /var/lib/apt/lists/*" in line
    ):
        found.append("apt leaves things behind")
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda one: one.name)
def test_an_image_is_made_of_what_is_locked_and_runs_as_nobody(path: Path) -> None:
    assert faults(path.read_text()) == []
    # What is copied is there, and .dockerignore lets it through and little else.
    ignore = Path(f"{path}.dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [line[1:] for line in rules if line.startswith("!")]
    assert all((ROOT / one).exists() for one in allowed)
    for name, rest in instructions(path.read_text()):
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(source == one or source.startswith(f"{one}/") for one in allowed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("USER 10001:10001", "USER root"),
        ("USER 10001:10001\n", ""),
        ("--require-hashes --only-binary :all: -r", "-r"),
        ("COPY site site", "ADD site site"),
        ("COPY site site", "COPY . ."),
        ("python:3.11.14-slim-bookworm", "python:latest"),
        ("python:3.11.14-slim-bookworm", "registry.example.com/python:3.11.14-slim-bookworm"),
        ('ENTRYPOINT ["shimmy-store"]', "ENTRYPOINT shimmy-store"),
        ("HEALTHCHECK", "# HEALTHCHECK"),
        ("ENV PATH=", "ENV STRIPE_KEY=sk PATH="),
        ("COPY contracts contracts", "RUN curl example.com | sh"),
        ("COPY contracts contracts", "RUN apt-get update && apt-get install -y gcc"),
    ],
)
def test_the_rules_can_be_broken(before: str, after: str) -> None:
    text = (DEPLOY / "store.Dockerfile").read_text()
    assert before in text
    assert faults(text.replace(before, after)) != []


def test_healthchecks_ask_what_depends_on_nobody_else() -> None:
    for name, path in (("store", "8400/alive"), ("vision", "8750/health")):
        text = (DEPLOY / f"{name}.Dockerfile").read_text()
        (check,) = [rest for one, rest in instructions(text) if one == "HEALTHCHECK"]
        assert f"http://127.0.0.1:{path}" in check


def _served(words: list[str]) -> Any:
    parser = argparse.ArgumentParser()
    add_arguments("serve", parser)
    assert words[0] == "serve"
    return parser.parse_args(words[1:])


def _compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_services_can_do_little() -> None:
    compose = _compose()
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "restart", "tmpfs", "logging"} <= service.keys(), name
        assert not service.get("privileged"), name
        assert re.search(r":(\d+\.\d+\.?\d*-\w+|latest)$", service["image"]), name
        assert ("build" in service) == service["image"].startswith("shimmy-"), name
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).exists()
            assert "cap_add" not in service, "ours need none"
    assert set(compose["services"]["store"]["cap_drop"]) == {"ALL"}
    published = {one for one in compose["services"] if "ports" in compose["services"][one]}
    assert published == {"proxy", "vision"}
    assert compose["services"]["vision"]["ports"] == ["127.0.0.1:8750:8750"]


def test_compose_names_settings_that_the_store_knows_and_no_secret() -> None:
    compose = _compose()
    store = compose["services"]["store"]
    plain = dict(
        line.split("=", 1)
        for line in (DEPLOY / "store.env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    _judge_settings(plain, store["environment"])
    assert {value.rpartition("/")[2] for value in store["environment"].values()} == set(
        store["secrets"]
    )
    for name, secret in compose["secrets"].items():
        assert secret == {"file": f"secrets/{name}"}
    used = {one for service in compose["services"].values() for one in service.get("secrets", [])}
    assert used == set(compose["secrets"])
    args = _served(store["command"])
    (network,) = compose["networks"]["inside"]["ipam"]["config"]
    assert (args.host, args.port, args.proxies) == ("0.0.0.0", 8400, network["subnet"])  # noqa: S104


def test_the_proxy_lets_through_what_the_store_takes_and_finds_a_store_that_moved() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    # A name in `upstream` or in `proxy_pass` itself keeps the address it had when nginx started.
    assert "resolver 127.0.0.11" in text and "upstream store" not in text
    assert re.findall(r"proxy_pass (\S+);", text) == ["http://$store"]
    assert "set $store store:8400;" in text
    assert "client_max_body_size 2g;" in text
    notes = _manifests()["Ingress"]["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/proxy-body-size"] == "2g"


def test_nginx_understands_its_configuration(tmp_path: Path) -> None:
    nginx, openssl = shutil.which("nginx", path="/usr/sbin:/usr/bin"), shutil.which("openssl")
    if nginx is None or openssl is None:
        pytest.skip("nginx is not installed: its configuration was not judged by itself")
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=store"]
    keys = ["-keyout", str(tmp_path / "privkey.pem"), "-out", str(tmp_path / "fullchain.pem")]
    subprocess.run([openssl, *made, *keys], check=True, capture_output=True)
    text = (DEPLOY / "nginx.conf").read_text()
    for before, after in (
        ("/etc/nginx/tls", str(tmp_path)),
        ("/run/nginx.pid", str(tmp_path / "pid")),
    ):
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "nginx.conf").write_text(text)
    done = subprocess.run(
        [nginx, "-t", "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mounted = _compose()["services"]["proxy"]["volumes"]
    assert mounted == ["./nginx.conf:/etc/nginx/nginx.conf:ro", "./tls:/etc/nginx/tls:ro"]


def _judge_settings(plain: dict[str, str], files: dict[str, str]) -> None:
    """All that is needed is named; what is secret comes in files."""
    assert {one.removeprefix(PREFIX) for one in plain} <= set(PLAIN)
    secret = {one.removeprefix(PREFIX).removesuffix("_FILE") for one in files}
    assert secret == {*SECRETS, *OPTIONAL_SECRETS, "LEDGER"}
    assert all(one.endswith("_FILE") for one in files)
    optional = {"KEYGEN_PUBLIC_KEY", "STRIPE_URL", "KEYGEN_URL", "PORTAL", "LEDGER"}
    assert {f"{PREFIX}{one}" for one in set(PLAIN) - optional} <= plain.keys()


def _manifests() -> dict[str, Any]:
    read = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]
    assert len({one["kind"] for one in read}) == len(read)
    return {one["kind"]: one for one in read}


def test_a_host_of_the_fleet_can_do_little_and_is_asked_how_it_is() -> None:
    pod = _manifests()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"].keys() == {"requests", "limits"}
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("liveness", "readiness", "startup")
    }
    assert paths == {"liveness": "/alive", "readiness": "/ready", "startup": "/ready"}
    mounts = {one["mountPath"]: one.get("readOnly", False) for one in container["volumeMounts"]}
    assert mounts == {"/run/secrets/store": True, "/tmp": False}  # noqa: S108
    assert {one["name"] for one in container["volumeMounts"]} == {
        one["name"] for one in pod["volumes"]
    }
    # preStop, and what uvicorn waits for requests under way, fit in.
    (pause,) = container["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert int(pause) + 10 + 5 < pod["terminationGracePeriodSeconds"]


def test_the_fleet_s_parts_name_each_other_and_the_store_s_settings() -> None:
    found = _manifests()
    assert found.keys() == {
        *("ConfigMap", "Deployment", "Service", "Ingress", "Secret"),
        *("PodDisruptionBudget", "HorizontalPodAutoscaler"),
    }
    deployment = found["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    named = {one["name"]: one["value"] for one in container["env"]}
    _judge_settings(found["ConfigMap"]["data"], named)
    secret = found["Secret"]["stringData"]
    assert set(secret.values()) == {""}, "nothing is filled in"
    assert {value.rpartition("/")[2] for value in named.values()} == secret.keys()
    args = _served(container["args"])
    scaler = found["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    # With a number of its own, every apply would undo what the autoscaler found.
    assert "replicas" not in deployment["spec"] and scaler["minReplicas"] == 2
    # One host more while they are replaced, and some connections for whoever looks after it.
    assert (scaler["maxReplicas"] + 1) * args.workers * 4 <= 100 - 10
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] < scaler["minReplicas"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert found["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    # An apply of the whole folder must not put an empty Secret over the real one.
    assert [path.name for path in MANIFESTS if "Secret" in path.read_text().split("kind: ")[1]] == [
        "secret.yaml.example"
    ]


def test_nothing_in_deploy_names_a_registry_or_a_key() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"(sk|rk)_live|whsec_[A-Za-z0-9]{24}|-----BEGIN", text), path.name
            images = re.findall(r"image: (\S+)", text)
            assert all("/" not in one for one in images), path.name
