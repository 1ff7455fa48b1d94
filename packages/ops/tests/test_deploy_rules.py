"""What a deploy decides: checks, a bundle's configuration, digests, and what a log may hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_ops.domain.deploying.changes import compare_files, compare_values
from shimmy_ops.domain.deploying.checks import (
    BEFORE_DEPLOY,
    DECIDING,
    TARGETS,
    checks_after,
    checks_before,
)
from shimmy_ops.domain.deploying.images import encode_image, find_digest
from shimmy_ops.domain.deploying.wrangler_config import fill_config
from shimmy_ops.domain.preflight.registry import CHECKS
from shimmy_ops.domain.releases.trees import Entry
from shimmy_ops.domain.rotation.sequence import KINDS, STEPS, TITLES, VARIABLES
from shimmy_ops.domain.rotation.state import Rotation, encode_rotation, parse_rotation
from shimmy_ops.domain.secrets.redaction import redact
from shimmy_ops.errors import DeployError, ProfileError, RotationError

TEXT = """{ // "a comment"
  "main": "src/entry.py", "url": "https://not.a/comment",
  "env": { "test": {
    "vars": { "SHIMMY_STORE_URL": "", "SHIMMY_STORE_LEDGER": "d1://DB" },
    "secrets": { "required": ["SHIMMY_STORE_MAIL"] },
    "d1_databases": [{ "database_name": "ledger", "database_id": "ID" }], /* and on */
  }, }
}"""


def test_every_check_is_made_before_a_deploy_or_after_it() -> None:
    ids = [one.id for one in CHECKS]
    assert set(BEFORE_DEPLOY) <= set(ids) and set(DECIDING) <= set(ids) - set(BEFORE_DEPLOY)
    for target in TARGETS:
        before = {one.id for one in checks_before(target, ())}
        after = {one.id for one in checks_after(target, ())}
        assert before and after and not before & after
    both = [*checks_before("worker", ()), *checks_after("worker", ())]
    assert sorted(one.id for one in both) == sorted(ids)
    left = {one.id for one in checks_before("worker", ["site", "clock-stripe"])}
    assert "clock-stripe" not in left and "site-sound" not in left
    with pytest.raises(ProfileError):
        checks_before("worker", ["no-such-check"])


def test_a_bundles_configuration_is_filled_in_and_its_secrets_stay_out() -> None:
    values = {
        "SHIMMY_STORE_URL": "https://store.example",
        "SHIMMY_STORE_LEDGER": "sqlite:////ledger",
        "SHIMMY_STORE_MAIL": "smtp://host",
        "SHIMMY_STORE_SECRET_FILE": "/run/secret",
        "SHIMMY_STORE_MODE": "test",
    }
    config = fill_config(TEXT.replace("ID", "5b4f"), "test", values)
    assert config.variables == {
        "SHIMMY_STORE_URL": "https://store.example",
        "SHIMMY_STORE_LEDGER": "d1://DB",
        "SHIMMY_STORE_MODE": "test",
    }
    assert (config.secrets, config.databases) == (("SHIMMY_STORE_MAIL",), ("ledger",))
    read = json.loads(config.text)
    assert read["url"] == "https://not.a/comment"
    assert read["env"]["test"]["vars"] == config.variables
    assert fill_config(config.text, "test", {}).text == config.text


def test_what_is_empty_or_no_configuration_is_refused_by_name() -> None:
    unset = TEXT.replace('"ID"', '"00000000-0000-0000-0000-000000000000"')
    with pytest.raises(DeployError) as refused:
        fill_config(unset, "test", {})
    assert "SHIMMY_STORE_URL is empty" in refused.value.message
    assert "database_id of ledger" in refused.value.message
    for text, environment in (("{", "test"), ("[]", "test"), (TEXT, "production")):
        with pytest.raises(DeployError) as refused:
            fill_config(text, environment, {})
        assert refused.value.code == "worker-config-unreadable"


def test_the_digest_of_an_image_is_what_the_push_says_last() -> None:
    one, two = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    assert find_digest(f"layer {one}\n1.0: digest: {two} size: 12\nlayer {one}") == two
    assert find_digest(f"{one}\n{two}\n") == two
    with pytest.raises(DeployError):
        find_digest("pushed\n")
    told = json.loads(encode_image("r.example/store", "1.0", one, pushed=True))
    assert told["image"] == f"r.example/store@{one}"
    assert json.loads(encode_image("store", "1.0", one, pushed=False))["image"] == "store:1.0"


def test_what_changes_is_said_without_a_value() -> None:
    lines = list(compare_values({"A": "1", "B": "2", "C": "3"}, {"A": "1", "B": "5", "D": "9"}))
    assert lines == ["~ B", "- C", "+ D"]
    before = [Entry("a", 1, "x"), Entry("b", 1, "y"), Entry("c", 1, "z")]
    after = [Entry("a", 1, "x"), Entry("b", 1, "w"), Entry("d", 1, "v")]
    assert compare_files(before, after) == "1 new, 1 changed, 1 gone, 1 the same"


@settings(max_examples=60)
@given(st.text(max_size=40), st.text(max_size=40), st.text("abcXYZ019-_", min_size=8, max_size=40))
def test_no_known_secret_is_left_in_what_is_kept(before: str, after: str, secret: str) -> None:
    shown = redact(f"{before} {secret} {after}", [secret])
    assert secret not in shown or secret in "[secret]"
    assert redact("nothing to hide\n", ["short", ""]) == "nothing to hide\n"


def test_what_looks_secret_is_not_kept_though_nobody_knew_it() -> None:
    key = "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc4eC39HqLyjWDarjt"
    assert key not in redact(f"key {key} was used", [])


def test_every_rotation_has_its_steps_and_its_state_reads_back() -> None:
    for kind in KINDS:
        rotation = Rotation(kind, "2026-11-26T00:00:00+00:00")
        for step in STEPS[kind]:
            assert TITLES[step] and rotation.next_step == step
            rotation = rotation.after(step, "now", "it holds").noted({step: "fact"})
            assert parse_rotation(encode_rotation(rotation)) == rotation
        assert rotation.next_step is None and rotation.variable == VARIABLES[kind]
    other = encode_rotation(Rotation("mail", "then").after("new-made", "now", "said"))
    for damaged in ("", "[]", '{"kind": "x"}', other):
        with pytest.raises(RotationError):
            parse_rotation(damaged)
