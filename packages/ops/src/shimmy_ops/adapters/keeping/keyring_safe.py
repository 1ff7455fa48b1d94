"""The operating system's keyring, by the package of that name, which is an extra."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
from collections.abc import Iterable
from typing import Any

from shimmy_ops.errors import KeepingError


class SystemKeyring:
    """One service of the keyring: ``shimmy-ops/PROFILE``. Every method raises KeepingError."""

    def __init__(self, profile: str) -> None:
        self.service = f"shimmy-ops/{profile}"

    def get(self, name: str) -> str | None:
        """The secret of this name, if there is one."""
        found = self._ask("get_password", name)
        return str(found) if found is not None else None

    def put(self, name: str, secret: str) -> None:
        """Keep it under this name."""
        self._ask("set_password", name, secret)

    def drop(self, name: str) -> None:
        """Keep it no longer."""
        self._ask("delete_password", name)

    def _ask(self, method: str, *given: str) -> Any:
        package = _package()
        try:
            return getattr(package, method)(self.service, *given)
        except package.errors.KeyringError as error:
            # Its text may be anything; its kind says enough.
            raise KeepingError(
                "keyring-refused",
                f"The keyring cannot be used: {type(error).__name__}.",
                hint='Unlock it, or keep secrets in files: keep = "file" in the profile.',
            ) from error


def keyring_installed() -> bool:
    """Whether a keyring can be asked at all."""
    return importlib.util.find_spec("keyring") is not None


def _package() -> Any:
    try:
        importlib.import_module("keyring.errors")
        return importlib.import_module("keyring")
    except ImportError as error:
        raise KeepingError(
            "keyring-not-installed",
            "The package that speaks to the keyring is not installed.",
            hint="Install it: pip install 'shimmy-ops[keyring]'",
        ) from error


class KeyringSafe:
    """The ``Safe`` port."""

    def __init__(self, keyring: SystemKeyring) -> None:
        self._keyring = keyring

    def prepare(self) -> None:
        self._keyring.put("probe", "probe")

    def held(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset(name for name in names if self._keyring.get(name))

    def keep(self, name: str, secret: str) -> None:
        self._keyring.put(name, secret)

    def read(self, name: str) -> str | None:
        return self._keyring.get(name) or None

    def forget(self, name: str) -> None:
        if self._keyring.get(name):
            self._keyring.drop(name)

    def assignment(self, variable: str, name: str) -> str:
        # The store reads no keyring: the shell that sources the file does, each time.
        asked = f"keyring get {shlex.quote(self._keyring.service)} {shlex.quote(name)}"
        return f'export {variable}="$({asked})"'
