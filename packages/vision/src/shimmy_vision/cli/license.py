"""``shimmy license``: activate, status, refresh, machines, deactivate, usage."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shimmy_vision.cli.arguments import add_licence_arguments
from shimmy_vision.cli.exit_codes import LICENCE, OK
from shimmy_vision.errors import LicenceError

if TYPE_CHECKING:
    from shimmy_vision.domain.licence.licence_facts import Machine
    from shimmy_vision.ports.licensing import Licensing
    from shimmy_vision.use_cases.read_standing import Standing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=summary, description=summary)
        one.add_argument("--json", action="store_true", help="machine-readable")
        add_licence_arguments(one)
        return one

    activate = action("activate", "use a licence key on this machine")
    activate.add_argument("key", nargs="?", metavar="KEY", help="- reads it from standard input")
    activate.add_argument("--name", help="what the list of machines calls this one")
    action("status", "what is known of the licence, without asking the server")
    action("refresh", "confirm the licence with the server now")
    action("machines", "the machines the licence is activated on")
    deactivate = action("deactivate", "free a machine's place in the licence")
    deactivate.add_argument("machine", nargs="?", metavar="MACHINE", help="default: this one")
    action("usage", "pages used this month")


def run(args: argparse.Namespace) -> int:
    """Run one action; exit 2 where there is no access."""
    from shimmy_vision.ports.vision_order import LicenceOrder
    from shimmy_vision.settings import read_settings
    from shimmy_vision.use_cases.use_sound_state import use_sound_state
    from shimmy_vision.wiring.licences import open_licensing

    settings = read_settings()
    order = LicenceOrder(_given_key(args), args.machine_id, getattr(args, "name", None))
    with open_licensing(settings, order) as licensing:
        if licensing.licensor.sandbox:
            print("shimmy: SANDBOX build: it accepts simulated licences only.", file=sys.stderr)
        try:
            return use_sound_state(
                licensing,
                lambda: _ACTIONS[args.action](args, _key(args, licensing), licensing),
                key_at_hand=licensing.given_key is not None,
            )
        except LicenceError as error:
            if args.json:
                _print({"error": _error(error)}, as_json=True)
            raise


def _given_key(args: argparse.Namespace) -> str | None:
    key: str | None = getattr(args, "key", None)
    if key is None:
        key = args.license
    return sys.stdin.readline() if key == "-" else key


def _key(args: argparse.Namespace, licensing: Licensing) -> str:
    """The key in use; ``activate`` also takes one that was activated on another machine."""
    from shimmy_vision.use_cases.choose_key import choose_key

    if args.action == "activate" and licensing.given_key is None:
        foreign = licensing.state.foreign_key()
        if foreign is not None and licensing.key() is None:
            return foreign
    return choose_key(licensing)


def _error(error: LicenceError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _activate(args: argparse.Namespace, key: str, licensing: Licensing) -> int:
    from shimmy_vision.settings import read_settings
    from shimmy_vision.use_cases.activate_licence import activate_licence

    activate_licence(key, licensing)
    if read_settings().licence_key not in (None, key):
        print(
            "shimmy: SHIMMY_LICENSE_KEY holds another key, which stands above this one. Unset it "
            "to use this one.",
            file=sys.stderr,
        )
    return _status(args, key, licensing)


def _status(args: argparse.Namespace, key: str, licensing: Licensing) -> int:
    from shimmy_vision.use_cases.describe_standing import describe_standing

    return _report(args, key, licensing, lambda one: describe_standing(one, key, licensing))


def _report(
    args: argparse.Namespace,
    key: str,
    licensing: Licensing,
    describe: Callable[[Standing], dict[str, Any]],
) -> int:
    """What is known, and the refusal that an analysis would meet now."""
    from shimmy_vision.use_cases.read_standing import read_standing
    from shimmy_vision.use_cases.refuse_standing import refuse_standing

    with licensing.state.session(key) as session:
        standing = read_standing(session, key, licensing, licensing.now())
    report = describe(standing)
    refused = refuse_standing(standing, licensing)
    if args.json and refused is not None:
        report["refused"] = _error(refused)
    _print(report, as_json=args.json)
    if refused is not None and not args.json:
        sys.stdout.flush()
        raise refused
    return OK if refused is None else LICENCE


def _refresh(args: argparse.Namespace, key: str, licensing: Licensing) -> int:
    from shimmy_vision.use_cases.refresh_licence import refresh_licence

    refresh_licence(key, licensing)
    return _status(args, key, licensing)


def _machines(args: argparse.Namespace, key: str, licensing: Licensing) -> int:
    from shimmy_vision.use_cases.list_machines import list_machines

    machines = list_machines(key, licensing)
    if args.json:
        print(json.dumps([_machine(one, licensing) for one in machines], indent=2))
        return OK
    for one in machines:
        row = _machine(one, licensing)
        mark = "*" if row["this_machine"] else " "
        print(f"{mark} {row['id'][:8]}  {row['since'] or '':<10}  {one.platform:<16}  {one.name}")
    if not machines:
        print("no machine is activated")
    elif any(one.fingerprint == licensing.fingerprint for one in machines):
        print("* this machine")
    return OK


def _machine(one: Machine, licensing: Licensing) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "platform": one.platform,
        "since": None if one.since is None else f"{one.since:%Y-%m-%d}",
        "this_machine": one.fingerprint == licensing.fingerprint,
    }


def _deactivate(args: argparse.Namespace, key: str, licensing: Licensing) -> int:
    from shimmy_vision.use_cases.deactivate_machine import deactivate_machine

    removed = deactivate_machine(args.machine, key, licensing)
    if args.json:
        print(json.dumps(_machine(removed, licensing), indent=2))
    else:
        print(f"deactivated {removed.id[:8]} ({removed.name})")
    return OK


def _usage(args: argparse.Namespace, key: str, licensing: Licensing) -> int:
    from shimmy_vision.cli.main import print_error
    from shimmy_vision.use_cases.describe_usage import describe_usage
    from shimmy_vision.use_cases.try_refresh import try_refresh

    unheard = try_refresh(key, licensing)
    if unheard is not None:
        print_error(unheard)

    def describe(standing: Standing) -> dict[str, Any]:
        more = {"fresh": unheard is None, "sandbox": licensing.licensor.sandbox}
        return {**describe_usage(standing), **more}

    return _report(args, key, licensing, describe)


def _print(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2, default=_iso))
        return
    width = max(len(name) for name in report)
    for name, value in report.items():
        print(f"{name.replace('_', ' '):<{width}}  {_said(value)}")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _said(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


_ACTIONS = {
    "activate": _activate,
    "status": _status,
    "refresh": _refresh,
    "machines": _machines,
    "deactivate": _deactivate,
    "usage": _usage,
}
