"""Puts the licensor of a release, and its packed native library, into its wheel.

Without ``SHIMMY_LICENSOR`` a wheel is a sandbox build, like a checkout. With it, naming a JSON file
like ``contracts/sandbox-licensor.json`` whose mode is ``live``, the wheel's
``shimmy_vision/domain/licence/pinned.py`` holds that licensor instead: nothing that a user can set
or edit chooses the account or the key afterwards.

``SHIMMY_PAYLOAD`` names a folder made by ``scripts/build_payload.py``. Its files go into the wheel,
which then is one for that platform; where the payload is signed, the wheel pins the signer's key in
``shimmy_vision/domain/payload/pinned.py`` and loads nothing else. A wheel with a live licensor
takes no unsigned payload, and is not built without one unless ``SHIMMY_UNSEALED=1`` says that it is
meant so: an image that compiles its own library. Such a wheel says that it is unsealed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "shimmy_vision/domain/licence/pinned.py"
TEMPLATE = '''"""The licensor of this build, pinned when it was built."""

from __future__ import annotations

from shimmy_vision.domain.licence.licensor import Licensor

PINNED = Licensor(
{fields}
)
'''


PACKED = "shimmy_vision/adapters/payload/packed"
PAYLOAD_PLACE = "shimmy_vision/domain/payload/pinned.py"
PAYLOAD_TEMPLATE = '''"""Whose payload this build loads, pinned when it was built."""

from __future__ import annotations

from typing import Final

PUBLIC_KEY: Final[str] = {key!r}
APPLE_TEAM: Final[str] = {team!r}
'''
# Of the build, not of what is built.
_ASIDE = ("wheel-tag.txt", "public-key.txt")


class LicensorHook(BuildHookInterface[Any]):
    """Called by hatchling for every wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Replace the pinned licensor where one is named; a wrong one stops the build."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        chosen, payload = os.environ.get("SHIMMY_LICENSOR"), os.environ.get("SHIMMY_PAYLOAD")
        if chosen:
            self._replace(PLACE, self._module(Path(chosen)), build_data)
        if chosen and not payload and os.environ.get("SHIMMY_UNSEALED") != "1":
            raise SystemExit(
                "SHIMMY_LICENSOR: a live build carries a signed native library. Name it with "
                "SHIMMY_PAYLOAD (docs/signing.md), or say SHIMMY_UNSEALED=1"
            )
        if payload:
            self._carry(Path(payload), build_data, live=bool(chosen))

    def finalize(self, *_: Any) -> None:
        """Remove what was only needed for the build."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _replace(self, place: str, text: str, build_data: dict[str, Any]) -> None:
        replacement = Path(self._folder.name, place.replace("/", "-"))
        replacement.write_text(text, encoding="utf-8")
        build_data["force_include"][str(replacement)] = place

    def _carry(self, payload: Path, build_data: dict[str, Any], *, live: bool) -> None:
        try:
            tag = (payload / "wheel-tag.txt").read_text(encoding="utf-8").strip()
            key = (payload / "public-key.txt").read_text(encoding="utf-8").strip()
            files = sorted(one for one in payload.iterdir() if one.name not in _ASIDE)
        except OSError as error:
            raise SystemExit(f"SHIMMY_PAYLOAD={payload}: {error}") from error
        if live and not key:
            raise SystemExit("SHIMMY_PAYLOAD: a live build takes no unsigned payload")
        if (payload / "manifest.sig").exists() != bool(key):
            raise SystemExit("SHIMMY_PAYLOAD: a signature and a public key come together")
        for one in files:
            build_data["force_include"][str(one)] = f"{PACKED}/{one.name}"
        team = os.environ.get("SHIMMY_APPLE_TEAM", "")
        self._replace(PAYLOAD_PLACE, PAYLOAD_TEMPLATE.format(key=key, team=team), build_data)
        build_data["pure_python"], build_data["tag"] = False, tag

    def _module(self, chosen: Path) -> str:
        try:
            data = json.loads(chosen.read_text(encoding="utf-8"))
            self._check(data)
        except (OSError, ValueError) as error:
            raise SystemExit(f"SHIMMY_LICENSOR={chosen}: {error}") from error
        fields = "\n".join(f"    {name}={value!r}," for name, value in data.items())
        return TEMPLATE.format(fields=fields)

    def _check(self, data: Any) -> None:
        reader = _load(Path(self.root, "src/shimmy_vision/domain/licence/licensor.py"))
        if reader.read_licensor(data).sandbox:
            raise ValueError("mode must be live: a build without SHIMMY_LICENSOR is a sandbox")
        contract = Path(self.root, "../../contracts/sandbox-licensor.json")
        sandbox = json.loads(contract.read_text(encoding="utf-8"))
        for name in ("account", "public_key"):
            if data[name] == sandbox[name]:
                raise ValueError(f"{name} is the sandbox's, whose private key is public")


def _load(path: Path) -> ModuleType:
    """The reader of licensors, from the sources that are being built."""
    spec = importlib.util.spec_from_file_location("licensor_of_this_build", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
