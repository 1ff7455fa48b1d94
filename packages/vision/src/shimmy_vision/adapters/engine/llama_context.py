"""One decoding context of llama.cpp, for several sequences; one thread at a time.

Each sequence has memory of its own (``kv_unified`` False), so one that holds much slows no other.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.llama_bindings import (
    LLAMA_DECODE_ABORTED,
    LLAMA_DECODE_NO_KV_SLOT,
    LLAMA_FLASH_ATTN_TYPE_AUTO,
    LLAMA_STATE_SEQ_FLAGS_NONE,
    llama_batch,
)
from shimmy_vision.adapters.engine.llama_library import AbortFlag
from shimmy_vision.adapters.engine.llama_model import ComputeOptions, LlamaWeights
from shimmy_vision.adapters.engine.unused_memory import SequenceMemory
from shimmy_vision.errors import LibraryError

BATCH_TOKENS = 512


@dataclass(frozen=True, slots=True)
class BatchPart:
    """What one sequence feeds in one step, from ``position`` on.

    ``content`` is int32 token ids of shape (n,) or float32 rows of shape (n, embedding width);
    ``scored`` asks for the scores after the last of it.
    """

    sequence: int
    position: int
    content: NDArray[np.int32] | NDArray[np.float32]
    scored: bool


class LlamaContext:
    """The native context; its caller sees to it that only one thread is in here."""

    def __init__(self, weights: LlamaWeights, options: ComputeOptions) -> None:
        """Raises LibraryError context-failed when memory does not suffice."""
        self.weights = weights
        self.abort = AbortFlag()
        c = weights.library.c
        params = c.llama_context_default_params()
        params.n_ctx = options.context_size * options.sequences
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = options.sequences
        params.kv_unified = False
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO
        params.no_perf = True
        weights.library.log.clear()
        self._reserved = SequenceMemory()
        with self._reserved.watched(weights.library):
            self.pointer = c.llama_init_from_model(weights.pointer, params)
            if not self.pointer:
                raise _no_context(weights, options)
        c.llama_set_abort_callback(
            self.pointer, self.abort.callback_address, self.abort.data_address
        )
        self.close = weakref.finalize(self, _free_context, weights, self.abort, self.pointer)
        self._memory = c.llama_get_memory(self.pointer)
        self.sequences: int = c.llama_n_seq_max(self.pointer)
        self.context_size: int = c.llama_n_ctx_seq(self.pointer)
        self.batch_size: int = c.llama_n_batch(self.pointer)  # less than asked in small contexts
        self._addresses = _SequenceAddresses(self.sequences)
        self._reserved.give_back()

    def decode(self, parts: Sequence[BatchPart]) -> list[NDArray[np.float32] | None]:
        """One ``llama_decode`` of ``parts``, all tokens or all rows; the scores asked for, copied.

        The scores have shape (vocabulary,). Raises LibraryError; the memory of the sequences that
        took part is unknown then, and has to be cleared.
        """
        content = np.concatenate([part.content for part in parts])
        lengths = [len(part.content) for part in parts]
        spans = [np.arange(part.position, part.position + len(part.content)) for part in parts]
        positions = np.concatenate(spans).astype(np.int32)
        ends = np.cumsum(lengths) - 1
        scored = np.zeros(len(content), dtype=np.int8)
        scored[ends] = [part.scored for part in parts]
        counts = np.ones(len(content), dtype=np.int32)
        sequences = self._addresses.of([part.sequence for part in parts], lengths)
        batch = llama_batch(
            n_tokens=len(content),
            n_seq_id=_int32_pointer(counts),
            seq_id=ctypes.cast(sequences.ctypes.data, _SEQUENCES),
            logits=scored.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
        if content.ndim == 1:
            batch.token = _int32_pointer(content)
        else:
            batch.embd = content.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            # llama.cpp wants the positions of embeddings section by section.
            positions = np.tile(positions, self.weights.position_sections)
        batch.pos = _int32_pointer(positions)
        status = self.weights.library.c.llama_decode(self.pointer, batch)
        if status != 0:
            raise self._error(status)
        return [self._scores(int(end)) if scored[end] else None for end in ends]

    def clear(self, sequence: int) -> None:
        """Forget one sequence as a whole, which never fails."""
        self.weights.library.c.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def rest(self) -> None:
        """Forget all sequences, and hold no memory for them until they are used again."""
        for sequence in range(self.sequences):
            self.clear(sequence)
        self._reserved.give_back()

    def held(self, sequence: int) -> int:
        """How many positions ``sequence`` holds."""
        return int(self.weights.library.c.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def state_bytes(self, sequence: int) -> int:
        """How large a snapshot would be."""
        size = self.weights.library.c.llama_state_seq_get_size_ext(
            self.pointer, sequence, LLAMA_STATE_SEQ_FLAGS_NONE
        )
        return int(size)

    def snapshot(self, sequence: int) -> NDArray[np.uint8]:
        """Everything that ``sequence`` holds, copied. Raises LibraryError."""
        size = self.state_bytes(sequence)
        state = np.empty(size, dtype=np.uint8)
        written = self.weights.library.c.llama_state_seq_get_data_ext(
            self.pointer, _bytes_pointer(state), size, sequence, LLAMA_STATE_SEQ_FLAGS_NONE
        )
        if written != size:
            raise LibraryError("state-not-read", "llama.cpp did not give a sequence's state.")
        return state

    def restore(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Make ``sequence`` hold what ``state`` does; on False it holds nothing."""
        self.clear(sequence)
        read = self.weights.library.c.llama_state_seq_set_data_ext(
            self.pointer, _bytes_pointer(state), len(state), sequence, LLAMA_STATE_SEQ_FLAGS_NONE
        )
        if read != len(state):
            self.clear(sequence)
        return bool(read == len(state))

    def _scores(self, index: int) -> NDArray[np.float32]:
        pointer = self.weights.library.c.llama_get_logits_ith(self.pointer, index)
        if not pointer:
            raise LibraryError("logits-missing", "llama.cpp kept no scores for the last token.")
        return np.ctypeslib.as_array(pointer, shape=(self.weights.vocabulary_size,)).copy()

    def _error(self, status: int) -> LibraryError:
        if status == LLAMA_DECODE_NO_KV_SLOT:
            return LibraryError(
                "context-full",
                f"The answer does not fit the context of {self.context_size} positions.",
                hint="Lower --max-tokens or use a shorter --prompt.",
            )
        state = "was aborted" if status == LLAMA_DECODE_ABORTED else f"failed with status {status}"
        cause = self.weights.library.log.cause()
        return LibraryError("decode-failed", f"llama.cpp's decoder {state}. {cause}".strip())


_SEQUENCES = ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))


class _SequenceAddresses:
    """A batch names each token's sequences by a pointer to their numbers."""

    def __init__(self, count: int) -> None:
        self._numbers = np.arange(count, dtype=np.int32)
        start, step = self._numbers.ctypes.data, self._numbers.itemsize
        self._addresses = np.arange(start, start + count * step, step, dtype=np.uintp)

    def of(self, sequences: list[int], lengths: list[int]) -> NDArray[np.uintp]:
        """One address for each token: ``lengths`` of them for each of ``sequences``."""
        return np.repeat(self._addresses[sequences], lengths)


def _int32_pointer(array: NDArray[np.int32]) -> ctypes._Pointer[ctypes.c_int32]:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))


def _bytes_pointer(array: NDArray[np.uint8]) -> ctypes._Pointer[ctypes.c_ubyte]:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte))


def _no_context(weights: LlamaWeights, options: ComputeOptions) -> LibraryError:
    return LibraryError(
        "context-failed",
        f"llama.cpp could not reserve {options.sequences} context(s) of "
        f"{options.context_size} positions: "
        f"{weights.library.log.cause() or 'no reason given'}",
        hint="Free memory, lower --max-tokens, or analyse less at once.",
        retryable=True,
    )


def _free_context(weights: LlamaWeights, _abort: AbortFlag, pointer: int) -> None:
    # Holds the weights and the abort flag's buffer until the context is gone.
    weights.library.c.llama_free(pointer)
