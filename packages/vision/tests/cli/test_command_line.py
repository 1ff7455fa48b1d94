"""``shimmy`` as a user runs it: real processes, real library, synthetic model."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from shimmy_sandbox.synthetic_model import SyntheticPair, write_synthetic_pair
from shimmy_vision.cli.exit_codes import exit_code
from shimmy_vision.errors import ShimmyError

SHIMMY = str(Path(sys.executable).with_name("shimmy"))
SAMPLE = Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
    synthetic_46: SyntheticPair,
    licence_variables: dict[str, str],
) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIMMY_")}
    return {
        **kept,
        **licence_variables,
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_MODEL": f"{synthetic_46.main.parent}/",
        "SHIMMY_MODEL_DIR": str(home / "models"),
        "SHIMMY_STATE_DIR": str(home / "state"),
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def shimmy(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(
        *arguments: str, stdin: bytes | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [SHIMMY, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**environment, **variables},
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


def _png(path: Path, colour: str = "white", size: tuple[int, int] = (64, 48)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, env=environment, check=True)
    return time.perf_counter() - started


def test_help_is_quick_and_light(environment: dict[str, str]) -> None:
    code = (
        "import sys; from shimmy_vision.cli.main import main; main(['--help']);"
        "heavy = {'numpy', 'PIL', 'llguidance', 'httpx', 'ctypes', 'llama_cpp', 'structlog',"
        " 'opentelemetry'} & set(sys.modules);"
        "print('heavy:', sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "heavy: []" in done.stderr
    assert "shimmy COMMAND --help" in done.stdout
    ours = min(_seconds([SHIMMY, "--help"], environment) for _ in range(5))
    bare = min(_seconds([sys.executable, "-c", ""], environment) for _ in range(5))
    # 150 ms and 20 on an idle machine; all that a question imports takes some seconds.
    assert ours < 20 * bare


@pytest.mark.parametrize("command", ["vision", "mcp", "license", "models", "schema", "doctor"])
def test_every_command_has_help(shimmy: Run, command: str) -> None:
    done = shimmy(command, "--help")
    assert done.returncode == 0
    assert f"usage: shimmy {command}" in done.stdout


def test_one_image_is_one_json_document(shimmy: Run) -> None:
    done = shimmy("vision", str(SAMPLE), "--max-tokens", "40")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    schema = json.loads(shimmy("schema").stdout)
    jsonschema.validate(result, schema)
    assert done.stdout.count("\n") == 1
    assert "\n  " in shimmy("vision", str(SAMPLE), "--max-tokens", "5", "--output", "pretty").stdout


@pytest.mark.parametrize("mode", ["full", "ocr", "layout", "brief"])
def test_modes_follow_the_published_schemas(shimmy: Run, mode: str) -> None:
    done = shimmy("vision", str(SAMPLE), "--mode", mode, "--max-tokens", "30", "--seed", "3")
    jsonschema.validate(
        json.loads(done.stdout), json.loads(shimmy("schema", "--mode", mode).stdout)
    )


def test_several_images_stream_and_one_failure_loses_nothing(shimmy: Run, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        _png(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"8BPS and more")
    done = shimmy("vision", "a.png", "b.png", "missing.png", "c.png", "--max-tokens", "5")
    assert done.returncode == 1
    lines = _lines(done.stdout)
    assert [line["image"] for line in lines] == ["a.png", "b.png", "missing.png", "c.png"]
    assert ["result" in line for line in lines] == [True, False, False, True]
    assert [lines[1]["error"]["code"], lines[2]["error"]["code"]] == [
        "image-unsupported",
        "image-not-found",
    ]
    assert "b.png: Unsupported image type: found a Photoshop document" in done.stderr


def test_globs_folders_and_standard_input(shimmy: Run, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    (folder / "deep").mkdir(parents=True)
    for name in ("2.png", "1.png", "deep/3.png"):
        _png(folder / name)
    (folder / "notes.txt").write_text("no image")

    def names(*words: str) -> list[str]:
        done = shimmy("vision", *words, "--max-tokens", "3", "--output", "jsonl")
        assert done.returncode == 0, done.stderr
        return [Path(line["image"]).name for line in _lines(done.stdout)]

    assert names("shots") == ["1.png", "2.png"]
    assert names("shots/*.png") == ["1.png", "2.png"]
    assert names("shots/**/*.png") == ["1.png", "2.png", "3.png"]
    assert names("shots/1.png", "shots") == ["1.png", "2.png"]
    done = shimmy("vision", "-", "--max-tokens", "3", stdin=SAMPLE.read_bytes())
    assert json.loads(done.stdout)["meta"]["image"]["width"] == 1280


def test_custom_prompt_and_schema(shimmy: Run, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    (tmp_path / "s.json").write_text(json.dumps(schema))
    done = shimmy("vision", str(SAMPLE), "--schema", "s.json", "--prompt", "Which colour?", "--raw")
    result = json.loads(done.stdout)
    jsonschema.validate(result["answer"], schema)
    assert result["meta"]["raw"]


USAGE = [
    (("vision",), "usage"),
    (("vision", "x.png", "--mode", "nonsense"), "usage"),
    (("vision", "x.png", "--timeout", "0"), "usage"),
    (("vision", "x.png", "--gpu-layers", "-3"), "usage"),
    (("vision", "x.pdf", "--pages", "3-1"), "pages-malformed"),
    (("vision", "x.pdf", "--dpi", "0"), "usage"),
    (("vision", "*.nothing"), "no-images"),
    (("vision", "x.png", "--mode", "ocr", "--prompt", "y"), "mode-with-question"),
    (("vision", "x.png", "--schema", "missing.json"), "schema-unreadable"),
    (("vision", str(SAMPLE), "--model", "qwen"), "unknown-model"),
    (("visoin", "x.png"), "unknown-command"),
    (("--nonsense",), "usage"),
    (("models",), "usage"),
    (("models", "pull", "7.0"), "unknown-model"),
    (("models", "pull", "4.6"), "confirmation-needed"),
    (("models", "remove", "4.6"), "confirmation-needed"),
]


@pytest.mark.parametrize(("arguments", "code"), USAGE, ids=[" ".join(a)[-40:] for a, _ in USAGE])
def test_wrong_usage_exits_64_and_says_what_to_do(
    shimmy: Run, arguments: tuple[str, ...], code: str
) -> None:
    done = shimmy(*arguments)
    assert done.returncode == 64, done.stderr
    assert f"[{code}]" in done.stderr
    assert "→" in done.stderr or code == "schema-unreadable"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_schema_that_cannot_be_honoured_exits_64_before_the_model(
    shimmy: Run, tmp_path: Path
) -> None:
    for text, named in (
        ('{"type": "array", "uniqueItems": true}', "uniqueItems"),
        ("[1]", "list"),
        ("{nonsense", "not JSON"),
        ('{"not":' * 101 + "{}" + "}" * 101, "schema-too-deep"),
        ('{"not":' * 100_000 + "{}" + "}" * 100_000, "not JSON"),
    ):
        (tmp_path / "s.json").write_text(text)
        done = shimmy("vision", str(SAMPLE), "--schema", "s.json", SHIMMY_MODEL="./no-model/")
        assert done.returncode == 64
        assert named in done.stderr


def test_model_problems_exit_3_with_the_command_that_helps(
    shimmy: Run, tmp_path: Path, synthetic_46: SyntheticPair
) -> None:
    done = shimmy("vision", str(SAMPLE), SHIMMY_MODEL="")
    assert done.returncode == 3
    assert "[model-not-installed]" in done.stderr
    assert "shimmy models pull 4.6" in done.stderr
    done = shimmy("vision", str(SAMPLE), SHIMMY_ALLOW_SYNTHETIC="0")
    assert done.returncode == 3
    assert "[model-synthetic-not-allowed]" in done.stderr
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair/mmproj.gguf").write_bytes(synthetic_46.projector.read_bytes())
    (tmp_path / "pair/main.gguf").write_bytes(synthetic_46.main.read_bytes()[:-5000])
    done = shimmy("vision", str(SAMPLE), "--model", "./pair/")
    assert done.returncode == 3
    assert "[model-truncated]" in done.stderr


def test_a_library_that_crashes_exits_3_and_the_parent_lives(
    shimmy: Run, tmp_path: Path, library_directory: Path
) -> None:
    """A library whose constructor dies of SIGSEGV, and one that is no library at all."""
    source, folder = tmp_path / "crash.c", tmp_path / "lib"
    source.write_text("__attribute__((constructor)) void die(void) { *(volatile int *)0 = 1; }\n")
    folder.mkdir()
    for file in library_directory.iterdir():
        (folder / file.name).symlink_to(file)
    broken = folder / "libllama.so"
    broken.unlink()
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(broken), str(source)], check=True)
    done = shimmy("vision", str(SAMPLE), SHIMMY_LIBRARY_DIR=str(folder))
    assert done.returncode == 3
    assert "[library-crashed]" in done.stderr
    assert "SIGSEGV" in done.stderr
    assert "→" in done.stderr
    broken.write_bytes(b"\x7fELF no library")
    done = shimmy("vision", str(SAMPLE), SHIMMY_LIBRARY_DIR=str(folder))
    assert done.returncode == 3
    assert "[library-load-failed]" in done.stderr
    done = shimmy("doctor", SHIMMY_LIBRARY_DIR=str(folder))
    assert done.returncode == 3
    assert "library-load-failed" in done.stdout


@pytest.mark.parametrize(
    ("file", "key", "code"),
    [
        ("projector", "clip.vision.attention.head_count", "library-crashed"),
        ("main", "qwen2.block_count", "library-crashed"),
        ("main", "qwen2.attention.head_count_kv", "model-load-failed"),
        ("projector", "clip.vision.patch_size", "projector-malformed"),
    ],
)
def test_models_that_abort_the_native_library_exit_3(
    shimmy: Run, tmp_path: Path, file: str, key: str, code: str
) -> None:
    """Sound files with one wrong number: some make llama.cpp abort, none may take us along."""
    pair = write_synthetic_pair(tmp_path / "pair", "2.6")
    path = getattr(pair, file)
    data = bytearray(path.read_bytes())
    at = data.index(key.encode()) + len(key) + 4
    value = {"qwen2.block_count": 4_000_000_000, "qwen2.attention.head_count_kv": 3}.get(key, 0)
    data[at : at + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)
    done = shimmy("vision", str(SAMPLE), "--model", "./pair/", "--max-tokens", "3")
    assert done.returncode == 3, done.stderr
    assert f"[{code}]" in done.stderr
    assert "→" in done.stderr
    assert "/vendor/" not in done.stderr


def test_a_timeout_exits_5(shimmy: Run) -> None:
    done = shimmy("vision", str(SAMPLE), "--timeout", "1")
    assert done.returncode == 5
    assert "[deadline-exceeded]" in done.stderr
    assert "--timeout" in done.stderr


def test_a_full_disk_exits_4(environment: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [SHIMMY, "vision", str(SAMPLE), "--max-tokens", "3"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
        )
    assert done.returncode == 4
    assert b"[output-not-written]" in done.stderr


def test_a_reader_that_leaves_exits_4_quietly(environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{SHIMMY} vision {SAMPLE} --max-tokens 3 | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stdout.strip() == "4"
    assert "Traceback" not in done.stderr


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    return [str(_png(tmp_path / f"{n:03}.png", size=(900, 700))) for n in range(60)]


def test_interrupting_keeps_what_was_done_and_ends_at_once(
    environment: dict[str, str], many: list[str]
) -> None:
    with subprocess.Popen(
        [SHIMMY, "vision", *many, "--max-tokens", "400", "--seed", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as child:
        assert child.stdout is not None
        first = json.loads(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        thrown = time.perf_counter()
        rest, errors = child.communicate(timeout=60)
        took = time.perf_counter() - thrown
    assert child.returncode == 130
    assert "result" in first
    assert b"[interrupted]" in errors
    assert b"Traceback" not in errors
    assert len(rest.splitlines()) < len(many) - 2
    # Stopping is 200 ms; the interpreter's own end comes on top. All of them take much longer.
    assert took < 10


def test_a_terminal_sees_progress(environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [SHIMMY, "vision", str(SAMPLE), "--max-tokens", "300", "--seed", "2"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": "100"},
    ) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert child.wait() == 0
    os.close(ours)
    assert b"sign-in.png: reading image" in shown or b"sign-in.png: writing answer" in shown


def test_doctor_says_what_to_do_next(shimmy: Run) -> None:
    done = shimmy("doctor", SHIMMY_MODEL="")
    assert done.returncode == 3
    assert "shimmy models pull 4.6" in done.stdout
    assert "CPU features" in done.stdout
    findings = json.loads(shimmy("doctor", "--json").stdout)
    assert {"native library", "memory", "model"} <= {finding["subject"] for finding in findings}


def test_models_list_and_path(shimmy: Run, environment: dict[str, str]) -> None:
    rows = json.loads(shimmy("models", "list", "--json").stdout)
    assert [row["version"] for row in rows] == ["4.6", "4.5", "4.0", "2.6"]
    assert [row["recommended"] for row in rows] == [True, False, False, False]
    path = shimmy("models", "path", "2.6").stdout.strip()
    assert path == f"{environment['SHIMMY_MODEL_DIR']}/minicpm-v-2.6"
    assert re.search(r"\* 4\.6 .*not installed", shimmy("models", "list").stdout)
    assert shimmy("models", "verify").returncode == 3


def test_a_terminal_is_no_image(environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [SHIMMY, "vision", "-"],
        stdin=theirs,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 64
    assert "[nothing-piped]" in done.stderr


def test_removing_what_is_not_there_says_so(shimmy: Run) -> None:
    assert shimmy("models", "remove", "2.6", "--yes").stdout == "nothing was installed\n"


def test_pulling_from_a_mirror_without_the_file(shimmy: Run, tmp_path: Path) -> None:
    from shimmy_sandbox.model_mirror import serve_models

    with serve_models(tmp_path) as mirror:
        done = shimmy("models", "pull", "4.6", "--yes", SHIMMY_MODEL_BASE_URL=mirror.url)
    assert done.returncode == 3
    assert "[download-missing]" in done.stderr
    assert mirror.url not in done.stderr


def _classes(kind: type[ShimmyError]) -> list[type[ShimmyError]]:
    return [kind, *(deep for child in kind.__subclasses__() for deep in _classes(child))]


def test_every_error_has_an_exit_code() -> None:
    codes = {kind.__name__: exit_code(kind("c", "m")) for kind in _classes(ShimmyError)[1:]}
    assert set(codes.values()) == {1, 2, 3, 4, 5, 64, 130}
    assert codes["DeadlineError"] == 5
    assert codes["DownloadError"] == 3
