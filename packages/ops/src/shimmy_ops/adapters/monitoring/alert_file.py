"""The ``AlertBook`` port: ``alerts.json``, and a lock beside it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.domain.monitoring.alerting import KnownAlert, Told
from shimmy_ops.errors import MonitorError

_FORMAT = 1


class AlertFile:
    """Two samplers take turns, so that nobody is told twice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Sequence[KnownAlert]:
        return read_alerts(self._path)

    @contextmanager
    def hold(self) -> Iterator[_Held]:
        lock = self._path.with_name(f".{self._path.name}.lock")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self._path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield _Held(self._path)
        finally:
            os.close(descriptor)


class _Held:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Sequence[KnownAlert]:
        return read_alerts(self._path)

    def keep(self, alerts: Sequence[KnownAlert]) -> None:
        document = {"format": _FORMAT, "alerts": [_document(one) for one in alerts]}
        write_private(self._path, json.dumps(document, indent=1) + "\n")


def read_alerts(path: Path) -> Sequence[KnownAlert]:
    """What is known; nothing before the first sample. Raises MonitorError."""
    try:
        document = json.loads(path.read_text())
        if document["format"] != _FORMAT:
            raise MonitorError(
                "alerts-newer", f"{path} was made by a newer shimmy-ops.", hint="Use that one."
            )
        return [_alert(one) for one in document["alerts"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unusable(path, error) from error


def _document(one: KnownAlert) -> dict[str, Any]:
    told = {
        name: {"state": each.state, "at": each.at.isoformat()} for name, each in one.told.items()
    }
    return {
        "key": one.key,
        "rule": one.rule,
        "title": one.title,
        "detail": one.detail,
        "severity": one.severity,
        "state": one.state,
        "since": one.since.isoformat(),
        "told": told,
        "failed": list(one.failed),
    }


def _alert(one: Mapping[str, Any]) -> KnownAlert:
    told = {
        name: Told(each["state"], datetime.fromisoformat(each["at"]))
        for name, each in one["told"].items()
    }
    since = datetime.fromisoformat(one["since"])
    return KnownAlert(**{**one, "since": since, "told": told, "failed": tuple(one["failed"])})


def _unusable(path: Path, error: Exception) -> MonitorError:
    return MonitorError(
        "alerts-unusable",
        f"{path} cannot be used: {type(error).__name__}.",
        hint="If it is damaged, move it away: alerts that last are then told once more.",
    )
