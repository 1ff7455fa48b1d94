"""``docs/api.md`` against the program: endpoints, events, codes, metrics and options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from serving import PlayedAnalyst
from starlette.testclient import TestClient

from shimmy_vision import errors
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.client import Client
from shimmy_vision.errors import BusyError, LicenceError, LicenceServerError, ShimmyError
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.bodies import VisionBody
from shimmy_vision.server.docs_routes import describe_api
from shimmy_vision.server.status_codes import status_of

ROOT = Path(__file__).resolve().parents[4]
SOURCE = ROOT / "packages/vision/src/shimmy_vision"
TEXT = (ROOT / "docs/api.md").read_text(encoding="utf-8")
APP = create_app(PlayedAnalyst(lambda *_: {}), ServerOptions(), lambda: None)

# What only commands raise: no request leads there.
_OF_COMMANDS = (
    "cli/", "adapters/batch/", "adapters/files/http_model_source.py",
    "adapters/licence/system_machine_id.py", "adapters/web/guarded_web.py",
    "domain/batch/", "domain/licence/licence_key.py", "domain/model/model_request.py",
    "use_cases/deactivate_machine.py", "use_cases/list_machines.py", "use_cases/pull_model.py",
    "wiring/licences.py",
)  # fmt: skip
# Of commands too, in modules that requests do reach.
# The others end a server before it listens.
_ODD_ONES = {"licence-not-kept", "encoder-unknown", "engine-unknown", "home-unknown"}


def section(title: str) -> str:
    return re.split(r"^#+ ", TEXT.partition(f" {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def documented_codes() -> dict[str, int]:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", section("Errors"), flags=re.MULTILINE)
    codes = [(code, int(status)) for status, told in rows for code in re.findall("`(.+?)`", told)]
    assert len(codes) == len(dict(codes))
    return dict(codes)


def raised() -> Iterator[tuple[str, str, str]]:
    """(file, class, code) of every error built in the program."""
    known = {name for name in vars(errors) if name.endswith("Error")}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                kind, code = ast.unparse(node.func), node.args[0]
                choices = (code.body, code.orelse) if isinstance(code, ast.IfExp) else (code,)
                for one in choices:
                    if kind in known and isinstance(one, ast.Constant):
                        yield str(path.relative_to(SOURCE)), kind, str(one.value)


def error_of(kind: str, code: str) -> ShimmyError:
    made: type[ShimmyError] = getattr(errors, kind)
    if made is BusyError:
        return BusyError(code, "", retry_after=1)
    return made(code, "")


def status_in(table: dict[str, int], code: str) -> int | None:
    """Of the code itself, or of a beginning that stands for it."""
    for length in range(len(code), 0, -1):
        found = table.get(code[:length] + ("" if length == len(code) else "…"))
        if found is not None:
            return found
    return None


def test_every_code_that_a_request_can_meet_is_told_with_its_status() -> None:
    table = documented_codes()
    wrong = {
        code: (status_of(error_of(kind, code)), status_in(table, code))
        for path, kind, code in raised()
        if not path.startswith(_OF_COMMANDS) and code not in _ODD_ONES
        if status_in(table, code) != status_of(error_of(kind, code))
    }
    assert not wrong


def test_every_code_that_is_told_exists() -> None:
    table = documented_codes()
    kinds = {code: kind for _, kind, code in raised()}
    refusals = "".join(
        path.read_text(encoding="utf-8") for path in (SOURCE / "domain/licence").glob("*.py")
    )
    for code, status in table.items():
        if code.endswith("…"):
            assert any(one.startswith(code[:-1]) for one in kinds), code
        elif code in kinds:
            assert status_of(error_of(kinds[code], code)) == status, code
        else:
            assert f'"{code}"' in refusals, code
            assert status_of(LicenceError(code, "")) == status, code
    assert status_of(LicenceServerError("x", "")) == 503


def test_every_endpoint_is_told() -> None:
    paths = describe_api(APP)["paths"]
    offered = {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways}
    told = set(re.findall(r"`((?:GET|POST|DELETE) /[^`]*)`", TEXT.partition("## One analysis")[0]))
    assert told == offered


def test_every_option_is_told() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("One analysis"), flags=re.MULTILINE)
    named = {field.alias or name for name, field in VisionBody.model_fields.items()}
    assert {*rows} == named - {"image", "url"}


def test_every_event_is_told() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("Events"), flags=re.MULTILINE)
    source = (SOURCE / "server/streams.py").read_text(encoding="utf-8")
    assert {*rows} == {*re.findall(r'(?:return|yield) "(\w+)",', source)}


def test_every_metric_is_told() -> None:
    text = TestClient(APP, base_url="http://127.0.0.1").get("/metrics").text
    shown = {*re.findall(r"^# HELP (\w+)", text, flags=re.MULTILINE)}
    counters, gauges = EngineCaches().numbers()
    shown |= {f"shimmy_{name}_total" for name in counters} | {f"shimmy_{name}" for name in gauges}
    process = (SOURCE / "adapters/worker/engine_process.py").read_text(encoding="utf-8")
    shown |= {f"shimmy_{name}_total" for name in re.findall(r'"(engine_\w+)": 0\.0', process)}
    assert {*re.findall(r"`(shimmy_\w+)`", section("Health and metrics"))} == shown


def test_every_method_of_the_client_is_told() -> None:
    told = re.findall(r"`(\w+)`", section("The Python client").partition("```")[0])
    public = {name for name in vars(Client) if name[0] != "_"}
    assert public - {"close"} == {*told} - {"Client", "AsyncClient"}


@pytest.mark.parametrize("name", ["max_image_bytes", "max_document_bytes", "max_tokens"])
def test_limits_are_the_program_s(name: str) -> None:
    limits = ServerOptions().limits
    assert name in {field.name for field in fields(limits)}
    value = getattr(limits, name)
    said = f"{value:,}" if name == "max_tokens" else f"{value // 1_000_000} MB"
    assert said in section("Limits and the queue")
