"""Weights and one decoding context of llama.cpp, with their lifetimes.

Every native object is freed exactly once by ``weakref.finalize``; a child's
finalizer holds its parent, so a context is always freed before its weights,
also when the interpreter exits.
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.llama_bindings import (
    LLAMA_DECODE_ABORTED,
    LLAMA_DECODE_NO_KV_SLOT,
    LLAMA_FLASH_ATTN_TYPE_AUTO,
    LLAMA_LOAD_MODE_MMAP,
    LLAMA_ROPE_TYPE_IMROPE,
    LLAMA_ROPE_TYPE_MROPE,
    LLAMA_TOKEN_ATTR_CONTROL,
    LLAMA_TOKEN_ATTR_USER_DEFINED,
    llama_batch,
)
from shimmy_vision.adapters.llama_library import AbortFlag, NativeLibrary
from shimmy_vision.errors import LibraryError, ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows

BATCH_TOKENS = 512

_MROPE_SECTIONS = 4  # time, line, column, unused: what llama.cpp expects of an embedding


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """How to run: ``gpu_layers`` -1 offloads all layers if a GPU is there, 0 none."""

    threads: int
    gpu_layers: int
    context_size: int


class LlamaWeights:
    """The memory-mapped language model and its vocabulary."""

    def __init__(self, library: NativeLibrary, path: Path, *, gpu_layers: int) -> None:
        """Raises ModelError model-load-failed with llama.cpp's own reason."""
        self.library = library
        c = library.c
        params = c.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.load_mode = LLAMA_LOAD_MODE_MMAP
        library.log.clear()
        self.pointer = c.llama_model_load_from_file(str(path).encode(), params)
        if not self.pointer:
            raise ModelError(
                "model-load-failed",
                f"llama.cpp refused {path.name}: {library.log.cause() or 'no reason given'}",
                hint="Check the files with: shimmy models verify",
            )
        self.close = weakref.finalize(self, c.llama_model_free, self.pointer)
        self.vocabulary = c.llama_model_get_vocab(self.pointer)
        self.vocabulary_size: int = c.llama_vocab_n_tokens(self.vocabulary)
        self.embedding_width: int = c.llama_model_n_embd_inp(self.pointer)
        sectioned = (LLAMA_ROPE_TYPE_MROPE, LLAMA_ROPE_TYPE_IMROPE)
        rope_type = c.llama_model_rope_type(self.pointer)
        self.position_sections = _MROPE_SECTIONS if rope_type in sectioned else 1

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every token, control tokens spelled out."""
        c, size = self.library.c, 256
        buffer = ctypes.create_string_buffer(size)
        address = ctypes.addressof(buffer)
        pieces = []
        for token in range(self.vocabulary_size):
            n = c.llama_token_to_piece(self.vocabulary, token, address, size, 0, True)
            if n < 0:
                size = -n
                buffer = ctypes.create_string_buffer(size)
                address = ctypes.addressof(buffer)
                n = c.llama_token_to_piece(self.vocabulary, token, address, size, 0, True)
            pieces.append(buffer.raw[:n])
        return pieces

    @cached_property
    def control_tokens(self) -> frozenset[int]:
        """Tokens that never stand for text of an answer."""
        c = self.library.c

        def is_control(token: int) -> bool:
            attributes = c.llama_vocab_get_attr(self.vocabulary, token)
            if attributes & LLAMA_TOKEN_ATTR_CONTROL:
                return True
            piece = self.pieces[token]
            looks_so = piece.startswith(b"<") and piece.endswith(b">")
            return bool(attributes & LLAMA_TOKEN_ATTR_USER_DEFINED) and looks_so

        return frozenset(filter(is_control, range(self.vocabulary_size)))

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """Tokens that end an answer, the vocabulary's own end token first."""
        c = self.library.c
        own = int(c.llama_vocab_eos(self.vocabulary))
        others = (
            token
            for token in sorted(self.control_tokens)
            if token != own and c.llama_vocab_is_eog(self.vocabulary, token)
        )
        return (own, *others)

    def tokenize(self, text: str, *, special: bool, first: bool = False) -> list[int]:
        """Token ids; ``first`` adds the vocabulary's opening token where it has one."""
        data = text.encode()
        capacity = len(data) + 8
        tokens = (ctypes.c_int32 * capacity)()
        n = self.library.c.llama_tokenize(
            self.vocabulary, data, len(data), tokens, capacity, first, special
        )
        if n < 0:
            raise LibraryError(
                "tokenize-failed", f"llama.cpp could not tokenize {len(data)} bytes."
            )
        return tokens[:n]


class LlamaContext:
    """One sequence over the weights: the ``LanguageModel`` port."""

    def __init__(self, weights: LlamaWeights, options: ComputeOptions) -> None:
        """Raises LibraryError context-failed when memory does not suffice."""
        self._weights = weights
        self._abort = AbortFlag()
        c = weights.library.c
        params = c.llama_context_default_params()
        params.n_ctx = options.context_size
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO
        params.no_perf = True
        weights.library.log.clear()
        self.pointer = c.llama_init_from_model(weights.pointer, params)
        if not self.pointer:
            raise LibraryError(
                "context-failed",
                f"llama.cpp could not reserve a context of {options.context_size} positions: "
                f"{weights.library.log.cause() or 'no reason given'}",
                hint="Free memory or lower --max-tokens.",
                retryable=True,
            )
        c.llama_set_abort_callback(
            self.pointer, self._abort.callback_address, self._abort.data_address
        )
        self.close = weakref.finalize(self, _free_context, weights, self._abort, self.pointer)
        self._memory = c.llama_get_memory(self.pointer)
        self._batch_size: int = c.llama_n_batch(self.pointer)  # less than asked in small contexts
        self._position = 0
        self._passes = 0

    @property
    def context_size(self) -> int:
        return int(self._weights.library.c.llama_n_ctx(self.pointer))

    @property
    def position(self) -> int:
        return self._position

    @property
    def forward_passes(self) -> int:
        return self._passes

    def reset(self) -> None:
        self._weights.library.c.llama_memory_clear(self._memory, True)
        self._position = 0
        self._passes = 0

    def tokenize(self, text: str, *, special: bool, first: bool = False) -> list[int]:
        return self._weights.tokenize(text, special=special, first=first)

    def token_bytes(self, token: int) -> bytes:
        return b"" if token in self._weights.control_tokens else self._weights.pieces[token]

    def is_end(self, token: int) -> bool:
        return token in self._weights.end_tokens

    def evaluate_tokens(self, tokens: list[int], cancellation: Cancellation) -> None:
        self._reserve(len(tokens))
        for start in range(0, len(tokens), self._batch_size):
            part = np.asarray(tokens[start : start + self._batch_size], dtype=np.int32)
            positions = np.arange(self._position, self._position + len(part), dtype=np.int32)
            batch = llama_batch(
                n_tokens=len(part), token=_int32_pointer(part), pos=_int32_pointer(positions)
            )
            self._decode(batch, cancellation)
            self._position += len(part)

    def evaluate_rows(self, rows: EmbeddingRows, cancellation: Cancellation) -> None:
        count, width = rows.rows.shape
        if width != self._weights.embedding_width:
            raise LibraryError(
                "embedding-width-mismatch",
                f"The image encoder produced rows of {width}, "
                f"the language model takes {self._weights.embedding_width}.",
            )
        self._reserve(count)
        for start in range(0, count, self._batch_size):
            part = np.ascontiguousarray(rows.rows[start : start + self._batch_size])
            run = np.arange(self._position, self._position + len(part), dtype=np.int32)
            # llama.cpp wants the positions of embeddings section by section.
            positions = np.tile(run, self._weights.position_sections)
            batch = llama_batch(
                n_tokens=len(part),
                embd=part.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                pos=_int32_pointer(positions),
            )
            self._decode(batch, cancellation)
            self._position += len(part)

    def logits(self) -> NDArray[np.float32]:
        pointer = self._weights.library.c.llama_get_logits_ith(self.pointer, -1)
        if not pointer:
            raise LibraryError("logits-missing", "llama.cpp kept no scores for the last token.")
        return np.ctypeslib.as_array(pointer, shape=(self._weights.vocabulary_size,))

    def _reserve(self, count: int) -> None:
        """Refuse what does not fit: llama.cpp aborts the process on some overfull batches."""
        if self._position + count > self.context_size:
            raise LibraryError(
                "context-full",
                f"{self._position + count} positions do not fit the context of "
                f"{self.context_size}.",
                hint="Lower --max-tokens or use a shorter --prompt.",
            )

    def _decode(self, batch: llama_batch, cancellation: Cancellation) -> None:
        cancellation.check()
        self._abort.clear()
        with cancellation.when_cancelled(self._abort.set):
            status = self._weights.library.c.llama_decode(self.pointer, batch)
        self._passes += 1
        if status == 0:
            return
        cancellation.check()
        if status == LLAMA_DECODE_NO_KV_SLOT:
            raise LibraryError(
                "context-full",
                f"The answer does not fit the context of {self.context_size} positions.",
                hint="Lower --max-tokens or use a shorter --prompt.",
            )
        state = "was aborted" if status == LLAMA_DECODE_ABORTED else f"failed with status {status}"
        cause = self._weights.library.log.cause()
        raise LibraryError("decode-failed", f"llama.cpp's decoder {state}. {cause}".strip())


def _int32_pointer(array: NDArray[np.int32]) -> ctypes._Pointer[ctypes.c_int32]:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))


def _free_context(weights: LlamaWeights, _abort: AbortFlag, pointer: int) -> None:
    # Holds the weights and the abort flag's buffer until the context is gone.
    weights.library.c.llama_free(pointer)
