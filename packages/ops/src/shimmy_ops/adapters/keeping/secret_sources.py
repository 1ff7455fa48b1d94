"""Where the keys that we work with come from: a file, the environment, or the keyring."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shimmy_ops.adapters.keeping.keyring_safe import SystemKeyring, keyring_installed
from shimmy_ops.adapters.keeping.private_files import read_private
from shimmy_ops.domain.credentials import GivenSecret, check_credential
from shimmy_ops.errors import ProfileError


@dataclass(frozen=True, slots=True)
class Secret:
    """``origin`` says where it was found."""

    origin: str
    value: str = field(repr=False)


def find_secret(
    profile: str, credential: str, given: GivenSecret, keyring: SystemKeyring
) -> Secret | None:
    """None where nobody gave it. Raises ProfileError for a key of another mode, KeepingError."""
    found = _look(credential, given, keyring)
    if found is not None:
        check_credential(profile, credential, found.value)
    return found


def need_secret(profile: str, credential: str, given: GivenSecret, keyring: SystemKeyring) -> str:
    """The value. Raises ProfileError where nobody gave it."""
    found = find_secret(profile, credential, given, keyring)
    if found is not None:
        return found.value
    extra = "" if keyring_installed() else " (pip install 'shimmy-ops[keyring]')"
    raise ProfileError(
        "credential-missing",
        f"The {credential} of profile {profile} is nowhere.",
        hint=f"Set {given.variable}, or {given.variable}_FILE, or give it to the keyring{extra}: "
        f"keyring set {keyring.service} {credential}",
    )


def _look(credential: str, given: GivenSecret, keyring: SystemKeyring) -> Secret | None:
    if given.file:
        value = read_private(Path(given.file))
        return Secret(f"file {given.file} ({given.variable}_FILE)", value)
    if given.value:
        return Secret(f"environment {given.variable}", given.value)
    if not keyring_installed():
        return None
    kept = keyring.get(credential)
    return Secret(f"keyring {keyring.service}", kept) if kept else None
