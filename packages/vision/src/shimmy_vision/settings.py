"""Everything Shimmy Vision reads from the environment, read in one place."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from shimmy_vision.domain.model.encoder_choice import ENCODER_WISHES, PRECISIONS
from shimmy_vision.domain.payload.pinned import PUBLIC_KEY
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.engine_probe import EncoderOrder
from shimmy_vision.ports.library_places import PayloadPlaces
from shimmy_vision.ports.vision_order import LicenceOrder

DEFAULT_MODEL_BASE_URL = "https://huggingface.co"

# What a child process is told in turn.
_VARIABLES = {
    "model": "SHIMMY_MODEL",
    "models_directory": "SHIMMY_MODEL_DIR",
    "model_base_url": "SHIMMY_MODEL_BASE_URL",
    "library_directory": "SHIMMY_LIBRARY_DIR",
    "encoder": "SHIMMY_ENCODER",
    "encoder_precision": "SHIMMY_ENCODER_PRECISION",
    "state_directory": "SHIMMY_STATE_DIR",
    "fleet_directory": "SHIMMY_FLEET_DIR",
    "cache_directory": "SHIMMY_CACHE_DIR",
    "allow_older_library": "SHIMMY_ALLOW_OLDER_LIBRARY",
    "allow_synthetic": "SHIMMY_ALLOW_SYNTHETIC",
    "offline": "SHIMMY_OFFLINE",
    "browser": "SHIMMY_BROWSER",
    "engine": "SHIMMY_ENGINE",
    "vllm_url": "SHIMMY_VLLM_URL",
    "vllm_key": "SHIMMY_VLLM_KEY",
    "vllm_key_file": "SHIMMY_VLLM_KEY_FILE",
    "allow_urls": "SHIMMY_ALLOW_URLS",
    "licence_key": "SHIMMY_LICENSE_KEY",
    "licence_url": "SHIMMY_LICENSE_URL",
    "machine_id": "SHIMMY_MACHINE_ID",
    "machine_id_file": "SHIMMY_MACHINE_ID_FILE",
    "machine_name": "SHIMMY_MACHINE_NAME",
    "container": "container",
}
# OpenTelemetry's own, by which whoever runs a machine tells all its programs where to send traces.
_COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and what is allowed; each field names its variable.

    ``model``             SHIMMY_MODEL: a version (4.6, 4.5, 4.0, 2.6) or a folder with a pair
    ``models_directory``  SHIMMY_MODEL_DIR: where ``shimmy models pull`` keeps files
    ``model_base_url``    SHIMMY_MODEL_BASE_URL: a mirror to download from
    ``library_directory`` SHIMMY_LIBRARY_DIR: folder of the native libraries
    ``encoder``           SHIMMY_ENCODER: auto, openvino or mtmd
    ``encoder_precision`` SHIMMY_ENCODER_PRECISION: f32, bf16, f16 or int8 (default: what is best)
    ``state_directory``   SHIMMY_STATE_DIR: small records, never images
    ``fleet_directory``   SHIMMY_FLEET_DIR: a folder that all machines behind one proxy share
    ``cache_directory``   SHIMMY_CACHE_DIR: where the native library is kept unpacked
    ``allow_older_library`` SHIMMY_ALLOW_OLDER_LIBRARY=1: go back to a version before
    ``allow_synthetic``   SHIMMY_ALLOW_SYNTHETIC=1: accept random-weight test models
    ``offline``           SHIMMY_OFFLINE=1: never use the network
    ``browser``           SHIMMY_BROWSER: the Chromium that web pages are seen with
    ``allow_urls``        SHIMMY_ALLOW_URLS: networks and hosts that URLs may lead to besides the
                          public internet, like 10.0.0.0/8, intranet.example:443
    ``licence_key``       SHIMMY_LICENSE_KEY: use this key rather than the activated one
    ``licence_url``       SHIMMY_LICENSE_URL: another licence server, for sandbox builds only
    ``machine_id``        SHIMMY_MACHINE_ID: what makes this machine the same one again
    ``machine_id_file``   SHIMMY_MACHINE_ID_FILE: a file with such an id, mounted into a container
    ``machine_name``      SHIMMY_MACHINE_NAME: what the licence's owner reads (default: host name)
    ``local_socket``      SHIMMY_SOCKET: where ``shimmy serve`` meets this user's own commands
    ``api_keys``          SHIMMY_API_KEYS: what clients of ``shimmy serve`` must send one of
    ``callback_secret``   SHIMMY_CALLBACK_SECRET: what callbacks of jobs are signed with
    ``engine``            SHIMMY_ENGINE: local (default), or vllm for a model elsewhere
    ``vllm_url``          SHIMMY_VLLM_URL: where that is served; images are sent there
    ``vllm_key``          SHIMMY_VLLM_KEY: what that server wants
    ``vllm_key_file``     SHIMMY_VLLM_KEY_FILE: a file that holds it
    ``container``         what the environment says of being in a container
    ``traced``            OTEL_EXPORTER_OTLP_ENDPOINT names a collector of traces, or its like;
                          the rest of these variables OpenTelemetry's SDK reads itself
    """

    model: str | None
    models_directory: Path
    model_base_url: str
    library_directory: Path
    encoder: str
    encoder_precision: str | None
    state_directory: Path
    fleet_directory: Path | None
    cache_directory: Path
    allow_older_library: bool
    allow_synthetic: bool
    offline: bool
    browser: str | None
    allow_urls: tuple[str, ...]
    licence_key: str | None = field(repr=False)
    licence_url: str | None
    machine_id: str | None = field(repr=False)
    machine_id_file: Path | None
    machine_name: str | None
    local_socket: Path
    api_keys: tuple[str, ...] = field(repr=False)
    callback_secret: str | None = field(repr=False)
    container: str
    engine: str = "local"
    vllm_url: str | None = field(default=None, repr=False)
    vllm_key: str | None = field(default=None, repr=False)
    vllm_key_file: Path | None = None
    traced: bool = False


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from ``environment`` (the process's own by default).

    Raises UsageError home-unknown.
    """
    env = os.environ if environment is None else environment
    directories = platformdirs.PlatformDirs("shimmy-vision", appauthor=False)
    state = _own_folder(env, "SHIMMY_STATE_DIR", lambda: directories.user_state_path)
    return Settings(
        model=env.get("SHIMMY_MODEL") or None,
        models_directory=_own_folder(
            env, "SHIMMY_MODEL_DIR", lambda: directories.user_data_path / "models"
        ),
        model_base_url=env.get("SHIMMY_MODEL_BASE_URL") or DEFAULT_MODEL_BASE_URL,
        library_directory=_path(env, "SHIMMY_LIBRARY_DIR", _installed_library_directory()),
        encoder=env.get("SHIMMY_ENCODER", "").strip().lower() or "auto",
        encoder_precision=env.get("SHIMMY_ENCODER_PRECISION", "").strip().lower() or None,
        state_directory=state,
        fleet_directory=_optional_path(env, "SHIMMY_FLEET_DIR"),
        cache_directory=_own_folder(env, "SHIMMY_CACHE_DIR", lambda: directories.user_cache_path),
        allow_older_library=_flag(env, "SHIMMY_ALLOW_OLDER_LIBRARY"),
        allow_synthetic=_flag(env, "SHIMMY_ALLOW_SYNTHETIC"),
        offline=_flag(env, "SHIMMY_OFFLINE"),
        browser=env.get("SHIMMY_BROWSER", "").strip() or None,
        allow_urls=_listed(env, "SHIMMY_ALLOW_URLS"),
        licence_key=env.get("SHIMMY_LICENSE_KEY", "").strip() or None,
        licence_url=env.get("SHIMMY_LICENSE_URL") or None,
        machine_id=env.get("SHIMMY_MACHINE_ID"),
        machine_id_file=_optional_path(env, "SHIMMY_MACHINE_ID_FILE"),
        machine_name=env.get("SHIMMY_MACHINE_NAME") or None,
        local_socket=_path(env, "SHIMMY_SOCKET", _usual_socket(env, state)),
        api_keys=_listed(env, "SHIMMY_API_KEYS"),
        callback_secret=env.get("SHIMMY_CALLBACK_SECRET", "").strip() or None,
        engine=env.get("SHIMMY_ENGINE", "").strip().lower() or "local",
        vllm_url=env.get("SHIMMY_VLLM_URL", "").strip() or None,
        vllm_key=env.get("SHIMMY_VLLM_KEY", "").strip() or None,
        vllm_key_file=_optional_path(env, "SHIMMY_VLLM_KEY_FILE"),
        traced=_names_collector(env),
        container="kubernetes" if "KUBERNETES_SERVICE_HOST" in env else env.get("container", ""),
    )


def _names_collector(env: Mapping[str, str]) -> bool:
    off = _flag(env, "OTEL_SDK_DISABLED")
    none = env.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not off and not none and any(env.get(name, "").strip() for name in _COLLECTORS)


def library_places(settings: Settings) -> PayloadPlaces:
    """Where a packed native library is unpacked, and what is remembered of it."""
    return PayloadPlaces(
        settings.cache_directory / "native",
        settings.state_directory / "library-seen.json",
        settings.allow_older_library,
    )


def runs_elsewhere(settings: Settings) -> bool:
    """Whether another machine runs the model. Raises UsageError engine-unknown."""
    if settings.engine not in ("local", "vllm"):
        raise UsageError(
            "engine-unknown",
            f"There is no engine {settings.engine}.",
            hint="SHIMMY_ENGINE is local, vllm or unset.",
        )
    return settings.engine == "vllm"


def encoder_order(settings: Settings) -> EncoderOrder:
    """Which encoder is wished for. Raises UsageError encoder-unknown."""
    wish = next((one for one in ENCODER_WISHES if one == settings.encoder), None)
    named = settings.encoder_precision
    precision = next((one for one in PRECISIONS if one == named), None)
    if wish is None or (precision is None and named is not None):
        raise UsageError(
            "encoder-unknown",
            f"There is no encoder {settings.encoder} with the precision {named or 'auto'}.",
            hint=f"SHIMMY_ENCODER is one of {', '.join(ENCODER_WISHES)}, "
            f"SHIMMY_ENCODER_PRECISION one of {', '.join(PRECISIONS)} or unset.",
        )
    return EncoderOrder(wish, precision, settings.cache_directory / "encoders")


def child_environment(settings: Settings, licence: LicenceOrder) -> dict[str, str]:
    """What a process of this program finds ``settings`` in, and what ``licence`` says instead.

    It serves nobody but its parent: clients' keys are not passed on.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    env.pop("KUBERNETES_SERVICE_HOST", None)
    if "OMP_WAIT_POLICY" not in env:
        # A thread that spins for a whole while takes the core from whoever would end its waiting.
        env.setdefault("GOMP_SPINCOUNT", "1000")
    said = {name: getattr(settings, name) for name in _VARIABLES}
    instead = {
        "licence_key": licence.key,
        "machine_id": licence.machine_id,
        "machine_name": licence.machine_name,
    }
    said |= {name: value for name, value in instead.items() if value is not None}
    told = {_VARIABLES[name]: _said(value) for name, value in said.items() if value is not None}
    return {**env, **told}


def forbid_ray_reports() -> None:
    """Ray tells its makers of every cluster that it starts, unless it is told otherwise."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def digest_settings(settings: Settings) -> str:
    """The same for two processes which would do the same work with the same files."""
    told = {name: str(getattr(settings, name)) for name in _VARIABLES}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _usual_socket(env: Mapping[str, str], state: Path) -> Path:
    """One for each state folder. Not inside it: the system bounds the length of a socket's name."""
    # Not from platformdirs, which warns wherever there is no XDG_RUNTIME_DIR.
    base = env.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    owner = os.getuid() if hasattr(os, "getuid") else 0
    name = hashlib.sha256(str(state.absolute()).encode()).hexdigest()[:16]
    return Path(base, f"shimmy-{owner}", f"{name}.sock")


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _own_folder(env: Mapping[str, str], name: str, usual: Callable[[], Path]) -> Path:
    """``usual`` is asked only where none is named: a user without a home has none."""
    if env.get(name):
        return _optional_path(env, name) or Path()
    try:
        return usual()
    except RuntimeError as error:
        raise UsageError(
            "home-unknown",
            f"This user has no home folder, and {name} names no other.",
            hint="Set HOME, or SHIMMY_STATE_DIR, SHIMMY_CACHE_DIR and SHIMMY_MODEL_DIR.",
        ) from error


def _path(env: Mapping[str, str], name: str, default: Path) -> Path:
    return _optional_path(env, name) or default


def _optional_path(env: Mapping[str, str], name: str) -> Path | None:
    value = env.get(name)
    try:
        return Path(value).expanduser() if value else None
    except RuntimeError as error:
        raise UsageError(
            "home-unknown",
            f"{name} begins with ~, and there is no such home folder.",
            hint=f"Give {name} as a whole path.",
        ) from error


def _listed(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in env.get(name, "").split(",") if one.strip())


def _flag(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").strip().lower() in _TRUE


def _installed_library_directory() -> Path:
    """The packed library; where none is packed llama-cpp-python's, found without importing it.

    Importing it would load the libraries into this process before any probe.
    """
    packed = Path(__file__).resolve().parent / "adapters" / "payload" / "packed"
    # A release looks nowhere else, also where somebody took its payload away.
    if PUBLIC_KEY or packed.exists():
        return packed
    spec = importlib.util.find_spec("llama_cpp")
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0], "lib") if places else Path("llama-cpp-python-is-not-installed")
