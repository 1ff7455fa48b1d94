"""Deploys of a store that really runs: container, Worker and site, good ones and broken ones."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_dock import Dock, open_dock
from store_server import eventually

from shimmy_ops.adapters.releases.http_witness import HttpWitness
from shimmy_ops.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture
def dock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Dock]:
    with open_dock(tmp_path, monkeypatch, capsys) as opened:
        yield opened


def test_a_container_is_built_deployed_and_taken_back_when_the_store_does_not_hold(
    dock: Dock,
) -> None:
    dock.configure(
        container_image="registry.example/store",
        container_build=dock.stand_in("build", "{image}"),
        container_push=dock.stand_in("push", "{image}"),
        container_deploy=dock.stand_in("run", "{image}", "{version}"),
    )
    said = dock.deploy("container", "1.0", "--dry-run")
    assert said.code == 0, said.err
    assert "names differ" in said.out and "+ SHIMMY_STORE_URL" in said.out
    assert not (dock.folder / "cloud.json").exists() and not dock.released.healthy()
    assert not (dock.folder / "shimmy-releases").exists()

    done = dock.deploy("container", "1.0")
    assert done.code == 0, done.err
    assert dock.released.healthy()
    assert dock.calls("run")[-1][-2:] == [f"registry.example/store@{DIGEST}", "1.0"]
    assert dock.journal() == [("1.0", "begun"), ("1.0", "in-place")]
    assert dock.deploy("container", "1.0").code == 0
    assert len(dock.calls("build")) == 1, "the same again builds nothing"

    # It answers, and believes nobody whom Stripe would sign for: only the checks after see that.
    wrong = dock.folder / "wrong-secret"
    wrong.touch(mode=0o600)
    wrong.write_text("whsec_" + "x" * 32)
    deaf = dock.released.changed_env(WEBHOOK_SECRETS_FILE=str(wrong))
    back = dock.deploy("container", "1.1", env=deaf)
    assert back.code == 1 and "[deploy-returned]" in back.err
    assert "webhook-accepts-genuine" in back.err
    eventually(dock.released.healthy)
    assert str(wrong) not in (dock.folder / "current.env").read_text()
    assert dock.calls("run")[-1][-1] == "1.0"
    assert dock.journal()[-2:] == [("1.1", "checks-failed"), ("1.1", "returned")]
    assert dock.released.town.run(dock.capsys, "release", "status").code == 0

    dock.fail("push")
    kept = dock.deploy("container", "1.2")
    assert kept.code == 1 and "[image-not-made]" in kept.err and dock.released.healthy()
    assert "refused" in dock.logs()


def test_a_worker_is_deployed_whatever_call_is_refused_first(dock: Dock) -> None:
    dock.configure(wrangler=dock.stand_in())
    dock.begin()
    bundle = str(dock.bundle())
    for act in ("migrations", "list", "put", "deploy"):
        dock.fail(act)
        said = dock.deploy("worker", "1.0", "--worker", bundle)
        assert said.code == 1, (act, said.err)
    dock.heal()
    # A first Worker that was refused cannot be put back: nobody knows any before it.
    done = dock.deploy("worker", "1.0", "--worker", bundle)
    assert done.code == 0, done.err
    assert dock.cloud["secrets"]["SHIMMY_STORE_STRIPE_KEY"] == dock.released.town.stripe.api_key
    assert dock.cloud["secrets"]["SHIMMY_STORE_WEBHOOK_SECRETS"].startswith("whsec_")
    migrated = dock.calls("migrations")[-1]
    assert "ledger-test" in migrated and "--remote" in migrated and migrated[-1] == "test"
    folder = Path(dock.calls("deploy")[-1][-3]).parent
    filled = (folder / "wrangler.jsonc").read_text()
    assert dock.released.url in filled and "d1://DB" in filled and "sqlite" not in filled

    assert _worker_secrets(dock) == ("held", "The Worker has all 2 secrets that it asks for.")
    kept = dock.cloud
    del (without := dock.cloud)["secrets"]["SHIMMY_STORE_STRIPE_KEY"]
    (dock.folder / "cloud.json").write_text(json.dumps(without))
    assert _worker_secrets(dock) == ("failed", "The Worker has no SHIMMY_STORE_STRIPE_KEY.")
    (dock.folder / "cloud.json").write_text(json.dumps(kept))
    dock.fail("list")
    assert _worker_secrets(dock)[0] == "unknown"
    dock.heal()

    log = dock.logs()
    assert "was given [" in log
    for secret in (*dock.cloud["secrets"].values(), *dock.released.town.secrets()):
        assert secret.strip() not in log

    puts = len(dock.calls("put"))
    dock.fail("deploy")
    broken = dock.deploy("worker", "1.1", "--worker", str(dock.bundle("two")))
    assert broken.code == 1 and "[release-not-returned]" in broken.err
    dock.heal()
    back = dock.released.town.run(dock.capsys, "release", "resume", "--patience", "60")
    assert back.code == 1 and "[release-returned]" in back.err
    assert Path(dock.calls("deploy")[-1][-3]).parent == folder
    assert len(dock.calls("put")) == puts, "what is there is left"
    assert dock.released.town.run(dock.capsys, "release", "verify").code == 0
    dry = dock.deploy("worker", "1.2", "--dry-run", "--worker", str(dock.bundle("two")))
    assert dry.code == 0 and "in gzip" in dry.out and "1 changed" in dry.out
    assert "wrangler's own dry run: ends well" in dry.out


def _worker_secrets(dock: Dock) -> tuple[str, str]:
    ran = dock.released.town.run(dock.capsys, "preflight", "--only", "worker-secrets", "--json")
    (found,) = json.loads(ran.out)["checks"]
    return found["outcome"], found["found"]


def test_a_worker_whose_secret_is_nowhere_is_refused_by_name(dock: Dock) -> None:
    dock.configure(wrangler=dock.stand_in())
    bundle = dock.bundle()
    text = (bundle / "wrangler.jsonc").read_text()
    (bundle / "wrangler.jsonc").write_text(text.replace("WEBHOOK_SECRETS", "SOMETHING"))
    said = dock.deploy("worker", "1.0", "--worker", str(bundle))
    assert said.code == 1 and "has no SHIMMY_STORE_SOMETHING" in said.err
    assert not dock.calls("put") and not dock.calls("deploy")


def test_a_site_goes_out_by_link_or_by_command_and_comes_back(
    dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = dock.released
    dock.begin()
    done = dock.deploy("static", "1.0", "--site", str(released.site("the first")))
    assert done.code == 0, done.err
    assert "the first" in released.served()
    dry = dock.deploy("static", "1.1", "--site", str(released.site("the second")), "--dry-run")
    assert "1 changed, 0 gone, 1 the same files" in dry.out and "the first" in released.served()
    dock.configure(static_deploy=dock.stand_in("deploy", "{folder}"))
    # Nothing is switched by the stand-in, so that the first page is another than the recorded one.
    looks, waits = [], HttpWitness.pause

    def pause(witness: HttpWitness) -> bool:
        """No patience with the broken one once the store is there; all of it on the way back."""
        if len(dock.calls("deploy")) > 1:
            return waits(witness)
        eventually(released.healthy)
        looks.append("again")
        return len(looks) < 2

    monkeypatch.setattr(HttpWitness, "pause", pause)
    broken = dock.deploy("static", "1.1", "--site", str(released.site("the second")))
    assert broken.code == 1 and "[release-returned]" in broken.err
    assert "the site" in broken.err and len(looks) == 2, broken.err
    sent = [Path(one[-1], "index.html").read_text() for one in dock.calls("deploy")]
    assert ["second" in sent[0], "first" in sent[1]] == [True, True]


def test_nothing_is_deployed_unless_preflight_holds_and_a_person_agrees(
    dock: Dock, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = dock.released.town
    dock.configure(container_image="store", container_build=dock.stand_in("build"),
                   container_deploy=dock.stand_in("run"))  # fmt: skip
    assert dock.deploy("worker", "1.0").code == 1, "the profile names no wrangler"
    for endpoint in town.sdk.v1.webhook_endpoints.list().data:
        town.sdk.v1.webhook_endpoints.delete(endpoint.id)
    said = dock.deploy("container", "1.0")
    assert said.code == 1 and "[deploy-not-ready]" in said.err and "webhook-endpoint" in said.err
    assert not (dock.folder / "cloud.json").exists()
    live = dock.folder / "live.toml"
    live.write_text(
        '[live]\nstore_url = "https://store.example.test"\nkeygen_account = "x"\n'
        f'mail_from = "a@b.example"\nsite_current = "{dock.folder}/live"\nsmoke_paths = []\n'
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    skip = "site-built,site-sound,contracts-readable,tree-clean"
    code = main(["deploy", "--to", "static", "--version", "1.0", "--profile", "live", "--config",
                 str(live), "--site", str(dock.released.site("x")),
                 "--skip-preflight-check", skip])  # fmt: skip
    assert code == 1 and not (dock.folder / "live").exists()
    err = dock.capsys.readouterr().err
    assert "[deploy-not-ready]" in err or "Type live" in err
