"""OpenVINO, loaded only where it is used, and without what it would tell others.

Importing ``openvino`` brings its conversion tools, and those send an event to an analytics server
at every import where the package ``openvino_telemetry`` is installed. Neither is let in: nothing
leaves this machine.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from shimmy_vision.domain.model.encoder_choice import Precision
from shimmy_vision.errors import LibraryError

_KEPT_OUT = ("openvino_telemetry", "openvino.tools.ovc")
_GROUP = 128


class OpenVino:
    """The package, its operations and one core, which holds the CPU plugin."""

    def __init__(self, package: Any, operations: Any) -> None:
        self.package = package
        self.operations = operations
        self.core = package.Core()
        self.version: str = package.get_version()
        named = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.capabilities: frozenset[str] = frozenset(named)
        self.cpu: str = self.core.get_property("CPU", "FULL_DEVICE_NAME")

    def settings(self, precision: Precision, threads: int) -> dict[str, Any]:
        """How the CPU plugin computes: one stream of ``threads`` threads, bound to no core."""
        types = self.package.Type
        computed = {"f32": types.f32, "bf16": types.bf16, "f16": types.f16}
        quick = types.bf16 if "BF16" in self.capabilities else types.f32
        return {
            "INFERENCE_PRECISION_HINT": computed.get(precision, quick),
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if precision == "int8" else 0,
        }


@cache
def open_openvino() -> OpenVino:
    """Load it, once a process. Raises LibraryError openvino-missing or openvino-load-failed."""
    try:
        with _kept_out():
            package = importlib.import_module("openvino")
            operations = importlib.import_module("openvino.opset13")
    except ModuleNotFoundError as error:
        if getattr(sys, "frozen", False):
            raise LibraryError(
                "openvino-missing",
                "This single file was built without OpenVINO.",
                hint="Let libmtmd encode: SHIMMY_ENCODER=auto",
            ) from error
        raise LibraryError(
            "openvino-missing",
            "OpenVINO is not installed.",
            hint="Install it: pip install openvino. Without it libmtmd encodes, more slowly.",
        ) from error
    except (ImportError, OSError) as error:
        raise _load_failed(error) from error
    try:
        return OpenVino(package, operations)
    except RuntimeError as error:
        raise _load_failed(error) from error


@contextmanager
def _kept_out() -> Iterator[None]:
    """Imports of what is kept out fail, as OpenVINO expects of parts that are not installed."""
    refused = [name for name in _KEPT_OUT if name not in sys.modules]
    sys.modules.update(dict.fromkeys(refused))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in refused:
            sys.modules.pop(name, None)


def _load_failed(error: Exception) -> LibraryError:
    return LibraryError(
        "openvino-load-failed",
        f"OpenVINO cannot be loaded: {first_line(error)}",
        hint="Reinstall it: pip install --force-reinstall openvino, or set SHIMMY_ENCODER=mtmd.",
    )


def first_line(error: Exception) -> str:
    """The cause in an OpenVINO error, whose first lines name places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from src/")]
    return (told or lines or [type(error).__name__])[0][:300]
