"""What this machine is, for ``shimmy doctor``."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil

from shimmy_vision.domain.diagnosis import MachineFacts


def read_machine_facts() -> MachineFacts:
    """As they are now; memory in bytes."""
    memory = psutil.virtual_memory()
    return MachineFacts(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        physical_cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        total_memory=memory.total,
        available_memory=memory.available,
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
