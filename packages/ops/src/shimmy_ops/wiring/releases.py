"""Where a profile's releases are kept and go, and a place to rehearse a rollback."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from shimmy_ops.adapters.judging.git_revision import read_revision
from shimmy_ops.adapters.releases.http_witness import HttpWitness
from shimmy_ops.adapters.releases.loopback_site import serve_link, served_digests
from shimmy_ops.adapters.releases.object_folders import ObjectFolders
from shimmy_ops.adapters.releases.release_places import ReleasePlaces, Run, Targets
from shimmy_ops.adapters.releases.release_shelf import ReleaseShelf
from shimmy_ops.domain.deploying.worker_words import deploy_words
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.releases.records import Release
from shimmy_ops.errors import OpsError, ReleaseError
from shimmy_ops.ports.releases import Shelf
from shimmy_ops.ports.store_desk import Document
from shimmy_ops.use_cases.put_in_place import Yard
from shimmy_ops.use_cases.rehearse_rollback import Scratch
from shimmy_ops.wiring.accounts import http_client
from shimmy_ops.wiring.store import open_desk


def open_shelf(profile: Profile, base: Path) -> Shelf:
    """The records; ``base`` is where the profile's folders are."""
    return ReleaseShelf(base / profile.release_folder, _objects(profile, base))


@contextmanager
def open_yard(
    profile: Profile,
    base: Path,
    told: Callable[[str], None],
    patience_seconds: float,
    run: Run | None = None,
) -> Iterator[Yard]:
    """All that putting in place needs; ``patience_seconds`` until the store must answer.

    ``run`` runs what deploys a part, where its output is to be kept.
    """
    objects, folder = _objects(profile, base), base / profile.release_folder
    targets = Targets(
        base=base.absolute(),
        kept=folder / "before",
        site=base / profile.site_current if profile.site_current else None,
        config=base / profile.config_current if profile.config_current else None,
        worker=deploy_words(profile),
        image=profile.container_deploy,
        static=profile.static_deploy,
        restart=profile.restart_command,
    )
    with ExitStack() as stack:
        store = stack.enter_context(http_client(profile, profile.store_url))
        site = (
            stack.enter_context(http_client(profile, profile.site_url))
            if profile.site_url
            else None
        )
        yield Yard(
            shelf=ReleaseShelf(folder, objects),
            places=ReleasePlaces(targets, objects, run),
            witness=HttpWitness(store, site, lambda: _figures(profile, base), patience_seconds),
            paths=profile.smoke_paths,
            mode="live" if profile.livemode else "test",
            site=site is not None,
            now=release_time,
            told=told,
        )


@contextmanager
def open_scratch(
    profile: Profile, base: Path, pair: tuple[Release, Release], told: Callable[[str], None]
) -> Iterator[Scratch]:
    """A folder that is gone afterwards, with copies of both releases and a server for the site.

    No store runs there: the configuration is switched and compared, not used. Raises ReleaseError.
    """
    kept = _objects(profile, base)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shimmy-rehearsal-")))
        objects = ObjectFolders(folder / "objects")
        for digest in sorted({one for release in pair for one in release.parts.values()}):
            if kept.copy(digest, objects) != digest:
                raise ReleaseError("rehearsal-copy-damaged", f"Object {digest[:12]} is damaged.")
        link, config = folder / "site", folder / "store.env"
        places = ReleasePlaces(Targets(folder, folder / "before", link, config), objects)
        client = stack.enter_context(http_client(profile, stack.enter_context(serve_link(link))))
        witness = HttpWitness(client, client, lambda: None, patience_seconds=0)
        yard = Yard(
            ReleaseShelf(folder, objects), places, witness, (), "", True, release_time, told
        )

        def wrong(release: Release) -> list[str]:
            problems = [
                f"{part} is another"
                for part in ("site", "config")
                if part in release.parts and not places.holds(part, release.parts[part])
            ]
            if "site" in release.parts:
                listed = {one.path: one.sha256 for one in objects.entries(release.parts["site"])}
                served = served_digests(client, listed)
                problems += [f"{path} is served otherwise" for path in listed
                             if served[path] != listed[path]]  # fmt: skip
            return problems

        yield Scratch(yard, wrong, time.perf_counter)


def release_time() -> datetime:
    """Now."""
    return datetime.now(UTC)


def this_revision() -> str:
    """What git has checked out here, with `+changed` where files differ; empty without git."""
    return read_revision(Path())


def _objects(profile: Profile, base: Path) -> ObjectFolders:
    return ObjectFolders(base / profile.release_folder / "objects")


def _figures(profile: Profile, base: Path) -> Document | None:
    """What the store's operator desk tells, None where it is not to be had."""
    try:
        with open_desk(profile, base) as desk:
            return desk.figures(1)
    except OpsError:
        return None
