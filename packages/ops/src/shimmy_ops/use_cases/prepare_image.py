"""Build and push the container's image, unless this version's was already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from shimmy_ops.domain.deploying.images import encode_image, find_digest, image_words
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.releases.choosing import Named
from shimmy_ops.errors import DeployError
from shimmy_ops.ports.deploying import Commands, Workbench
from shimmy_ops.use_cases.put_in_place import Yard


@contextmanager
def prepare_image(
    named: Named, profile: Profile, yard: Yard, commands: Commands, bench: Workbench
) -> Iterator[PurePath | None]:
    """A folder with the image's record; None where the release has one. Raises DeployError."""
    known = [
        one
        for one in yard.shelf.history().releases
        if one.restores is None and one.version == named.version and "image" in one.parts
    ]
    if known:
        yard.told("image: built and pushed before")
        yield None
        return
    if not profile.container_image or not profile.container_build:
        raise DeployError(
            "container-unset",
            "The profile does not say which image to build, and how.",
            hint="Set container_image and container_build (docs/deploy.md).",
        )
    given = {"image": f"{profile.container_image}:{named.version}", "version": named.version}
    said = _run("container_build", image_words(profile.container_build, given), yard, commands)
    pushed = bool(profile.container_push)
    if pushed:
        said = _run("container_push", image_words(profile.container_push, given), yard, commands)
    digest = find_digest(said)
    yard.told(f"image: {digest}")
    text = encode_image(profile.container_image, named.version, digest, pushed=pushed)
    with bench.changed(None, "image.json", text) as folder:
        yield folder


def _run(setting: str, words: tuple[str, ...], yard: Yard, commands: Commands) -> str:
    yard.told(f"{setting}: begun")
    said = commands.run(words)
    if said.code:
        raise DeployError(
            "image-not-made",
            f"{setting} ended with {said.code}. Nothing was changed where customers are.",
            hint="The deploy's log has what it said.",
        )
    return said.output
