"""The environment: everything that is wrong is said at once, and no secret ever."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shimmy_store.domain.catalog import PLAN_IDS
from shimmy_store.errors import SettingsError
from shimmy_store.settings import (
    OPTIONAL_SECRETS,
    PLAIN,
    Settings,
    read_settings,
    variables_of,
)
from shimmy_store.settings import (
    SECRETS as SECRET_NAMES,
)

POLICIES = ",".join(f"{plan}=policy-of-{plan}" for plan in PLAN_IDS)
SECRET, OLD_SECRET = "new" * 12, "old" * 12
GOOD = {
    "MODE": "test",
    "URL": "http://127.0.0.1:8400",
    "STRIPE_KEY": "sk_test_4711hidden",
    "WEBHOOK_SECRETS": "whsec_newhidden,whsec_oldhidden",
    "KEYGEN_ACCOUNT": "an-account",
    "KEYGEN_TOKEN": "prod-hidden",
    "KEYGEN_POLICIES": POLICIES,
    "MAIL": "smtp://user:hidden@127.0.0.1:2525",
    "MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
    "LEDGER": "postgresql://store:hidden@db/store",
    "SECRET": f"{SECRET}, {OLD_SECRET}",
}
LIVE = {
    **GOOD,
    "MODE": "live",
    "URL": "https://store.example.com",
    "STRIPE_KEY": "rk_live_4711hidden",
}
SECRETS = ("STRIPE_KEY", "WEBHOOK_SECRETS", "KEYGEN_TOKEN", "MAIL", "LEDGER", "SECRET")


def read(given: dict[str, str], **changes: str | None) -> Settings:
    """Without the prefix that all names have; None takes one away."""
    wanted = {**given, **changes}
    return read_settings(
        {f"SHIMMY_STORE_{name}": value for name, value in wanted.items() if value is not None}
    )


def refused(given: dict[str, str], **changes: str | None) -> list[str]:
    """The problems, one a line."""
    with pytest.raises(SettingsError) as error:
        read(given, **changes)
    assert error.value.code == "settings-incomplete"
    assert error.value.hint
    assert "hidden" not in error.value.message + error.value.hint
    _, *problems = error.value.message.split("\n")
    return [one.strip() for one in problems]


def test_a_good_set_is_read() -> None:
    settings = read(GOOD)
    assert (settings.mode, settings.livemode) == ("test", False)
    assert settings.url == "http://127.0.0.1:8400"
    assert settings.webhook_secrets == ("whsec_newhidden", "whsec_oldhidden")
    assert settings.secrets == (SECRET, OLD_SECRET), "the first one signs"
    assert settings.policies == {plan: f"policy-of-{plan}" for plan in PLAN_IDS}
    assert (settings.stripe_url, settings.portal, settings.metrics_tokens) == ("", "", ())
    assert settings.keygen_url == "https://api.keygen.sh"
    assert settings.pay_origins == ("https://checkout.stripe.com", "https://billing.stripe.com")


def test_a_live_set_is_read() -> None:
    settings = read(LIVE)
    assert (settings.mode, settings.livemode) == ("live", True)


def test_what_may_be_left_out_may_be_said() -> None:
    more = {
        "STRIPE_URL": "http://127.0.0.1:7420",
        "KEYGEN_URL": "https://keygen.example.com:8443",
        "PORTAL": "bpc_1",
        "METRICS_TOKEN": "m" * 16,
    }
    settings = read({**GOOD, **more})
    assert settings.stripe_url == "http://127.0.0.1:7420"
    assert settings.pay_origins == ("http://127.0.0.1:7420",)
    assert settings.keygen_url == "https://keygen.example.com:8443"
    assert (settings.portal, settings.metrics_tokens) == ("bpc_1", ("m" * 16,))


def test_spaces_and_line_ends_around_a_value_are_none_of_it() -> None:
    padded = {name: f" {value}\n" for name, value in GOOD.items()}
    assert read(padded) == read(GOOD)
    pairs = POLICIES.replace("=", " = ").replace(",", " ,\n")
    assert read(GOOD, KEYGEN_POLICIES=pairs) == read(GOOD)


def test_all_that_is_missing_is_said_at_once() -> None:
    problems = refused({})
    assert [one.split()[0] for one in problems] == [f"SHIMMY_STORE_{name}" for name in GOOD]
    assert all("hidden" not in one for one in problems)


@pytest.mark.parametrize("name", list(GOOD))
def test_each_that_is_missing_is_named(name: str) -> None:
    for nothing in (None, "", "  "):
        problems = refused(GOOD, **{name: nothing})
        assert any(one.startswith(f"SHIMMY_STORE_{name} ") for one in problems)
        if name != "MODE":
            assert len(problems) == 1


WRONG = [
    ("MODE", "prod"),
    ("MODE", "LIVE"),
    ("URL", "store.example.com"),
    ("URL", "https://store.example.com/"),
    ("URL", "https://store.example.com/shop"),
    ("URL", "https://user@store.example.com"),
    ("URL", "ftp://store.example.com"),
    ("URL", "http://store.example.com"),
    ("URL", "http://localhost.example.com"),
    ("URL", "http://10.0.0.1:8400"),
    ("URL", "http://[abc"),
    ("URL", "https://[abc"),
    ("URL", "https://[::::]"),
    ("URL", "https://a:70000"),
    ("URL", "https://:8400"),
    ("STRIPE_URL", "http://stripe.example.com"),
    ("STRIPE_URL", "nonsense"),
    ("KEYGEN_URL", "http://keygen.example.com"),
    ("KEYGEN_URL", "https://api.keygen.sh/v1"),
    ("STRIPE_KEY", "pk_test_hidden"),
    ("STRIPE_KEY", "sk_live_hidden"),
    ("STRIPE_KEY", "rk_live_hidden"),
    ("STRIPE_KEY", "sk_test_hidden hidden"),
    ("WEBHOOK_SECRETS", "hidden"),
    ("WEBHOOK_SECRETS", "whsec_hidden,hidden"),
    ("WEBHOOK_SECRETS", " , "),
    ("KEYGEN_ACCOUNT", "an/account"),
    ("KEYGEN_ACCOUNT", "../x"),
    ("KEYGEN_TOKEN", "hidden hidden"),
    ("KEYGEN_POLICIES", "developer=1,professional=2,startup=3,enterprise=4"),
    ("KEYGEN_POLICIES", POLICIES.replace("lifetime=policy-of-lifetime", "lifetime=")),
    ("KEYGEN_POLICIES", "hidden"),
    ("MAIL", "mail.example.com"),
    ("MAIL", "http://hidden@mail.example.com"),
    ("MAIL", "smtp+http://hidden@mail.example.com"),
    ("MAIL", "smtps+http://hidden@mail.example.com"),
    ("MAIL", "resend+http://hidden@api.resend.com"),
    ("MAIL", "resend://[hidden"),
    ("MAIL_FROM", "licences"),
    ("MAIL_FROM", "a@example.com\r\nBcc: b@example.com"),
    ("LEDGER", "ledger.sqlite"),
    ("LEDGER", "mysql://store:hidden@db/store"),
    ("SECRET", "hidden"),
    ("SECRET", f"{SECRET},hidden"),
    ("PORTAL", "default"),
    ("METRICS_TOKEN", "hidden"),
    ("OPERATOR_TOKEN", "hidden" * 5),
    ("OPERATOR_TOKEN", "hidden" * 34),
    ("OPERATOR_TOKEN", "hidden " * 6),
    ("OPERATOR_TOKEN", "hiddön" * 6),
    ("OPERATOR_TOKEN", f"{'hidden' * 6},hidden"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_each_that_is_wrong_is_named_and_not_repeated(name: str, value: str) -> None:
    problems = refused(GOOD, **{name: value})
    assert {one.split()[0] for one in problems} == {f"SHIMMY_STORE_{name}"}


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = dict(WRONG)
    named = {one.split()[0] for one in refused(wrong)}
    assert named == {f"SHIMMY_STORE_{name}" for name in wrong}


def test_http_is_good_enough_only_on_loopback() -> None:
    for host in ("127.0.0.1:1", "localhost", "[::1]:8400"):
        assert read(GOOD, URL=f"http://{host}").url == f"http://{host}"
    assert read(GOOD, MAIL="resend+http://hidden@127.0.0.1:7430").mail.startswith("resend+http")
    assert read(GOOD, MAIL="resend://hidden@api.resend.com").mail.startswith("resend:")
    (problem,) = refused(GOOD, URL="http://store.example.com")
    assert "https" in problem


def test_test_and_live_never_mix() -> None:
    (problem,) = refused(LIVE, STRIPE_KEY="sk_test_hidden")
    assert "live mode" in problem
    (problem,) = refused(GOOD, STRIPE_KEY="sk_live_hidden")
    assert "test mode" in problem
    (problem,) = refused(LIVE, STRIPE_URL="https://stripe.example.com")
    assert "STRIPE_URL" in problem
    for url in ("http://127.0.0.1:8400", "https://localhost"):
        (problem,) = refused(LIVE, URL=url)
        assert "loopback" in problem


@pytest.mark.parametrize("name", list(GOOD))
def test_any_value_may_lie_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "value"
    file.write_text(f"{GOOD[name]}\n", encoding="utf-8")
    assert read(GOOD, **{name: None, f"{name}_FILE": str(file)}) == read(GOOD)
    assert read(GOOD, **{name: "something else", f"{name}_FILE": str(file)}) == read(GOOD)
    assert read(GOOD, **{f"{name}_FILE": ""}) == read(GOOD)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    binary, hollow = tmp_path / "binary", tmp_path / "hollow"
    binary.write_bytes(b"\xff\xfehidden")
    hollow.write_text("\n", encoding="utf-8")
    for path, problem in ((tmp_path / "none", "NotFound"), (tmp_path, "IsADir"), (binary, "Uni")):
        problems = refused(GOOD, STRIPE_KEY_FILE=str(path))
        assert problems[0].startswith("SHIMMY_STORE_STRIPE_KEY_FILE cannot be read")
        assert problem in problems[0]
    (problem,) = refused(GOOD, STRIPE_KEY_FILE=str(hollow))
    assert problem.startswith("SHIMMY_STORE_STRIPE_KEY is not set")


def test_the_operators_token_is_optional_and_may_be_several(tmp_path: Path) -> None:
    new, old = "n" * 32, "o" * 200
    assert read(GOOD).operator_tokens == ()
    assert read(GOOD, OPERATOR_TOKEN=new).operator_tokens == (new,)
    assert read(GOOD, OPERATOR_TOKEN=f"{new}, {old}").operator_tokens == (new, old)
    file = tmp_path / "token"
    file.write_text(f"{old}\n", encoding="utf-8")
    assert read(GOOD, OPERATOR_TOKEN_FILE=str(file)).operator_tokens == (old,)


def test_secrets_are_not_shown() -> None:
    tokens = {"METRICS_TOKEN": "hidden" * 3, "OPERATOR_TOKEN": "hidden" * 6}
    settings = read({**LIVE, **tokens})
    shown = repr(settings)
    assert "hidden" not in shown
    assert SECRET not in shown and OLD_SECRET not in shown
    assert settings.url in shown
    assert {one.name for one in fields(Settings) if not one.repr} >= {
        "stripe_key",
        "webhook_secrets",
        "keygen_token",
        "mail",
        "ledger",
        "secrets",
        "metrics_tokens",
        "operator_tokens",
    }


def test_every_secret_may_be_wrong_without_being_told(tmp_path: Path) -> None:
    """In a file as in the environment."""
    file = tmp_path / "value"
    file.write_text("hidden <>", encoding="utf-8")
    for name in SECRETS:
        refused(GOOD, **{name: "hidden <>"})
        refused(GOOD, **{f"{name}_FILE": str(file)})


def test_the_environment_of_this_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(f"SHIMMY_STORE_{name}", value)
    assert read_settings() == read(GOOD)


WORKER = {**GOOD, "LEDGER": "d1://DB", "MAIL": "resend://hidden@api.resend.com"}


def _on_worker(**changes: str) -> Settings:
    given = {f"SHIMMY_STORE_{name}": value for name, value in {**WORKER, **changes}.items()}
    return read_settings(variables_of(SimpleNamespace(**given, DB=object())), "worker")


def test_a_worker_reads_its_bindings() -> None:
    key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    settings = _on_worker(KEYGEN_PUBLIC_KEY=key)
    assert (settings.ledger, settings.keygen_public_key) == ("d1://DB", key)


@pytest.mark.parametrize("key", ["0" * 64, "01" + "0" * 62, "ec" + "f" * 60 + "7f", "f" * 64])
def test_a_public_key_under_which_anybody_could_sign_is_refused(key: str) -> None:
    with pytest.raises(SettingsError, match="KEYGEN_PUBLIC_KEY is nobody's key"):
        _on_worker(KEYGEN_PUBLIC_KEY=key)


@pytest.mark.parametrize("mail", ["smtp://user:hidden@127.0.0.1:25", "smtps://mail.example.com"])
def test_a_worker_sends_no_mail_by_smtp_and_says_why(mail: str) -> None:
    with pytest.raises(SettingsError) as error:
        _on_worker(MAIL=mail)
    assert "no sockets" in error.value.message
    assert "resend://" in error.value.message
    assert "hidden" not in error.value.message


def test_each_host_has_ledgers_of_its_own() -> None:
    with pytest.raises(SettingsError, match="LEDGER is not of the right form"):
        _on_worker(LEDGER="sqlite:////tmp/ledger.sqlite")
    assert refused(GOOD, LEDGER="d1://DB")[0].startswith("SHIMMY_STORE_LEDGER")


def test_every_variable_that_is_read_is_on_the_list_of_a_worker() -> None:
    class Asked(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            names.add(name.removeprefix("SHIMMY_STORE_").removesuffix("_FILE"))
            return super().get(name, default)

    names: set[str] = set()
    read_settings(Asked({f"SHIMMY_STORE_{name}": value for name, value in GOOD.items()}))
    # A Worker sends no traces.
    ours = {one for one in names if not one.startswith("OTEL_")}
    assert ours == {*PLAIN, *SECRET_NAMES, *OPTIONAL_SECRETS}


def test_the_configuration_of_a_worker_names_what_settings_need() -> None:
    place = Path(__file__).parents[1] / "cloudflare/wrangler.jsonc"
    lines = [one for one in place.read_text().splitlines() if not one.strip().startswith("//")]
    environments = json.loads("\n".join(lines))["env"]
    assert set(environments) == {"test", "production"}
    for mode, told in zip(("test", "live"), environments.values(), strict=True):
        assert told["vars"]["SHIMMY_STORE_MODE"] == mode
        needed = {f"SHIMMY_STORE_{name}" for name in SECRET_NAMES}
        assert needed <= set(told["secrets"]["required"])
        plain = {name.removeprefix("SHIMMY_STORE_") for name in told["vars"]}
        assert plain <= set(PLAIN)
        assert {"URL", "KEYGEN_ACCOUNT", "KEYGEN_POLICIES", "MAIL_FROM", "LEDGER"} <= plain
        (database,) = told["d1_databases"]
        assert told["vars"]["SHIMMY_STORE_LEDGER"] == f"d1://{database['binding']}"
