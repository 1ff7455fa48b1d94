"""Whether a server elsewhere serves a MiniCPM-V that this product runs, and where it may stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shimmy_vision.domain.model.model_family import ModelFamily

# As the model's authors publish the weights that vLLM loads.
_NAMES: Mapping[str, ModelFamily] = {
    "minicpm-v-4.6": "4.6",
    "minicpm-v-4_6": "4.6",
    "minicpm-v-4.5": "4.5",
    "minicpm-v-4_5": "4.5",
    "minicpm-v-4": "4.0",
    "minicpm-v-4.0": "4.0",
    "minicpm-v-4_0": "4.0",
    "minicpm-v-2.6": "2.6",
    "minicpm-v-2_6": "2.6",
}
# The same weights, quantised by their authors.
_ENDINGS = ("-int4", "-awq", "-gptq", "-fp8", "-bnb")


@dataclass(frozen=True, slots=True)
class ServedElsewhere:
    """``name`` is what requests say; ``root`` what is loaded, as the server tells it."""

    name: str
    root: str
    family: ModelFamily


@dataclass(frozen=True, slots=True)
class NotServed:
    """``reason`` is a clause without a full stop."""

    reason: str


def decide_served(listed: Any) -> ServedElsewhere | NotServed:
    """The MiniCPM-V among what ``/v1/models`` answered; anything else beside it is not asked.

    What is loaded decides, not the name that it is served under: vLLM tells it as ``root``.
    """
    models = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(models, list):
        return NotServed("it does not list its models as OpenAI's API does")
    seen, unnamed = list[str](), False
    for one in models:
        if not isinstance(one, dict) or not isinstance(one.get("id"), str):
            continue
        root = one.get("root")
        if not isinstance(root, str):
            # A name alone is whatever somebody called it.
            unnamed = True
            continue
        family = family_served(root)
        # An adapter changes the weights: it is another model.
        if family is not None and one.get("parent") is None:
            return ServedElsewhere(one["id"], root, family)
        seen.append(_printable(root.rstrip("/").rpartition("/")[2]))
    if unnamed and not seen:
        return NotServed("it does not tell as root, as vLLM does, what it has loaded")
    return NotServed(f"it serves {_listed(seen)}, which is no MiniCPM-V that this product runs")


def family_served(root: str) -> ModelFamily | None:
    """Of a repository like ``openbmb/MiniCPM-V-4_5``, or a folder of that name."""
    owner, _, name = root.rstrip("/").replace("\\", "/").rpartition("/")
    is_repository = owner and not root.startswith(("/", "~", ".")) and "/" not in owner
    if is_repository and owner.lower() != "openbmb":
        # What others published under the same name may be anything.
        return None
    bare = name.lower()
    for ending in _ENDINGS:
        bare = bare.removesuffix(ending)
    return _NAMES.get(bare)


def refuse_address(url: str, is_here: Callable[[str], bool]) -> str:
    """Why images may not be sent to ``url``; empty where they may.

    ``is_here`` tells of a host whether it is this machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in ("http", "https") or not host:
        return "it is no address of a server"
    if parts.username is not None or parts.password is not None:
        return "it holds a password, which belongs into SHIMMY_VLLM_KEY_FILE"
    if parts.query or parts.fragment:
        return "it holds a query"
    if parts.scheme == "http" and not is_here(host):
        return "images would travel unencrypted: it must be https, or this machine"
    return ""


def _printable(name: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in name[:80])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) if names else "nothing"
