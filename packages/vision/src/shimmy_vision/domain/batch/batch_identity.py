"""What makes two runs the same batch, and two tries at a row the same page."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shimmy_vision.domain.answer.analysis_request import DocumentRequest

_FORM = 1
_HEX = re.compile(r"[0-9a-f]{32,64}")


@dataclass(frozen=True, slots=True)
class BatchIdentity:
    """``batch`` is random, made with the output; ``asked`` is the digest of what is asked."""

    batch: str
    asked: str


def digest_request(request: DocumentRequest, *, more: Mapping[str, Any] | None = None) -> str:
    """The same for two requests whose answers may stand in one output; ``more`` is what else

    they depend on, like the wanted model.
    """
    kind = type(request.analysis.question).__name__
    # Not sorted: the order of a schema's properties is the order in which they are answered.
    said = json.dumps([kind, asdict(request), more or {}], default=str)
    return hashlib.sha256(said.encode()).hexdigest()


def page_key(identity: BatchIdentity, name: str, sha256: str) -> str:
    """What a row's pages are counted under, however often it is done in this batch."""
    said = json.dumps([identity.batch, identity.asked, name, sha256])
    return hashlib.sha256(said.encode()).hexdigest()


def identity_record(identity: BatchIdentity) -> dict[str, Any]:
    """What is kept beside the output."""
    return {"form": _FORM, "batch": identity.batch, "asked": identity.asked}


def read_identity(record: Mapping[str, Any]) -> BatchIdentity | None:
    """What ``identity_record`` told; None where it is something else."""
    batch, asked = record.get("batch"), record.get("asked")
    if record.get("form") != _FORM or not isinstance(batch, str) or not isinstance(asked, str):
        return None
    if _HEX.fullmatch(batch) is None or _HEX.fullmatch(asked) is None:
        return None
    return BatchIdentity(batch, asked)
