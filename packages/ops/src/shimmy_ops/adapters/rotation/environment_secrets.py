"""Secrets that the store's environment file refers to: files, or entries of the keyring."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from shimmy_ops.adapters.keeping.keyring_safe import SystemKeyring
from shimmy_ops.adapters.keeping.private_files import read_private, write_private
from shimmy_ops.domain.releases.config_file import parse_config
from shimmy_ops.errors import RotationError

_KEYRING = re.compile(r"\$\(keyring get shimmy-ops/([\w-]+) ([\w./-]+)\)")
_FILE = "_FILE"
Put = Callable[[str, str], None]
"""Tells a host of the store's a variable and its value. Raises OpsError."""


class EnvironmentSecrets:
    """The ``SecretValues`` and ``StoreSecrets`` ports.

    ``text`` is the environment file's, None where there is none. ``put`` besides tells whoever runs
    the store and reads no files of this machine.
    """

    def __init__(self, text: str | None, base: Path, put: Put | None = None) -> None:
        self._values: Mapping[str, str] = {} if text is None else parse_config(text).values
        self._base, self._put = base, put

    def names(self) -> frozenset[str]:
        files = {one.removesuffix(_FILE) for one in self._values if one.endswith(_FILE)}
        asked = {one for one, value in self._values.items() if _KEYRING.fullmatch(value)}
        return frozenset(files | asked)

    def read(self, variable: str) -> str:
        entry = self._entry(variable)
        if entry is not None:
            value = SystemKeyring(entry[0]).get(entry[1])
            if value:
                return value
            raise RotationError("secret-not-kept", f"The keyring has nothing for {variable}.")
        return read_private(self._path(variable))

    def tell(self, variable: str, value: str) -> None:
        entry = self._entry(variable)
        self._refuse_own_name(variable, entry[1] if entry else self._path(variable).name)
        if entry is not None:
            SystemKeyring(entry[0]).put(entry[1], value)
        else:
            write_private(self._path(variable), f"{value}\n")
        if self._put is not None:
            self._put(variable, value)

    def _refuse_own_name(self, variable: str, name: str) -> None:
        """An endpoint's and a token's own file hold theirs, and never another's."""
        if name.startswith(("endpoint-", "token-")):
            raise RotationError(
                "secret-under-its-own-name",
                f"{variable} is read from {name}, which can hold no other secret.",
                hint="shimmy-ops provision --write-env writes the environment anew: release that "
                "first.",
            )

    def _entry(self, variable: str) -> tuple[str, str] | None:
        found = _KEYRING.fullmatch(self._values.get(variable, ""))
        return (found[1], found[2]) if found else None

    def _path(self, variable: str) -> Path:
        named = self._values.get(f"{variable}{_FILE}")
        if not named:
            raise RotationError(
                "secret-not-by-reference",
                f"The store's environment file does not say where {variable} is kept.",
                hint=f"Put it into a file (0600), and write {variable}{_FILE}=FILE there; then "
                "release that environment.",
            )
        return self._base / named
