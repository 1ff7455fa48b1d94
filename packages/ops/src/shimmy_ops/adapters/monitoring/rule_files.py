"""Files for Prometheus and Grafana; nothing in them is secret, and others must read them."""

from __future__ import annotations

from pathlib import Path

from shimmy_ops.errors import MonitorError


def write_rule_file(path: Path, text: str) -> None:
    """Whole or not at all; folders are made. Raises MonitorError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise MonitorError(
            "rules-unwritable", f"{path} cannot be written: {error.strerror}."
        ) from error
