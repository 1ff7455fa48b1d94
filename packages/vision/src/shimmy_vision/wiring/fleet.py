"""The engine of a fleet: MiniCPM-V that another machine serves by vLLM."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from shimmy_vision.adapters.remote.vllm_model import VllmModel
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.licence.licensor import is_loopback
from shimmy_vision.domain.model.remote_identity import ServedElsewhere, refuse_address
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineDescription, RemoteEncoder, RemoteEngine
from shimmy_vision.settings import Settings


def open_remote_engine(
    settings: Settings, _granted: Granted, cancellation: Cancellation
) -> RemoteEngine:
    """Connected, and known to be a MiniCPM-V; ``_granted`` proves that the gate was passed.

    Raises UsageError remote-address-refused, remote-key-unreadable and remote-offline, ModelError
    remote-model-refused, LibraryError.
    """
    model = _connected(settings)
    try:
        served = model.identify(cancellation)
    except BaseException:
        model.close()
        raise
    description = EngineDescription(
        family=served.family,
        synthetic=False,
        # No file is here: what the server says that it has loaded stands for it.
        main_sha256=f"served: {served.root}",
        projector_sha256="",
        build="",
        device="remote",
        # Of this machine's: it only waits.
        threads=1,
        encoder="vllm",
        backend="vllm",
    )
    return RemoteEngine(description, model, RemoteEncoder(EncoderGrid()))


def find_served(settings: Settings, cancellation: Cancellation) -> ServedElsewhere:
    """What the server has loaded now. Raises as ``open_remote_engine``."""
    with closing(_connected(settings)) as model:
        return model.identify(cancellation)


def _connected(settings: Settings) -> VllmModel:
    url = settings.vllm_url or ""
    reason = refuse_address(url, is_loopback)
    if reason:
        raise UsageError(
            "remote-address-refused",
            f"SHIMMY_ENGINE is vllm, and SHIMMY_VLLM_URL is not used: {reason}.",
            hint="Set it like https://vllm.example:8000 or http://127.0.0.1:8000",
        )
    if settings.offline and not is_loopback(urlsplit(url).hostname or ""):
        raise UsageError(
            "remote-offline",
            "SHIMMY_OFFLINE forbids the network, and SHIMMY_VLLM_URL leads there.",
            hint="Unset one of them.",
        )
    key = settings.vllm_key or _key_in(settings.vllm_key_file)
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(
            "remote-key-unreadable",
            "What SHIMMY_VLLM_KEY, or the file that SHIMMY_VLLM_KEY_FILE names, holds is no key.",
            hint="It is what vLLM's --api-key says and nothing else: one line, ASCII, no spaces.",
        )
    return VllmModel(url, key)


def _key_in(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError) as error:
        raise UsageError(
            "remote-key-unreadable",
            f"The file that SHIMMY_VLLM_KEY_FILE names cannot be read ({type(error).__name__}).",
            hint="Give this user the right to read it; it holds the key and nothing else.",
        ) from error
