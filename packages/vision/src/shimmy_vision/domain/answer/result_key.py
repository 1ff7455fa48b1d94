"""When two requests ask for the very same: the name under which a result is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from shimmy_vision.domain.answer.analysis_request import AnalysisRequest
from shimmy_vision.domain.image.pixels import RgbPixels


def result_key(
    pixels: RgbPixels,
    models: tuple[str, str],
    request: AnalysisRequest,
    besides: Mapping[str, Any] | None = None,
) -> str:
    """SHA-256, in hex, of everything that a result depends on.

    ``models`` are the digests of language model and projector; ``besides`` is what else the result
    tells: the file's format, a document's page with its own text. Whether a kept result may be
    given at all is no part of it.
    """
    asked = {**asdict(request), "cache": None}
    kind = type(request.question).__name__
    # Not sorted: the order of a schema's properties is the order in which they are answered.
    said = json.dumps([pixels.shape, models, kind, asked, besides], default=str)
    digest = hashlib.sha256(said.encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
