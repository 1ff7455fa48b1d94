"""Say what a deploy would do and change; nothing is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from shimmy_ops.domain.deploying.changes import compare_files, compare_values
from shimmy_ops.domain.deploying.checks import checks_after, checks_before, failing
from shimmy_ops.domain.deploying.images import image_words
from shimmy_ops.domain.deploying.worker_words import CONFIG, FOLDER, worker_words
from shimmy_ops.domain.deploying.wrangler_config import fill_config
from shimmy_ops.domain.releases.config_file import parse_config
from shimmy_ops.domain.releases.records import Part
from shimmy_ops.errors import OpsError
from shimmy_ops.use_cases.deploy_release import DeployOrder, Dock
from shimmy_ops.use_cases.fill_bundle import fill_bundle


def plan_deploy(order: DeployOrder, dock: Dock) -> Iterator[str]:
    """Lines, in the order of a deploy. Raises OpsError for what would be refused."""
    checks = checks_before(order.target, order.skip)
    found = failing(dock.check(checks))
    yield f"1. preflight, {len(checks)} checks: {'would refuse' if found else 'holds now'}"
    yield from (f"   ✗ {one.id}: {one.found}" for one in found)
    yield f"2. release {order.named.version} is recorded in release_folder"
    yield from (f"   {line}" for line in _changes(order, dock))
    yield "3. commands, and what they say into a private log:"
    yield from (f"   $ {' '.join(words)}" for words in _commands(order, dock))
    if order.target == "worker":
        yield from (f"   {line}" for line in _worker(order, dock))
    yield f"4. smoke test: {', '.join(dock.yard.paths)}; where it fails, what was before comes back"
    later = checks_after(order.target, order.skip)
    yield f"5. preflight's other {len(later)} checks; where one of the store fails, it comes back"


def _changes(order: DeployOrder, dock: Dock) -> Iterator[str]:
    before = _parts_before(dock)
    if order.environment is not None and order.target != "static":
        old = before.get("config")
        held = parse_config(dock.yard.shelf.config_text(old)).values if old else {}
        lines = list(compare_values(held, parse_config(order.environment).values))
        yield f"config: {len(lines)} names differ"
        yield from (f"  {line}" for line in lines)
    site = order.folders.get("site")
    if site is not None:
        yield f"site: {_compared(before.get('site'), site, dock)}"


def _compared(digest: str | None, folder: PurePath, dock: Dock) -> str:
    held = dock.bench.entries(dock.yard.shelf.folder(digest)) if digest else ()
    return f"{compare_files(held, dock.bench.entries(folder))} files"


def _parts_before(dock: Dock) -> dict[Part, str]:
    state = dock.yard.shelf.state()
    active = state.active
    return {} if active is None else dict(dock.yard.shelf.history().find(active).parts)


def _commands(order: DeployOrder, dock: Dock) -> Iterator[tuple[str, ...]]:
    profile = dock.profile
    name = f"{profile.container_image}:{order.named.version}"
    given = {"image": name, "version": order.named.version, "digest": "(its digest)"}
    if order.target == "container":
        for words in (profile.container_build, profile.container_push, profile.container_deploy):
            yield image_words(words, given)
    elif order.target == "static":
        yield profile.static_deploy or ("(the link is switched)",)
    else:
        yield from _worker_commands(order, dock)
    if profile.restart_command:
        yield profile.restart_command


def _worker_commands(order: DeployOrder, dock: Dock) -> Iterator[tuple[str, ...]]:
    profile, words = dock.profile, worker_words(dock.profile, FOLDER)
    if profile.wrangler:
        values = {} if order.environment is None else parse_config(order.environment).values
        text = dock.bench.read(order.folders["worker"], CONFIG)
        config = fill_config(text, words.environment, values)
        yield from (words.migrate(database) for database in config.databases)
        yield words.list_secrets()
        besides = dock.secrets.names() - {*config.secrets, *config.variables}
        for secret in (*config.secrets, *sorted(besides)):
            yield (*words.put_secret(secret), "(where it is missing; its value on the input)")
    yield profile.worker_deploy or words.deploy()


def _worker(order: DeployOrder, dock: Dock) -> Iterator[str]:
    filled = fill_bundle(order.folders["worker"], order.environment, dock.profile, dock.bench)
    with filled as bundle:
        raw = sum(one.size for one in dock.bench.entries(bundle))
        packed = dock.bench.packed_size(bundle)
        yield f"bundle: {raw / 1024:.0f} KiB, {packed / 1024:.0f} KiB in gzip"
        yield f"bundle: {_compared(_parts_before(dock).get('worker'), bundle, dock)}"
        yield f"wrangler's own dry run: {_dry_run(bundle, dock)}"


def _dry_run(bundle: PurePath, dock: Dock) -> str:
    wrangler = dock.profile.wrangler
    if not wrangler or not dock.commands.runs(wrangler[0]):
        return "not run, wrangler is not here"
    words = worker_words(dock.profile, str(bundle)).dry_run(f"{bundle}/.wrangler/dry")
    try:
        code = dock.commands.run(words).code
    except OpsError as error:
        return error.message
    return "ends well" if code == 0 else f"ended with {code}"
