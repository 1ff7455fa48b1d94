"""``shimmy engine-worker`` in which marked images and pages abort, hang or wait: for tests alone.

Run as a program it takes the arguments of ``shimmy``. Where ``FRAGILE_LOAD`` names a gate, the
model is only opened once that is released. Where ``FRAGILE_COUNT`` names a file that is not there,
it is made, and the process aborts once it has counted a page, before it tells of it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from shimmy_vision.adapters.engine.llama_engine import LlamaEngine, LlamaEngineOpener
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocument, PdfiumDocuments
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.ports.image_intake import DecodedImage, IntakeLimits
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases import count_page
from shimmy_vision.use_cases.admit_pages import Admission
from shimmy_vision.use_cases.settle_pages import settle_pages

_MARK = b"\n#deed "


class Gate:
    """Where a job of another process waits until it is released, however often it comes again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("came", "go"):
            os.mkfifo(folder / name)
        # Held open for both, so that opening never blocks and what was written stays.
        self._came, self._go = (os.open(folder / name, os.O_RDWR) for name in ("came", "go"))

    def await_arrival(self) -> None:
        """Until a job is there."""
        os.read(self._came, 1)

    def release(self) -> None:
        """Let one job through, which may come later."""
        os.write(self._go, b"x")

    def close(self) -> None:
        os.close(self._came)
        os.close(self._go)


def marked(
    data: bytes, deed: Literal["abort", "hang", "wait"], gate: Gate | None = None, page: int = 0
) -> bytes:
    """``data``, an image or a PDF, whose ``page`` does ``deed`` when it is decoded or drawn.

    At ``gate`` its coming is told; only "wait" waits there.
    """
    folder = None if gate is None else str(gate.folder)
    return data + _MARK + json.dumps({"do": deed, "gate": folder, "page": page}).encode()


def _pass_gate(folder: str, *, wait: bool) -> None:
    Path(folder, "came").write_bytes(b"x")
    if wait:
        with Path(folder, "go").open("rb", buffering=0) as go:
            go.read(1)


def _do(data: bytes, page: int) -> None:
    _, mark, said = data.rpartition(_MARK)
    deed: dict[str, Any] = json.loads(said) if mark else {"page": -1}
    if deed["page"] != page:
        return
    if deed["gate"] is not None:
        _pass_gate(deed["gate"], wait=deed["do"] == "wait")
    if deed["do"] == "abort":
        os.abort()
    if deed["do"] == "hang":
        threading.Event().wait()


class _Intake(PillowIntake):
    def decode(
        self, data: bytes, limits: IntakeLimits, cancellation: Cancellation | None = None
    ) -> DecodedImage:
        _do(data, 0)
        return super().decode(data, limits, cancellation)


class _Document(PdfiumDocument):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data

    def render(self, page: int, dpi: int, cancellation: Cancellation) -> DecodedImage:
        _do(self._data, page)
        return super().render(page, dpi, cancellation)


class _Documents(PdfiumDocuments):
    def open(
        self, data: bytes, limits: DocumentLimits, cancellation: Cancellation | None = None
    ) -> PdfiumDocument:
        super().open(data, limits, cancellation).close()
        return _Document(data)


class _Opener(LlamaEngineOpener):
    def open(self, files: EngineFiles, options: EngineOptions) -> LlamaEngine:
        if "FRAGILE_LOAD" in os.environ:
            _pass_gate(os.environ["FRAGILE_LOAD"], wait=True)
        return super().open(files, options)


def _settle_and_die(admission: Admission, licensing: Licensing, *, done: bool) -> None:
    settle_pages(admission, licensing, done=done)
    if done:
        with suppress(FileExistsError):
            Path(os.environ["FRAGILE_COUNT"]).touch(exist_ok=False)
            os.abort()


def _main() -> int:
    from shimmy_vision.cli.main import main
    from shimmy_vision.wiring import vision as wiring

    wiring.PillowIntake = _Intake  # type: ignore[attr-defined]
    wiring.PdfiumDocuments = _Documents  # type: ignore[attr-defined]
    wiring.LlamaEngineOpener = _Opener  # type: ignore[attr-defined]
    if "FRAGILE_COUNT" in os.environ:
        count_page.settle_pages = _settle_and_die  # type: ignore[attr-defined]
    return main()


if __name__ == "__main__":
    sys.exit(_main())
