"""The ``CustomerMachine`` port: ``shimmy`` in processes of its own, with a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shimmy_ops.adapters.transaction.text_picture import draw_picture
from shimmy_ops.errors import TransactionError

_SECONDS, _ANALYSIS_SECONDS = 120, 1800
_KEY = "SHIMMY_LICENSE_KEY"
_SANDBOX, _INSTALLED = "SANDBOX", '"state": "installed"'


@dataclass(frozen=True, slots=True)
class ProcessMachine:
    """``program`` is ``shimmy`` as it is called here, ``folder`` all that this machine keeps.

    ``name`` makes it the same machine again after a crash. ``environ`` holds nothing that is ours.
    ``model`` is a folder with a pair; without one ``maker`` writes a synthetic pair into the folder
    that it is given, and without either the installed model is used. The licence's key goes by
    environment or standard input: a command line is everybody's to read. A ``sandbox`` build takes
    a sandbox's licences only, any other build only real ones.
    """

    program: Sequence[str]
    folder: Path
    name: str
    environ: Mapping[str, str] = field(repr=False)
    model: Path | None = None
    maker: Sequence[str] = ()
    sandbox: bool = False

    def check(self, *, analysis: bool) -> None:
        try:
            said = self._shimmy(["--version"])
            problem = self._misfit(said) or (None if not analysis else self._lack())
        finally:
            self.remove()
        if problem is not None:
            raise problem

    def _misfit(self, said: subprocess.CompletedProcess[str]) -> TransactionError | None:
        if said.returncode == 0 and self.sandbox == (_SANDBOX in said.stdout):
            return None
        return TransactionError(
            "machine-of-other-build",
            f"{Path(self.program[0]).name} is not built for this profile's licences.",
            hint="Release builds are made with SHIMMY_LICENSOR (docs/licensing.md); --shimmy names "
            "another program.",
        )

    def _lack(self) -> TransactionError | None:
        if self._has_model():
            return None
        return TransactionError(
            "machine-without-model",
            "There is no model to analyse with.",
            hint="`shimmy models pull`, --model FOLDER, or --no-analysis.",
        )

    def _has_model(self) -> bool:
        if self.model is not None:
            return any(self.model.glob("*.gguf"))
        if self.maker or "SHIMMY_MODEL" in self.environ:
            return True
        # A document of its own kind each: only the word matters.
        return _INSTALLED in self._shimmy(["models", "list", "--json"]).stdout

    def activate(self, key: str) -> None:
        self._checked(self._shimmy(["license", "activate", "-", "--json"], given=key))

    def analyse(self) -> Mapping[str, Any]:
        self._prepare()
        picture = self.folder / "picture.png"
        picture.write_bytes(draw_picture())
        asked = ["vision", str(picture), "--output", "json", "--no-server", "--max-tokens", "200"]
        done = self._shimmy([*asked, *self._model()], seconds=_ANALYSIS_SECONDS)
        result = _document(done.stdout)
        if not result:
            self._checked(done)
            raise TransactionError(
                "analysis-unreadable",
                "shimmy vision wrote no JSON.",
                hint="Run it by hand on any picture.",
            )
        return result

    def deactivate(self, key: str) -> None:
        self._checked(self._shimmy(["license", "deactivate", "--json"], key=key))

    def confirm(self, key: str) -> str:
        done = self._shimmy(["license", "refresh", "--json"], key=key)
        if done.returncode == 0:
            return ""
        return _code(done) or f"exit-{done.returncode}"

    def remove(self) -> None:
        try:
            if self.folder.exists():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise TransactionError(
                "machine-folder-left",
                f"The machine's folder cannot be removed: {error.strerror}.",
                hint=f"Remove {self.folder.name} beside the receipts: a licence key is in it.",
            ) from error

    def _model(self) -> list[str]:
        if self.model is not None:
            return ["--model", str(self.model)]
        if not self.maker:
            return []
        made = self.folder / "model"
        if not made.exists():
            self._checked(self._run([*self.maker, str(made)], self.environ, "", _SECONDS))
        return ["--model", str(made)]

    def _shimmy(
        self, asked: Sequence[str], *, given: str = "", key: str = "", seconds: float = _SECONDS
    ) -> subprocess.CompletedProcess[str]:
        self._prepare()
        environ = {
            **self.environ,
            "SHIMMY_STATE_DIR": str(self.folder),
            "SHIMMY_MACHINE_ID": self.name,
            "SHIMMY_MACHINE_NAME": self.name,
        }
        if key:
            environ[_KEY] = key
        return self._run([*self.program, *asked], environ, given, seconds)

    def _run(
        self, command: Sequence[str], environ: Mapping[str, str], given: str, seconds: float
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                env=dict(environ),
                input=f"{given}\n",
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TransactionError(
                "machine-silent",
                f"{Path(command[0]).name} did not end within {seconds:g} seconds.",
                hint="Run it by hand on this machine.",
                retryable=True,
            ) from None
        except OSError as error:
            raise TransactionError(
                "machine-missing",
                f"{Path(command[0]).name} cannot be started: {error.strerror}.",
                hint="Install shimmy-vision here, or name its program with --shimmy.",
            ) from error

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise TransactionError(
                "machine-folder-unusable",
                f"There is no place for the machine's state: {error.strerror}.",
                hint="state_folder in the profile names another one.",
            ) from error

    def _checked(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode == 0:
            return
        # Its words may repeat anything; its code says enough.
        said = _code(done) or "no code"
        raise TransactionError(
            "machine-refused",
            f"{Path(done.args[0]).name} ended with {done.returncode} ({said}).",
            hint="docs/licensing.md says what each refusal means.",
        )


def _document(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _code(done: subprocess.CompletedProcess[str]) -> str:
    document = _document(done.stdout)
    error = document.get("error") or document.get("refused")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""
