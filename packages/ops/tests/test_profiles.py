"""Profiles: what they may say, where secrets come from, and that neither is mistaken."""

from __future__ import annotations

import os
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_secrets import drawn

from shimmy_ops.adapters.keeping.keyring_safe import KeyringSafe, SystemKeyring
from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.adapters.keeping.secret_sources import find_secret, need_secret
from shimmy_ops.cli.main import main
from shimmy_ops.domain.credentials import GivenSecret, check_credential, looks_secret, mask
from shimmy_ops.domain.profile import PROFILES, ProfileName, parse_profile
from shimmy_ops.errors import KeepingError, OpsError, ProfileError
from shimmy_ops.settings import given_secret

SANDBOX = {
    "store_url": "http://127.0.0.1:8400",
    "stripe_url": "http://127.0.0.1:7420",
    "keygen_url": "http://localhost:7410",
    "keygen_account": "shimmy-sandbox",
    "mail_from": "Shimmy <licences@shimmy.example>",
}
REAL = {
    "store_url": "https://store.shimmy.example",
    "keygen_account": "shimmy-live",
    "mail_from": "licences@shimmy.example",
}
# Drawn, so that no file holds what a scanner must take for a key.
LIVE, TEST = f"sk_live_{drawn('live', 24)}", f"sk_test_{drawn('test', 24)}"
RESTRICTED = f"rk_live_{drawn('restricted', 24)}"


def problems(table: dict[str, Any], name: ProfileName) -> str:
    with pytest.raises(ProfileError) as refused:
        parse_profile({name: table}, name)
    return f"{refused.value.code} {refused.value.message}"


def test_a_profile_needs_little() -> None:
    profile = parse_profile({"live": REAL, "sandbox": SANDBOX}, "live")
    assert profile.webhook_url == "https://store.shimmy.example/stripe-webhook"
    assert profile.return_url == "https://store.shimmy.example/view-license"
    assert profile.livemode and profile.keygen_url == "https://api.keygen.sh"
    assert not parse_profile({"sandbox": SANDBOX}, "sandbox").livemode


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("sandbox", {"store_url": "https://store.example"}, "store_url must be on loopback"),
        ("sandbox", {"stripe_url": "https://api.stripe.com"}, "stripe_url must be on loopback"),
        ("sandbox", {"stripe_url": "http://127.0.0.1.evil.example"}, "stripe_url must be"),
        ("sandbox", {"stripe_url": "http://127.0.0.1@evil.example"}, "stripe_url must be"),
        ("sandbox", {"webhook_url": "http://10.0.0.1/x"}, "webhook_url must be on loopback"),
        ("sandbox", {"stripe_url": ""}, "stripe_url is missing"),
        ("sandbox", {"colour": "red"}, "colour is no setting"),
        ("sandbox", {"name": "live"}, "name is no setting"),
        ("sandbox", {"keygen_permissions": "yes"}, "keygen_permissions must be true or false"),
        ("sandbox", {"keygen_product": "mug"}, "keygen_product is not of the right form"),
        ("sandbox", {"keep": "cloud"}, "keep is not of the right form"),
        ("sandbox", {"mail_from": "a@b\nc"}, "mail_from is not of the right form"),
        ("sandbox", {"mail_from": 7}, "mail_from is not of the right form"),
        ("live", {"store_url": "http://store.example"}, "store_url must be https"),
        ("live", {"store_url": "https://localhost"}, "store_url must be https and not on"),
        ("live", {"stripe_url": "https://stripe.example"}, "stripe_url is for the sandbox only"),
        ("test", {"keygen_url": "http://127.0.0.1:1"}, "keygen_url is for the sandbox only"),
        ("test", {"store_url": "https://store.example/shop"}, "store_url is not of the right"),
        ("test", {"keygen_account": ""}, "keygen_account is missing"),
        ("live", {"portal_headline": "x" * 61}, "portal_headline is not of the right form"),
        ("live", {"privacy_url": "http://shimmy.example/p"}, "privacy_url must be https"),
    ],
)
def test_what_is_wrong_with_a_profile_is_said(
    name: ProfileName, changes: dict[str, Any], said: str
) -> None:
    table = {**(SANDBOX if name == "sandbox" else REAL), **changes}
    assert f"profile-invalid Profile {name}" in problems(table, name)
    assert said in problems(table, name)


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = problems({"store_url": "x"}, "live")
    assert "keygen_account is missing" in said and "mail_from is missing" in said
    assert "store_url is not of the right form" in said


def test_a_profile_that_is_not_there_is_said() -> None:
    with pytest.raises(ProfileError) as refused:
        parse_profile({"sandbox": SANDBOX}, "live")
    assert refused.value.code == "profile-missing"
    with pytest.raises(ProfileError) as refused:
        parse_profile({"sandbox": SANDBOX, "prod": {}}, "sandbox")
    assert "[prod] is no profile" in refused.value.message


def test_test_and_live_never_share_a_keygen_account() -> None:
    with pytest.raises(ProfileError) as refused:
        parse_profile({"test": REAL, "live": REAL}, "test")
    assert refused.value.code == "keygen-account-shared"
    apart = parse_profile({"test": {**REAL, "keygen_account": "x"}, "live": REAL}, "test")
    assert apart.keygen_account == "x"


SECRETS = [
    LIVE,
    TEST,
    RESTRICTED,
    f"whsec_{drawn('hook', 24)}",
    f"re_{drawn('mail', 24)}",
    f"prod-{'0123456789abcdef' * 4}v3",
    f"admin-{'0123456789abcdef' * 4}v3",
    f"smtp://user:{drawn('pass', 12)}@mail.example:587",
]


@pytest.mark.parametrize("secret", SECRETS, ids=[one[:8] for one in SECRETS])
@pytest.mark.parametrize("place", ["mail_from", "portal_headline", "unknown", "nested", "listed"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(secret: str, place: str) -> None:
    value: Any = {"nested": {"deep": secret}, "listed": ["a", secret]}.get(place, secret)
    said = problems({**SANDBOX, place: value}, "sandbox")
    assert "secret-in-profile" in said
    assert secret not in said
    # Also where it stands in another profile than the one that is asked for.
    with pytest.raises(ProfileError) as refused:
        parse_profile({"sandbox": SANDBOX, "live": {"x": secret}}, "sandbox")
    assert refused.value.code == "secret-in-profile"


@pytest.mark.parametrize("name", ["stripe_key", "keygen_token", "password", "webhook_secrets"])
def test_a_setting_called_a_secret_is_refused_whatever_it_says(name: str) -> None:
    assert "secret-in-profile" in problems({**SANDBOX, name: "x"}, "sandbox")


@pytest.mark.parametrize(
    ("profile", "key", "fine"),
    [
        ("live", LIVE, True),
        ("live", RESTRICTED, True),
        ("live", TEST, False),
        ("test", TEST, True),
        ("test", LIVE, False),
        ("test", RESTRICTED, False),
        ("sandbox", TEST, True),
        ("sandbox", LIVE, False),
        ("sandbox", RESTRICTED, False),
        ("test", f"pk_test_{drawn('pub', 24)}", False),
        ("live", "whatever", False),
        ("test", "sk_test_", False),
        ("test", f" {TEST}", False),
        ("test", "", False),
    ],
)
def test_a_key_of_another_mode_is_refused_and_not_repeated(
    profile: ProfileName, key: str, fine: bool
) -> None:
    if fine:
        check_credential(profile, "stripe-key", key)
        return
    with pytest.raises(ProfileError) as refused:
        check_credential(profile, "stripe-key", key)
    said = refused.value.message + refused.value.hint
    own = key.strip().rpartition("_")[2]
    assert not own or own not in said


@given(st.sampled_from(SECRETS))
def test_a_mask_shows_nothing_that_is_one_keys_own(secret: str) -> None:
    shown = mask(secret)
    assert secret not in shown and len(shown.partition("…")[0]) <= 8
    assert str(len(secret)) in shown


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=12))
def test_plain_settings_are_no_secrets(word: str) -> None:
    assert not looks_secret("portal_headline", f"Hello {word}") or ":" in word or "-" in word


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A package of that name, whose keyring is a dictionary."""
    kept: dict[tuple[str, str], str] = {}
    package, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]

    def get(service: str, name: str) -> str | None:
        if name == "locked":
            raise errors.KeyringError("a secret in the text of an error")
        return kept.get((service, name))

    def put(service: str, name: str, secret: str) -> None:
        kept[service, name] = secret

    package.get_password, package.set_password = get, put  # type: ignore[attr-defined]
    package.errors = errors  # type: ignore[attr-defined]
    package.__spec__ = types.SimpleNamespace(name="keyring")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "keyring", package)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return kept


@pytest.fixture
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)


NOTHING = GivenSecret("SHIMMY_OPS_TEST_STRIPE_KEY")


def test_a_file_goes_before_the_environment_and_that_before_the_keyring(
    tmp_path: Path, keyring: dict[tuple[str, str], str]
) -> None:
    kept = tmp_path / "key"
    kept.write_text(f"{TEST}a\n")
    kept.chmod(0o600)
    keyring["shimmy-ops/test", "stripe-key"] = f"{TEST}c"
    environ = {f"{NOTHING.variable}_FILE": str(kept), NOTHING.variable: f"{TEST}b"}
    origins = []
    for _ in range(3):
        found = find_secret(
            "test", "stripe-key", given_secret("test", "stripe-key", environ), SystemKeyring("test")
        )
        assert found is not None
        origins.append((found.origin.partition(" ")[0], found.value[-1]))
        environ = dict(list(environ.items())[1:])
    assert origins == [("file", "a"), ("environment", "b"), ("keyring", "c")]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    kept = tmp_path / "key"
    kept.write_text(TEST)
    kept.chmod(mode)
    given_file = GivenSecret("X", file=str(kept))
    with pytest.raises(KeepingError) as refused:
        find_secret("test", "stripe-key", given_file, SystemKeyring("test"))
    assert refused.value.code == "secret-file-open"
    assert TEST not in refused.value.message


@pytest.mark.parametrize("harm", ["missing", "folder", "no text"])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, harm: str) -> None:
    kept = tmp_path / "key"
    if harm == "folder":
        kept.mkdir(mode=0o700)
    if harm == "no text":
        kept.write_bytes(b"\xff")
        kept.chmod(0o600)
    with pytest.raises(KeepingError) as refused:
        find_secret("test", "stripe-key", GivenSecret("X", file=str(kept)), SystemKeyring("test"))
    assert refused.value.code == "secret-file-unreadable"


def test_without_the_package_the_hint_says_what_to_install(no_keyring: None) -> None:
    with pytest.raises(ProfileError) as missing:
        need_secret("test", "stripe-key", NOTHING, SystemKeyring("test"))
    assert missing.value.code == "credential-missing"
    assert "pip install 'shimmy-ops[keyring]'" in missing.value.hint
    with pytest.raises(KeepingError) as refused:
        KeyringSafe(SystemKeyring("test")).prepare()
    assert refused.value.code == "keyring-not-installed"
    assert "shimmy-ops[keyring]" in refused.value.hint


def test_a_keyring_keeps_what_was_made(keyring: dict[tuple[str, str], str]) -> None:
    safe = KeyringSafe(SystemKeyring("live"))
    safe.prepare()
    safe.keep("token-1", "very secret")
    assert safe.held(["token-1", "token-2"]) == {"token-1"}
    line = safe.assignment("SHIMMY_STORE_KEYGEN_TOKEN", "token-1")
    assert line == 'export SHIMMY_STORE_KEYGEN_TOKEN="$(keyring get shimmy-ops/live token-1)"'
    assert keyring["shimmy-ops/live", "token-1"] == "very secret"


def test_a_locked_keyring_is_said_in_our_words(keyring: dict[tuple[str, str], str]) -> None:
    with pytest.raises(KeepingError) as refused:
        KeyringSafe(SystemKeyring("live")).held(["locked"])
    assert refused.value.code == "keyring-refused"
    assert "a secret in the text" not in refused.value.message


def test_each_profile_has_variables_of_its_own() -> None:
    names = {given_secret(one, "stripe-key", {}).variable for one in PROFILES}
    assert names == {f"SHIMMY_OPS_{one.upper()}_STRIPE_KEY" for one in PROFILES}
    assert "x" not in repr(given_secret("test", "stripe-key", {"SHIMMY_OPS_TEST_STRIPE_KEY": "x"}))


def _toml(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda path: None, "profile-file-unreadable"),
        (_toml("[sandbox\nkey = 'secret word'"), "profile-file-malformed"),
        (_toml("[live]\n"), "profile-missing"),
        (_toml(f"[sandbox]\nx = '{LIVE}'"), "secret-in-profile"),
    ],
)
def test_a_file_that_is_wrong_ends_with_2(
    harm: Callable[[Path], None],
    code: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "shimmy-ops.toml"
    harm(config)
    for command in (["profile", "show"], ["provision"]):
        assert main([*command, "--profile", "sandbox", "--config", str(config)]) == 2
        said = capsys.readouterr()
        assert f"[{code}]" in said.err and said.out == ""
        assert LIVE not in said.err and "secret word" not in said.err


def test_every_error_is_one_of_ours() -> None:
    assert all(issubclass(one, OpsError) for one in (ProfileError, KeepingError))


def test_the_file_that_the_documentation_shows_is_fine() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "ops.md").read_text()
    shown = tomllib.loads(text.split("```toml\n")[1].split("```")[0])
    assert [parse_profile(shown, name).name for name in PROFILES] == list(PROFILES)


def test_a_pipe_or_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(KeepingError) as refused:
        write_private(pipe, "text")
    assert refused.value.code == "file-unwritable"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
