"""Puts the licensor of a release into its wheel.

Without ``SHIMMY_LICENSOR`` a wheel is a sandbox build, like a checkout. With it, naming a JSON file
like ``contracts/sandbox-licensor.json`` whose mode is ``live``, the wheel's
``shimmy_vision/domain/licence/pinned.py`` holds that licensor instead: nothing that a user can set
or edit chooses the account or the key afterwards.
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


class LicensorHook(BuildHookInterface[Any]):
    """Called by hatchling for every wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Replace the pinned licensor where one is named; a wrong one stops the build."""
        chosen = os.environ.get("SHIMMY_LICENSOR")
        if not chosen or version == "editable":
            return
        text = self._module(Path(chosen))
        self._folder = tempfile.TemporaryDirectory()
        replacement = Path(self._folder.name, "pinned.py")
        replacement.write_text(text, encoding="utf-8")
        build_data["force_include"][str(replacement)] = PLACE

    def finalize(self, *_: Any) -> None:
        """Remove what was only needed for the build."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

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
