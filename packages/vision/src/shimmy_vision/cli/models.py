"""``shimmy models``: list, pull, verify, remove, path."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from shimmy_vision.cli.confirming import confirm
from shimmy_vision.cli.exit_codes import MODEL_OR_LIBRARY, OK
from shimmy_vision.cli.supervise import Interrupts, supervise
from shimmy_vision.domain.model.model_family import FAMILIES, ModelFamily
from shimmy_vision.domain.model.model_manifest import ModelPin
from shimmy_vision.domain.model.model_request import PinnedModel, read_model_request
from shimmy_vision.errors import ModelError

if TYPE_CHECKING:
    from shimmy_vision.wiring.models import ModelCommands


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = commands.add_parser("list", help="every version and what is installed")
    listing.add_argument("--json", action="store_true", help="machine-readable")
    pull = commands.add_parser("pull", help="download and install a version; resumes")
    pull.add_argument("version", nargs="?", type=_family, help="default: the recommended one")
    pull.add_argument("--yes", action="store_true", help="do not ask before a large download")
    pull.add_argument("--force", action="store_true", help="download again even if installed")
    verify = commands.add_parser("verify", help="check every byte of installed files")
    verify.add_argument("version", nargs="?", type=_family, help="default: all installed")
    remove = commands.add_parser("remove", help="delete a version's files")
    remove.add_argument("version", type=_family)
    remove.add_argument("--yes", action="store_true", help="do not ask")
    path = commands.add_parser("path", help="print the folder of a version")
    path.add_argument("version", nargs="?", type=_family, help="default: the recommended one")


def _family(word: str) -> ModelFamily:
    request = read_model_request(word)
    if isinstance(request, PinnedModel):
        return request.family
    raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(FAMILIES)}")


def run(args: argparse.Namespace, *, commands: ModelCommands | None = None) -> int:
    """Run one action."""
    if commands is None:
        from shimmy_vision.settings import read_settings
        from shimmy_vision.wiring.models import model_commands

        commands = model_commands(read_settings())
    match args.action:
        case "list":
            return _list(commands, as_json=args.json)
        case "pull":
            return _pull(commands, _pin(commands, args.version), yes=args.yes, force=args.force)
        case "verify":
            return _verify(commands, args.version)
        case "remove":
            return _remove(commands, _pin(commands, args.version), yes=args.yes)
        case _:
            print(commands.pull.store.folder(_pin(commands, args.version)))
            return OK


def _pin(commands: ModelCommands, version: ModelFamily | None) -> ModelPin:
    return commands.manifest[version or commands.recommend()]


def _list(commands: ModelCommands, *, as_json: bool) -> int:
    from shimmy_vision.use_cases.list_models import list_models

    models = list_models(commands.manifest.values(), commands.pull.store)
    recommended = commands.recommend()
    if as_json:
        rows = [
            {
                "version": model.pin.family,
                "state": model.state,
                "recommended": model.pin.family == recommended,
                "bytes_present": model.bytes_present,
                "bytes": model.pin.known_size or None,
                "folder": str(model.folder),
                "files": [file.name for file in model.pin.files],
            }
            for model in models
        ]
        print(json.dumps(rows, indent=2))
        return OK
    for model in models:
        mark = "*" if model.pin.family == recommended else " "
        size = f"{model.pin.known_size / 1e9:.2f} GB" if model.pin.known_size else "size unknown"
        detail = f" ({model.bytes_present / 1e9:.2f} GB so far)" if model.state == "partial" else ""
        print(
            f"{mark} {model.pin.family}  {model.pin.parameters:>5}  {size:>12}  "
            f"{model.state}{detail}"
        )
    print("* recommended for this machine")
    return OK


def _pull(commands: ModelCommands, pin: ModelPin, *, yes: bool, force: bool) -> int:
    from shimmy_vision.cli.transfer_bar import TransferBar
    from shimmy_vision.errors import StoppedError
    from shimmy_vision.use_cases.list_models import list_models
    from shimmy_vision.use_cases.pull_model import pull_model

    (model,) = list_models([pin], commands.pull.store)
    if model.state != "installed" or force:
        missing = (pin.known_size - (0 if force else model.bytes_present)) / 1e9
        size = f"{missing:.2f} GB" if pin.known_size else "several GB"
        confirm(f"Download MiniCPM-V {pin.family}, {size}?", yes=yes)
    with Interrupts() as interrupts, closing(TransferBar()) as bar:
        try:
            main, projector = supervise(
                lambda switch: pull_model(
                    pin, commands.pull, switch, bar.show, force=force, on_wait=_tell_wait
                ),
                interrupts,
                timeout=None,
            )
        except StoppedError as stopped:
            raise StoppedError(
                "interrupted",
                "The download was interrupted; what arrived is kept.",
                hint=f"Resume it: shimmy models pull {pin.family}",
            ) from stopped
    print(main)
    print(projector)
    return OK


def _verify(commands: ModelCommands, version: ModelFamily | None) -> int:
    from shimmy_vision.cli.main import print_error
    from shimmy_vision.cli.transfer_bar import TransferBar
    from shimmy_vision.use_cases.list_models import list_models
    from shimmy_vision.use_cases.verify_model import verify_model

    store, files = commands.pull.store, commands.pull.files
    models = list_models(commands.manifest.values(), store)
    pins = [commands.manifest[version]] if version else [
        model.pin for model in models if model.state != "not installed"
    ]  # fmt: skip
    if not pins:
        raise ModelError(
            "model-not-installed",
            "No model is installed.",
            hint=f"Install one: shimmy models pull {commands.recommend()}",
        )
    sound = True
    for pin in pins:
        with Interrupts() as interrupts, closing(TransferBar()) as bar:
            try:
                supervise(
                    lambda switch, pin=pin, bar=bar: verify_model(  # type: ignore[misc]
                        pin, store, files, bar.verifying(pin), switch, rehash=True
                    ),
                    interrupts,
                    timeout=None,
                )
                print(f"{pin.family}  sound")
            except ModelError as error:
                sound = False
                print(f"{pin.family}  unusable")
                print_error(error)
    return OK if sound else MODEL_OR_LIBRARY


def _remove(commands: ModelCommands, pin: ModelPin, *, yes: bool) -> int:
    from shimmy_vision.ports.cancellation import Cancellation
    from shimmy_vision.use_cases.remove_model import remove_model

    confirm(f"Delete MiniCPM-V {pin.family} from {commands.pull.store.folder(pin)}?", yes=yes)
    freed = remove_model(pin, commands.pull.store, Cancellation(), _tell_wait)
    print(f"{freed / 1e9:.2f} GB freed" if freed else "nothing was installed")
    return OK


def _tell_wait() -> None:
    print("shimmy: another process works on this version; waiting for it", file=sys.stderr)
