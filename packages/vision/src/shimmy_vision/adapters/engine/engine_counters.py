"""What an engine did so far, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class EngineCounters:
    """Only ever grow, over all engines that were opened one after another.

    Each is written by one thread or under a lock, and read by anybody at any time.
    ``decode_sequences`` sums up how many sequences took part in each of the ``decode_calls``.
    """

    engine_loads: int = 0
    engine_unloads: int = 0
    decode_calls: int = 0
    decode_tokens: int = 0
    decode_sequences: int = 0
    encoded_slices: int = 0
