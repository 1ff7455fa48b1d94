"""Everything that is kept of one customer, into one document."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from shimmy_ops.domain.customers.exporting import export_document
from shimmy_ops.domain.customers.sought import SoughtAddress, SoughtId
from shimmy_ops.ports.new_document import NewDocument
from shimmy_ops.use_cases.find_candidates import Sources
from shimmy_ops.use_cases.find_person import find_person


def export_customer(
    person: SoughtId | SoughtAddress,
    profile: str,
    sources: Sources,
    out: NewDocument,
    now: Callable[[], datetime],
) -> dict[str, Any]:
    """The document, once it is written whole. Raises OpsError; nothing is written then."""
    out.refuse_existing()
    times: dict[str, str] = {}
    found = find_person(person, sources, lambda source: _note(times, source, now()))
    document = export_document(found, profile, times)
    out.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
    return document


def _note(times: dict[str, str], source: str, at: datetime) -> None:
    times[source] = at.isoformat()
