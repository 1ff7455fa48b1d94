"""Deploy a release: checked before, recorded, put in place, checked after, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import NoReturn

from shimmy_ops.domain.deploying.checks import (
    Target,
    checks_after,
    checks_before,
    deciding,
    failing,
)
from shimmy_ops.domain.deploying.journal import Deployed, Outcome
from shimmy_ops.domain.preflight.checking import Check, Finding
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.releases.choosing import Named
from shimmy_ops.domain.releases.records import Part, Release
from shimmy_ops.errors import DeployError, OpsError, ReleaseError
from shimmy_ops.ports.deploying import Commands, DeployJournal, SecretValues, Workbench
from shimmy_ops.use_cases.fill_bundle import fill_bundle
from shimmy_ops.use_cases.prepare_image import prepare_image
from shimmy_ops.use_cases.prepare_worker import prepare_worker
from shimmy_ops.use_cases.put_in_place import Yard, put_in_place
from shimmy_ops.use_cases.record_release import record_release
from shimmy_ops.use_cases.roll_back import roll_back

PARTS_OF: Mapping[Target, Part] = {"worker": "worker", "container": "image", "static": "site"}


@dataclass(frozen=True, slots=True)
class DeployOrder:
    """``environment`` is the text of the store's environment file, ``skip`` ids of checks."""

    target: Target
    named: Named
    folders: Mapping[Part, PurePath]
    environment: str | None
    skip: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Dock:
    """``check`` judges checks now; ``secrets`` are what the environment file refers to."""

    profile: Profile
    yard: Yard
    commands: Commands
    bench: Workbench
    journal: DeployJournal
    secrets: SecretValues
    check: Callable[[tuple[Check, ...]], tuple[Finding, ...]]


def deploy_release(order: DeployOrder, dock: Dock, agree: Callable[[], None]) -> Release:
    """The record in place. The caller holds the shelf; cut off anywhere, the same again goes on.

    ``agree`` raises where nobody wants it. Raises DeployError: `deploy-not-ready` before anything
    is changed, `deploy-returned` and `deploy-not-well` after; ReleaseError as ``put_in_place``.
    """
    _refuse_unmanaged(order.target, dock.yard)
    _refuse_unready(order, dock)
    agree()
    _note(order, dock, "begun")
    try:
        release = _record(order, dock)
        dock.yard.told(f"release {release.number} is {release.version}")
        if order.target == "worker":
            prepare_worker(
                release, dock.profile, dock.yard, dock.commands, dock.bench, dock.secrets
            )
        put_in_place(release, dock.yard)
    except OpsError as error:
        returned = error.code == "release-returned"
        _note(order, dock, "returned" if returned else "failed", said=error.code)
        raise
    _check_after(order, release, dock)
    return release


def _refuse_unmanaged(target: Target, yard: Yard) -> None:
    if PARTS_OF[target] not in yard.places.managed():
        settings = {
            "worker": 'wrangler = ["npx", "wrangler"], or worker_deploy',
            "container": "container_image, container_build and container_deploy",
            "static": "site_current, or static_deploy",
        }
        raise DeployError(
            "deploy-target-unset",
            f"The profile does not say how to deploy to {target}.",
            hint=f"Set {settings[target]} (docs/deploy.md).",
        )


def _refuse_unready(order: DeployOrder, dock: Dock) -> None:
    found = failing(dock.check(checks_before(order.target, order.skip)))
    if found:
        raise DeployError(
            "deploy-not-ready",
            "Preflight fails, and nothing was changed:\n  " + "\n  ".join(_lines(found)),
            hint="Do what each says; --skip-preflight-check ID leaves one out.",
        )


def _lines(found: Sequence[Finding]) -> list[str]:
    return [f"{one.id}: {one.found} {one.remedy}".rstrip() for one in found]


def _record(order: DeployOrder, dock: Dock) -> Release:
    shelf, now = dock.yard.shelf, dock.yard.now()
    if order.target == "static":
        folders: dict[Part, PurePath] = {"site": order.folders["site"]}
        return record_release(shelf, order.named, folders, None, now)
    if order.target == "container":
        with prepare_image(
            order.named, dock.profile, dock.yard, dock.commands, dock.bench
        ) as image:
            given: dict[Part, PurePath] = {**order.folders, **({"image": image} if image else {})}
            return record_release(shelf, order.named, given, order.environment, now)
    bundled = fill_bundle(order.folders["worker"], order.environment, dock.profile, dock.bench)
    with bundled as bundle:
        given = {**order.folders, "worker": bundle}
        return record_release(shelf, order.named, given, order.environment, now)


def _check_after(order: DeployOrder, release: Release, dock: Dock) -> None:
    dock.yard.told("in place and answering; looking at the rest")
    findings = dock.check(checks_after(order.target, order.skip))
    for line in _lines(failing(findings)):
        dock.yard.told(f"check failed: {line}")
    wrong = [one.id for one in deciding(findings)]
    if wrong:
        _note(order, dock, "checks-failed", release.number, ", ".join(wrong))
        _take_back(order, release, wrong, dock)
    left = [one.id for one in failing(findings)]
    _note(order, dock, "in-place", release.number, ", ".join(left))
    if left:
        raise DeployError(
            "deploy-checks-left",
            f"Release {release.number} is in place and answers; {', '.join(left)} do not hold.",
            hint="Do what they say, and run shimmy-ops preflight.",
        )


def _take_back(order: DeployOrder, release: Release, wrong: list[str], dock: Dock) -> NoReturn:
    shelf = dock.yard.shelf
    state = shelf.state()
    # It answered, and was not good all the same: no rollback may choose it.
    good = {number: seen for number, seen in state.good.items() if number != release.number}
    shelf.keep_state(replace(state, good=good))
    failed = f"Release {release.number} failed ({', '.join(wrong)})"
    try:
        back = roll_back(None, dock.yard, lambda _: None, force=False)
    except ReleaseError as error:
        raise DeployError(
            "deploy-not-well",
            f"{failed}, and it was not taken back: {error.message}",
            hint="It is in place. Mend what fails, or shimmy-ops rollback --to a release.",
        ) from error
    _note(order, dock, "returned", back.number)
    raise DeployError(
        "deploy-returned",
        f"{failed}. Release {back.origin} is in place again and answers.",
        hint="Mend it and deploy it as another version.",
    )


def _note(
    order: DeployOrder, dock: Dock, outcome: Outcome, release: int = 0, said: str = ""
) -> None:
    at = dock.yard.now().isoformat()
    dock.journal.add(Deployed(at, order.target, order.named.version, outcome, release, said))
