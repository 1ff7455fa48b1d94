"""The weights of llama.cpp and their vocabulary.

Every native object is freed exactly once by ``weakref.finalize``; a child's
finalizer holds its parent, so a context is always freed before its weights,
also when the interpreter exits.
"""

from __future__ import annotations

import ctypes
import weakref
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path

import psutil

from shimmy_vision.adapters.engine.llama_bindings import (
    LLAMA_LOAD_MODE_MMAP,
    LLAMA_ROPE_TYPE_IMROPE,
    LLAMA_ROPE_TYPE_MROPE,
    LLAMA_TOKEN_ATTR_CONTROL,
    LLAMA_TOKEN_ATTR_USER_DEFINED,
)
from shimmy_vision.adapters.engine.llama_library import NativeLibrary
from shimmy_vision.errors import LibraryError, ModelError

_MROPE_SECTIONS = 4  # time, line, column, unused: what llama.cpp expects of an embedding


def default_threads() -> int:
    """One per physical core: matrix kernels gain nothing from a core's second thread."""
    return max(1, psutil.cpu_count(logical=False) or psutil.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """How to run: ``gpu_layers`` -1 offloads all layers if a GPU is there, 0 none.

    ``context_size`` is what each of the ``sequences`` may hold.
    """

    threads: int
    gpu_layers: int
    context_size: int
    sequences: int = 1


class TokenPieces:
    """The bytes of each token, one after the other: an object for each would take five times that.

    ``ends`` are where each ends in ``joined``.
    """

    def __init__(self, joined: bytes, ends: Sequence[int]) -> None:
        self._joined = joined
        self._ends = array("q", (0, *ends))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[bytes]:
        return (self[token] for token in range(len(self)))

    def __getitem__(self, token: int) -> bytes:
        if token < 0:
            raise IndexError(token)
        return self._joined[self._ends[token] : self._ends[token + 1]]


class LlamaWeights:
    """The memory-mapped language model and its vocabulary."""

    def __init__(
        self, library: NativeLibrary, path: Path, *, gpu_layers: int, packed: bool = True
    ) -> None:
        """``packed`` False leaves matrices as the file has them, for who never computes with them.

        Raises ModelError model-load-failed with llama.cpp's own reason.
        """
        self.library = library
        c = library.c
        params = c.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.load_mode = LLAMA_LOAD_MODE_MMAP
        params.use_extra_bufts = packed
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
    def pieces(self) -> TokenPieces:
        """The bytes of every token, control tokens spelled out."""
        to_piece, vocabulary = self.library.c.llama_token_to_piece, self.vocabulary
        size = self.vocabulary_size * 16
        buffer = ctypes.create_string_buffer(size)
        start, end, ends = ctypes.addressof(buffer), 0, []
        for token in range(self.vocabulary_size):
            n = to_piece(vocabulary, token, start + end, size - end, 0, True)
            if n < 0:
                size = 2 * size - n
                larger = ctypes.create_string_buffer(size)
                ctypes.memmove(larger, buffer, end)
                buffer, start = larger, ctypes.addressof(larger)
                n = to_piece(vocabulary, token, start + end, size - end, 0, True)
            end += n
            ends.append(end)
        return TokenPieces(ctypes.string_at(start, end), ends)

    @cached_property
    def control_tokens(self) -> frozenset[int]:
        """Tokens that never stand for text of an answer."""
        c, vocabulary = self.library.c, self.vocabulary
        attributes = map(c.llama_vocab_get_attr, repeat(vocabulary), range(self.vocabulary_size))
        doubtful = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED
        return frozenset(
            token
            for token, one in enumerate(attributes)
            if one & doubtful and self._is_control(token, one)
        )

    def _is_control(self, token: int, attributes: int) -> bool:
        if attributes & LLAMA_TOKEN_ATTR_CONTROL:
            return True
        piece = self.pieces[token]
        return piece.startswith(b"<") and piece.endswith(b">")

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
