"""ctypes bindings for the part of llama.cpp and libmtmd that Shimmy Vision uses.

C names, C layouts, no policy. Written from ``llama.h``, ``mtmd.h``,
``mtmd-helper.h`` and ``ggml-backend.h`` of llama.cpp 0c1e57098, the revision
inside llama-cpp-python 0.3.36; ``tests/adapters/test_llama_bindings.py`` holds
every structure against llama-cpp-python's own declarations.

Why not import ``llama_cpp``: its package loads the library as a side effect of
the import, by soname search, and drags in chat formats and caches. Here the
caller names the folder and the libraries load by absolute path, in order.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_size_t,
    c_ubyte,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

LLAMA_FLASH_ATTN_TYPE_AUTO = -1
LLAMA_LOAD_MODE_MMAP = 1
LLAMA_ROPE_TYPE_MROPE = 8
LLAMA_ROPE_TYPE_IMROPE = 40
LLAMA_TOKEN_ATTR_CONTROL = 1 << 3
LLAMA_TOKEN_ATTR_USER_DEFINED = 1 << 4
LLAMA_STATE_SEQ_FLAGS_NONE = 0
MTMD_INPUT_CHUNK_TYPE_TEXT = 0
MTMD_INPUT_CHUNK_TYPE_IMAGE = 1
GGML_BACKEND_DEVICE_TYPE_GPU = 1

# llama_decode's return values, from llama.h
LLAMA_DECODE_NO_KV_SLOT = 1
LLAMA_DECODE_ABORTED = 2

llama_token = c_int32
llama_pos = c_int32
llama_seq_id = c_int32

ggml_log_callback = CFUNCTYPE(None, c_int, c_char_p, c_void_p)
ggml_abort_callback = CFUNCTYPE(c_bool, c_void_p)
ggml_backend_sched_eval_callback = CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)
llama_progress_callback = CFUNCTYPE(c_bool, c_float, c_void_p)


class llama_model_params(Structure):
    _fields_ = [
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int),
        ("load_mode", c_int),
        ("lazy_mode", c_int),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", llama_progress_callback),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    ]


class llama_context_params(Structure):
    _fields_ = [
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int),
        ("rope_scaling_type", c_int),
        ("pooling_type", c_int),
        ("attention_type", c_int),
        ("flash_attn_type", c_int),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", ggml_backend_sched_eval_callback),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int),
        ("type_v", c_int),
        ("abort_callback", ggml_abort_callback),
        ("abort_callback_data", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    ]


class llama_batch(Structure):
    _fields_ = [
        ("n_tokens", c_int32),
        ("token", POINTER(llama_token)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(llama_pos)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(llama_seq_id))),
        ("logits", POINTER(c_int8)),
    ]


class mtmd_context_params(Structure):
    _fields_ = [
        ("use_gpu", c_bool),
        ("device", c_void_p),
        ("print_timings", c_bool),
        ("n_threads", c_int),
        ("image_marker", c_char_p),
        ("media_marker", c_char_p),
        ("flash_attn_type", c_int),
        ("warmup", c_bool),
        ("image_min_tokens", c_int),
        ("image_max_tokens", c_int),
        ("cb_eval", ggml_backend_sched_eval_callback),
        ("cb_eval_user_data", c_void_p),
        ("batch_max_tokens", c_int32),
        ("progress_callback", llama_progress_callback),
        ("progress_callback_user_data", c_void_p),
    ]


class mtmd_input_text(Structure):
    _fields_ = [
        ("text", c_char_p),
        ("text_len", c_size_t),
        ("add_special", c_bool),
        ("parse_special", c_bool),
    ]


class mtmd_decoder_pos(Structure):
    _fields_ = [("t", c_uint32), ("x", c_uint32), ("y", c_uint32), ("z", c_uint32)]


_P = c_void_p
_FUNCTIONS: dict[str, dict[str, tuple[object, list[object]]]] = {
    "ggml-base": {
        "ggml_log_set": (None, [ggml_log_callback, _P]),
        "ggml_backend_cpu_buffer_type": (_P, []),
        "ggml_backend_buffer_get_base": (_P, [_P]),
    },
    "ggml": {
        "ggml_backend_dev_count": (c_size_t, []),
        "ggml_backend_dev_get": (_P, [c_size_t]),
        "ggml_backend_dev_name": (c_char_p, [_P]),
        "ggml_backend_dev_description": (c_char_p, [_P]),
        "ggml_backend_dev_type": (c_int, [_P]),
        "ggml_backend_dev_memory": (None, [_P, POINTER(c_size_t), POINTER(c_size_t)]),
    },
    "llama": {
        "llama_backend_init": (None, []),
        "llama_print_system_info": (c_char_p, []),
        "llama_supports_gpu_offload": (c_bool, []),
        "llama_log_set": (None, [ggml_log_callback, _P]),
        "llama_model_default_params": (llama_model_params, []),
        "llama_context_default_params": (llama_context_params, []),
        "llama_model_load_from_file": (_P, [c_char_p, llama_model_params]),
        "llama_model_free": (None, [_P]),
        "llama_init_from_model": (_P, [_P, llama_context_params]),
        "llama_free": (None, [_P]),
        "llama_n_ctx": (c_uint32, [_P]),
        "llama_n_ctx_seq": (c_uint32, [_P]),
        "llama_n_seq_max": (c_uint32, [_P]),
        "llama_n_batch": (c_uint32, [_P]),
        "llama_get_memory": (_P, [_P]),
        "llama_memory_seq_rm": (c_bool, [_P, llama_seq_id, llama_pos, llama_pos]),
        "llama_memory_seq_pos_max": (llama_pos, [_P, llama_seq_id]),
        "llama_state_seq_get_size_ext": (c_size_t, [_P, llama_seq_id, c_uint32]),
        "llama_state_seq_get_data_ext": (
            c_size_t,
            [_P, POINTER(c_ubyte), c_size_t, llama_seq_id, c_uint32],
        ),
        "llama_state_seq_set_data_ext": (
            c_size_t,
            [_P, POINTER(c_ubyte), c_size_t, llama_seq_id, c_uint32],
        ),
        "llama_model_get_vocab": (_P, [_P]),
        "llama_model_rope_type": (c_int, [_P]),
        "llama_model_n_embd_inp": (c_int32, [_P]),
        "llama_model_n_ctx_train": (c_int32, [_P]),
        "llama_model_size": (c_uint64, [_P]),
        "llama_vocab_n_tokens": (c_int32, [_P]),
        "llama_vocab_eos": (llama_token, [_P]),
        "llama_vocab_is_eog": (c_bool, [_P, llama_token]),
        "llama_vocab_get_attr": (c_int, [_P, llama_token]),
        "llama_token_to_piece": (c_int32, [_P, llama_token, _P, c_int32, c_int32, c_bool]),
        "llama_tokenize": (
            c_int32,
            [_P, c_char_p, c_int32, POINTER(llama_token), c_int32, c_bool, c_bool],
        ),
        "llama_decode": (c_int32, [_P, llama_batch]),
        "llama_get_logits_ith": (POINTER(c_float), [_P, c_int32]),
        "llama_set_abort_callback": (None, [_P, _P, _P]),
    },
    "mtmd": {
        "mtmd_default_marker": (c_char_p, []),
        "mtmd_context_params_default": (mtmd_context_params, []),
        "mtmd_init_from_file": (_P, [c_char_p, _P, mtmd_context_params]),
        "mtmd_free": (None, [_P]),
        "mtmd_helper_log_set": (None, [ggml_log_callback, _P]),
        "mtmd_support_vision": (c_bool, [_P]),
        "mtmd_decode_use_mrope": (c_bool, [_P]),
        "mtmd_bitmap_init": (_P, [c_uint32, c_uint32, POINTER(c_ubyte)]),
        "mtmd_bitmap_free": (None, [_P]),
        "mtmd_input_chunks_init": (_P, []),
        "mtmd_input_chunks_size": (c_size_t, [_P]),
        "mtmd_input_chunks_get": (_P, [_P, c_size_t]),
        "mtmd_input_chunks_free": (None, [_P]),
        "mtmd_input_chunk_get_type": (c_int, [_P]),
        "mtmd_input_chunk_get_n_tokens": (c_size_t, [_P]),
        "mtmd_input_chunk_get_n_pos": (llama_pos, [_P]),
        "mtmd_input_chunk_get_tokens_text": (POINTER(llama_token), [_P, POINTER(c_size_t)]),
        "mtmd_input_chunk_get_tokens_image": (_P, [_P]),
        "mtmd_image_tokens_get_decoder_pos": (mtmd_decoder_pos, [_P, llama_pos, c_size_t]),
        "mtmd_tokenize": (
            c_int32,
            [_P, _P, POINTER(mtmd_input_text), POINTER(c_void_p), c_size_t],
        ),
        "mtmd_encode_chunk": (c_int32, [_P, _P]),
        "mtmd_get_output_embd": (POINTER(c_float), [_P]),
        "mtmd_helper_decode_image_chunk": (
            c_int32,
            [
                _P,
                _P,
                _P,
                POINTER(c_float),
                llama_pos,
                llama_seq_id,
                c_int32,
                POINTER(llama_pos),
                _P,
                _P,
            ],
        ),
    },
}

# Dependencies first, so that each later library finds the earlier ones already loaded.
LOAD_ORDER = ("ggml-base", "ggml-cpu", "ggml-cuda", "ggml-metal", "ggml", "llama", "mtmd")
REQUIRED = frozenset({"ggml-base", "ggml-cpu", "ggml", "llama", "mtmd"})


def library_file_name(stem: str) -> str:
    """``llama`` → ``libllama.so``, ``libllama.dylib`` or ``llama.dll``."""
    if sys.platform == "win32":
        return f"{stem}.dll"
    return f"lib{stem}.{'dylib' if sys.platform == 'darwin' else 'so'}"


def load_folder(directory: Path) -> dict[str, ctypes.CDLL]:
    """Every library of ``LOAD_ORDER`` found in ``directory``, by its stem.

    Raises OSError (from ctypes) if one cannot be loaded: the caller translates.
    """
    loaded: dict[str, ctypes.CDLL] = {}
    for stem in LOAD_ORDER:
        path = directory / library_file_name(stem)
        if stem in REQUIRED or path.exists():
            loaded[stem] = ctypes.CDLL(str(path.resolve()))
    return loaded


class LlamaLibrary:
    """The loaded functions as attributes under their C names."""

    def __init__(self, loaded: Mapping[str, ctypes.CDLL]) -> None:
        """Bind the libraries that were ``loaded``, by their stems.

        Raises AttributeError if a function is missing: the caller translates.
        """
        self._loaded = dict(loaded)
        for stem, functions in _FUNCTIONS.items():
            for name, (restype, argtypes) in functions.items():
                function = getattr(self._loaded[stem], name)
                function.restype = restype
                function.argtypes = argtypes
                setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        # Only reached for names that were never bound.
        raise AttributeError(f"llama.cpp function not bound: {name}")

    def address_of(self, name: str) -> int:
        """The C address of a bound function, for libraries that call it themselves."""
        return ctypes.cast(getattr(self, name), c_void_p).value or 0
