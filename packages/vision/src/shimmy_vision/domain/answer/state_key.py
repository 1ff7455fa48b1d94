"""When two sequences of the language model hold the same."""

from __future__ import annotations

import hashlib
import json


def state_key(model_sha256: str, tokens: list[int], tile_digest: str = "") -> str:
    """SHA-256, in hex, of the model, the ``tokens`` fed so far and the tile between or after them.

    ``tile_digest`` is empty before there is a tile; with it ``tokens`` are those before the tile,
    whose own markup its digest covers.
    """
    return hashlib.sha256(json.dumps([model_sha256, tokens, tile_digest]).encode()).hexdigest()
