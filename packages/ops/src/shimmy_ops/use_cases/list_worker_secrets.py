"""Which secrets a Worker has: their names, since nobody is told their values."""

from __future__ import annotations

import re

from shimmy_ops.domain.deploying.worker_words import WorkerWords
from shimmy_ops.errors import DeployError
from shimmy_ops.ports.deploying import Commands

_LISTED = re.compile(r'"name"\s*:\s*"(\w+)"')
# What Cloudflare says of a Worker that there is not yet.
_NO_WORKER = re.compile(r"code: 10007|does not exist|not found", re.IGNORECASE)


def list_worker_secrets(words: WorkerWords, commands: Commands) -> frozenset[str] | None:
    """None where there is no Worker yet. Raises DeployError where wrangler does not tell."""
    listed = commands.run(words.list_secrets())
    if not listed.code:
        return frozenset(_LISTED.findall(listed.output))
    if _NO_WORKER.search(listed.output):
        return None
    raise DeployError(
        "wrangler-refused",
        f"Wrangler ended with {listed.code} when listing the Worker's secrets.",
        hint="Its log, in the state folder under deploys, has what it said.",
    )
