"""Ids of jobs, which name their host where several answer at one address."""

from __future__ import annotations

import re

# What stands in the proxy's map, and in a URL as it is.
_TAG = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def is_host_tag(text: str) -> bool:
    """Whether ``text`` may name a host: up to 32 small letters, digits and hyphens inside."""
    return _TAG.fullmatch(text) is not None


def name_job(secret: str, host: str | None) -> str:
    """``secret`` is what nobody can guess of it, without a dot."""
    return secret if host is None else f"{host}.{secret}"


def host_of_job(job_id: str) -> str | None:
    """The host that the id names, if it names one."""
    tag, dot, _ = job_id.partition(".")
    return tag if dot and is_host_tag(tag) else None
