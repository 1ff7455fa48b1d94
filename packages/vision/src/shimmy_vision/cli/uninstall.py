"""``shimmy uninstall``: free the machine's place, and remove what this program left here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shimmy_vision.cli.arguments import add_licence_arguments
from shimmy_vision.cli.confirming import confirm
from shimmy_vision.cli.exit_codes import OK, SOME_FAILED
from shimmy_vision.errors import LicenceError, LicenceServerError, LicenceStateError, UsageError

if TYPE_CHECKING:
    from shimmy_vision.ports.own_traces import LeftTrace, RemovedTrace, Trace
    from shimmy_vision.settings import Settings

_PROGRAM = "The program itself: pip uninstall shimmy-vision, or delete the downloaded file."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    parser.epilog = "Without --purge it tells what there is, and removes nothing."
    add("--purge", action="store_true", help="deactivate this machine, remove licence and caches")
    add("--models", action="store_true", help="the downloaded models too")
    add("--yes", action="store_true", help="do not ask")
    add("--keep-activated", action="store_true", help="leave the machine's place in the licence")
    add("--json", action="store_true", help="machine-readable")
    add_licence_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Exit 0 when all is gone, 1 where something could not be removed."""
    from shimmy_vision.settings import read_settings
    from shimmy_vision.wiring import upkeep

    settings = read_settings()
    if not args.purge:
        return _tell(upkeep.traces(settings, models=True), as_json=args.json)
    _refuse_running(upkeep.running_users(settings))
    found = upkeep.traces(settings, models=args.models)
    size = sum(one.size for one in found) / 1e6
    confirm(f"Deactivate this machine and remove {len(found)} things, {size:.1f} MB?", yes=args.yes)
    freed = "kept" if args.keep_activated else _release(args, settings)
    folders = (settings.state_directory, settings.cache_directory, *_of_sockets(settings))
    removed, left = upkeep.remove_traces(
        upkeep.traces(settings, models=args.models),
        (*folders, *_of_models(settings)) if args.models else folders,
    )
    _report(args, freed, removed, left)
    return OK if all(one.foreign for one in left) else SOME_FAILED


def _of_models(settings: Settings) -> tuple[Path, ...]:
    """Also the folder above, where it is there for the models alone."""
    place = settings.models_directory
    return (place, place.parent) if place.parent.name == "shimmy-vision" else (place,)


def _of_sockets(settings: Settings) -> tuple[Path, ...]:
    """The folder of this user's sockets, where it is there for them alone."""
    place = settings.local_socket.parent
    return (place,) if place.name.startswith("shimmy-") else ()


def _tell(found: tuple[Trace, ...], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"found": [_row(one.path, bytes=one.size) for one in found]}, indent=2))
        return OK
    for one in found:
        print(f"{one.size / 1e6:>10.1f} MB  {one.path}")
    print("Remove all but the models: shimmy uninstall --purge     with them: --purge --models")
    print(_PROGRAM)
    return OK


def _refuse_running(users: tuple[int, ...]) -> None:
    if users:
        raise UsageError(
            "uninstall-running",
            f"Other processes of this program are at work: {', '.join(map(str, users))}.",
            hint="Stop them first, `shimmy serve` among them.",
        )


def _release(args: argparse.Namespace, settings: Settings) -> str:
    """What became of the machine's place, in a word. Raises LicenceError uninstall-unheard."""
    from shimmy_vision.ports.vision_order import LicenceOrder
    from shimmy_vision.use_cases.release_place import release_place
    from shimmy_vision.wiring.licences import open_licensing

    order = LicenceOrder(args.license, args.machine_id)
    try:
        with open_licensing(settings, order) as licensing:
            freed = release_place(licensing)
    except (LicenceServerError, LicenceStateError) as error:
        raise LicenceError(
            "uninstall-unheard",
            f"Nothing was removed: this machine could not be deactivated ({error.message}).",
            hint="Try again, or leave its place taken: --keep-activated",
            retryable=error.retryable,
        ) from error
    if freed is None:
        return "not activated"
    return freed.code if isinstance(freed, LicenceError) else "deactivated"


def _report(
    args: argparse.Namespace,
    freed: str,
    removed: tuple[RemovedTrace, ...],
    left: tuple[LeftTrace, ...],
) -> None:
    if args.json:
        rows = {
            "machine": freed,
            "removed": [_row(one.path, bytes=one.size) for one in removed],
            "left": [_row(one.path, reason=one.reason) for one in left],
        }
        print(json.dumps(rows, indent=2))
        return
    print(f"machine   {freed}")
    for one in removed:
        print(f"removed   {one.path}  ({one.size / 1e6:.1f} MB)")
    for kept in left:
        print(f"left      {kept.path}: {kept.reason}")
    if not args.models:
        print("Models, if any were downloaded, are kept: --models removes them too.")
    print(_PROGRAM)


def _row(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), **more}
