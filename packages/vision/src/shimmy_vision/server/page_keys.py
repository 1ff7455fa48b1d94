"""``Idempotency-Key``: a request that is sent again under its key counts its pages once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace

from shimmy_vision.errors import UsageError
from shimmy_vision.ports.analyst import Job, UrlJob

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def read_page_key(headers: Mapping[str, str]) -> str:
    """The request's key, empty without one. Raises UsageError idempotency-key-malformed."""
    given = headers.get(HEADER, "").strip()
    return check_page_key(given) if given else ""


def check_page_key(given: str) -> str:
    """``given``, if it may be a key. Raises UsageError idempotency-key-malformed."""
    if _KEY.fullmatch(given) is None:
        raise UsageError(
            "idempotency-key-malformed",
            f"{HEADER} has up to 255 visible ASCII characters.",
            hint="A UUID will do: a new one for each analysis, the same one for each try of it.",
        )
    return given


def name_pages(job: Job, key: str, seed: int | None) -> Job:
    """``job`` with a name for its pages under ``key``: the same file, asked the same.

    The key alone would have everything that is sent under it counted once. What a URL leads to may
    be something else each time, so pages found there have no name. ``seed`` is the client's own,
    as one that the server chose is another with each try. Hashes the whole file.
    """
    if not key or isinstance(job, UrlJob):
        return job
    asked = asdict(job.request)
    asked.get("analysis", asked)["limits"]["seed"] = seed
    digest = hashlib.sha256(f"{key}\0{json.dumps(asked, sort_keys=True)}\0".encode())
    digest.update(job.data)
    return replace(job, key=digest.hexdigest())
