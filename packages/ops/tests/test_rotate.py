"""Secrets replaced while a real store sells: nothing is refused, and only the new one is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rotating_store import Rotating, open_rotating
from store_server import eventually

from shimmy_ops.adapters.rotation.rotation_files import RotationFiles
from shimmy_ops.domain.rotation.state import Rotation

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


class Cut(BaseException):
    """The process ends here."""


@pytest.fixture
def rotating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Rotating]:
    with open_rotating(tmp_path, monkeypatch, capsys) as opened:
        yield opened


@pytest.fixture
def cut_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a step did, the process ends once before that is noted."""
    save, cut = RotationFiles.save, set[tuple[str, int]]()

    def cutting(self: RotationFiles, rotation: Rotation) -> None:
        place = (rotation.kind, len(rotation.done))
        if place not in cut and rotation.kind != "metrics-token":
            cut.add(place)
            raise Cut(*place)
        save(self, rotation)

    monkeypatch.setattr(RotationFiles, "save", cutting)


def tellings(rotating: Rotating) -> Counter[str]:
    """How often each event was told of."""
    return Counter(one["event"] for one in rotating.deliveries())


def until_done(rotating: Rotating, secret: str, *given: str) -> Any:
    """The same command, as often as it is cut off."""
    while True:
        try:
            return rotating.rotate(secret, *given)
        except Cut as cut:
            rotating.capsys.readouterr()
            if cut.args == ("webhook-secret", 4):
                # Both endpoints hear everything: somebody buys meanwhile.
                eventually(lambda: max(tellings(rotating).values(), default=0) == 2)


def opens(rotating: Rotating, path: str, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    reply = httpx.get(f"{rotating.released.url}{path}", headers=headers, trust_env=False)
    return reply.is_success


@pytest.mark.usefixtures("cut_each_step")
def test_webhook_secret_and_keygens_token_are_replaced_while_customers_buy(
    rotating: Rotating,
) -> None:
    town = rotating.released.town
    (before,) = town.sdk.v1.webhook_endpoints.list().data
    old, old_token = rotating.told("WEBHOOK_SECRETS"), rotating.told("KEYGEN_TOKEN")
    with rotating.selling():
        for secret in ("webhook-secret", "keygen-token"):
            done = until_done(rotating, secret)
            assert done.code == 0, done.err
    told = tellings(rotating)
    assert max(told.values()) == 2, "both endpoints told of the same"
    kept = Counter(rotating.kept_events())
    assert set(told) <= set(kept) and set(kept.values()) == {1}
    (after,) = town.sdk.v1.webhook_endpoints.list().data
    assert after.id != before.id and after.metadata["shimmy"] == "store"
    assert rotating.told("WEBHOOK_SECRETS") == rotating.kept(f"endpoint-{after.id}") != old
    assert not (rotating.folder / "secrets" / f"endpoint-{before.id}").exists()
    assert town.run(rotating.capsys, "provision").out == "nothing to do\n"
    preflight = town.run(rotating.capsys, "preflight", "--only", "webhook")
    assert preflight.code == 0, preflight.out
    status = rotating.rotate("status")
    assert status.code == 0 and "webhook-secret: replaced" in status.out

    token = rotating.told("KEYGEN_TOKEN")
    assert token != old_token
    asked = "licenses?page[size]=1&page[number]=1"
    tried = [
        town.admin.get(asked, headers={"Authorization": f"Bearer {one}"}).status_code
        for one in (old_token, token)
    ]
    assert tried == [401, 200]
    again = town.folder / "again.env"
    assert town.run(rotating.capsys, "provision", "--write-env", str(again)).code == 0
    assert rotating.told("KEYGEN_TOKEN") == token


@pytest.mark.usefixtures("cut_each_step")
def test_what_we_made_is_replaced_and_the_old_opens_nothing(rotating: Rotating) -> None:
    old = {name: rotating.kept(name) for name in ("operator-token", "metrics-token")}
    with rotating.selling():
        done = until_done(rotating, "operator-token")
        assert done.code == 0, done.err
        waits = rotating.rotate("metrics-token")
        assert waits.code == 3 and "Prometheus" in waits.err
        assert opens(rotating, "/metrics", old["metrics-token"])
        assert opens(rotating, "/metrics", rotating.kept("metrics-token").partition(",")[0])
        done = rotating.rotate("metrics-token", "--done-by", "Ada")
        assert done.code == 0, done.err
    for name, path in (("operator-token", "/operator/alarms"), ("metrics-token", "/metrics")):
        new = rotating.kept(name)
        assert new != old[name] and "," not in new
        assert not opens(rotating, path, old[name]) and opens(rotating, path, new)
    kept = {one.name for one in (rotating.folder / "secrets").iterdir()}
    assert not [one for one in kept if one.startswith("rotation-")]


def test_the_stores_own_secret_waits_for_what_it_signed(rotating: Rotating) -> None:
    old = rotating.kept("store-secret")
    page = {"Accept": "text/html"}
    with httpx.Client(base_url=rotating.released.url, headers=page, trust_env=False) as visitor:
        shown = visitor.get("/view-license").text
        waits = rotating.rotate("store-secret")
        assert waits.code == 3 and "--at-once" in waits.err
        assert rotating.kept("store-secret").endswith(f",{old}")
        form = shown.partition('name="csrf" value="')[2].partition('"')[0]
        sent = visitor.post("/view-license", data={"csrf": form, "email": "a@shimmy.example"})
        assert sent.status_code < 400, "a form that was open is still believed"
    assert rotating.rotate("status").code == 3
    done = rotating.rotate("store-secret", "--at-once")
    assert done.code == 0, done.err
    assert old not in rotating.kept("store-secret")


def roll(rotating: Rotating, key: str, *, accepted: bool) -> None:
    reply = httpx.post(f"{rotating.released.town.stripe.url}/_sim/keys",
                       json={"key": key, "accepted": accepted}, trust_env=False)  # fmt: skip
    reply.raise_for_status()


def test_a_stripe_key_is_tried_before_and_taken_back_and_its_old_one_tried_after(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = rotating.told("STRIPE_KEY"), "rk_test_" + "n" * 24
    assert "SHIMMY_OPS_SANDBOX_NEW_STRIPE_KEY" in rotating.rotate("stripe-key").err
    monkeypatch.setenv("SHIMMY_OPS_SANDBOX_NEW_STRIPE_KEY", "rk_live_" + "n" * 24)
    wrong = rotating.rotate("stripe-key")
    assert wrong.code == 2 and "rk_test_" in wrong.err
    monkeypatch.setenv("SHIMMY_OPS_SANDBOX_NEW_STRIPE_KEY", new)
    refused = rotating.rotate("stripe-key")
    assert refused.code == 1 and "[rotation-new-refused]" in refused.err
    assert rotating.told("STRIPE_KEY") == old
    roll(rotating, new, accepted=True)
    restart = rotating.folder / "restart.sh"
    text = restart.read_text()
    # Whoever starts the store has other ideas of its key.
    sourced = ". ./current.env\n"
    refusing = 'grep -q nnnn "$SHIMMY_STORE_STRIPE_KEY_FILE" && exit 1\n'
    restart.write_text(text.replace(sourced, sourced + refusing))
    back = rotating.rotate("stripe-key")
    assert back.code == 1 and "[rotation-returned]" in back.err, back.err
    assert rotating.told("STRIPE_KEY") == old and rotating.released.healthy()
    restart.write_text(text)
    with rotating.selling():
        waits = rotating.rotate("stripe-key")
        assert waits.code == 3 and "dashboard" in waits.err, waits.err
        assert rotating.told("STRIPE_KEY") == new and new not in waits.err
        roll(rotating, old, accepted=False)
        monkeypatch.setenv("SHIMMY_OPS_SANDBOX_STRIPE_KEY", new)
        done = rotating.rotate("stripe-key")
        assert done.code == 0 and "it is refused" in done.err


def test_without_a_way_to_restart_somebody_else_does_it_and_provisioning_waits(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = rotating.released.town.config
    restart = 'restart_command = ["bash", "restart.sh"]\n'
    text = config.read_text()
    assert restart in text
    config.write_text(text.replace(restart, ""))
    waits = rotating.rotate("operator-token")
    assert waits.code == 3 and "start the store anew" in waits.err
    assert rotating.rotate("operator-token").code == 3
    mine = rotating.released.town.run(rotating.capsys, "provision", "--apply")
    assert mine.code == 0, "only endpoint and token are provisioning's"
    config.write_text(text)
    done = rotating.rotate("operator-token")
    assert done.code == 0, done.err

    save = RotationFiles.save

    def cutting(self: RotationFiles, rotation: Rotation) -> None:
        save(self, rotation)
        raise Cut

    with monkeypatch.context() as patched, pytest.raises(Cut):
        patched.setattr(RotationFiles, "save", cutting)
        rotating.rotate("webhook-secret")
    town = rotating.released.town
    for given in (("--apply",), ("--write-env", str(rotating.folder / "x.env"))):
        said = town.run(rotating.capsys, "provision", *given)
        assert said.code == 1 and "[rotation-unfinished]" in said.err
    status = rotating.rotate("status")
    assert status.code == 3 and "next: the store runs with both" in status.out
    assert rotating.state("webhook-secret")["done"][0][0] == "new-made"
