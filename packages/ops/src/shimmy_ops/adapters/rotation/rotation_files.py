"""The ``RotationStates`` port: a file a kind, and those of before beside it."""

from __future__ import annotations

from pathlib import Path

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.domain.rotation.sequence import KINDS, Kind
from shimmy_ops.domain.rotation.state import Rotation, encode_rotation, parse_rotation
from shimmy_ops.errors import RotationError


class RotationFiles:
    """``folder`` is made when it is first needed, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, kind: Kind) -> Rotation | None:
        try:
            return parse_rotation(self._path(kind).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def save(self, rotation: Rotation) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            before = self.read(rotation.kind)
            if before is not None and before.began != rotation.began:
                name = f"{before.kind}-{before.began[:19].replace(':', '')}.json"
                self._path(before.kind).replace(self._folder / name)
        except OSError as error:
            raise self._unusable(error) from error
        write_private(self._path(rotation.kind), encode_rotation(rotation))

    def listed(self) -> tuple[Rotation, ...]:
        """The newest of each kind."""
        found = [self.read(kind) for kind in KINDS]
        return tuple(one for one in found if one is not None)

    def _path(self, kind: Kind) -> Path:
        return self._folder / f"{kind}.json"

    def _unusable(self, error: Exception) -> RotationError:
        return RotationError(
            "rotation-folder-unusable",
            f"{self._folder} cannot be used: {type(error).__name__}.",
            hint="See to the rights of state_folder in the profile.",
        )
