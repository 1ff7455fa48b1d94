"""How preflight asks: names, certificates, threads, files, Stripe's ways to pay."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from provisioning_town import ProvisioningTown
from ready_town import judged, live_profile

from shimmy_ops.adapters.accounts.stripe_standing import read_methods
from shimmy_ops.adapters.gathering.local_places import date_backups, look_at_secrets
from shimmy_ops.adapters.gathering.store_commands import check_site
from shimmy_ops.adapters.gathering.threaded_gatherer import SharedAnswer, ThreadedGatherer
from shimmy_ops.adapters.gathering.tls_handshakes import resolve_name, shake_hands
from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.domain.backups.records import BackupRecord
from shimmy_ops.domain.preflight.checking import Check, Held, Skipped, judge_checks
from shimmy_ops.domain.preflight.delivery_checks import probe_event
from shimmy_ops.domain.preflight.facts import Backup, Certificate, Facts, Page, Source, Unasked
from shimmy_ops.domain.preflight.registry import CHECKS
from shimmy_ops.errors import BackupError, DeskError, LicensingError, OpsError
from shimmy_ops.ports.surroundings import Way
from shimmy_ops.settings import allows_synthetic
from shimmy_ops.wiring.accounts import open_stripe
from shimmy_ops.wiring.preflight import ProfileSurroundings

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def _certify(folder: Path, days: int, host: str = "127.0.0.1") -> Path:
    """Key and certificate in one file, made out by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days, minutes=5))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "tls.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def _greeting(pem: Path | None) -> Iterator[int]:
    """A port that shakes hands with whoever comes; without a certificate, one that talks plain."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                # Whoever came may be gone again in any moment, and comes a second time.
                with plain, suppress(OSError):
                    if context is None:
                        plain.sendall(b"220 mail\r\n")
                    else:
                        context.wrap_socket(plain, server_side=True).close()

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def _outcomes(certificate: Certificate) -> dict[str, str]:
    facts = Facts(live_profile(), datetime.now(UTC), "0.1.0", {"certificate": certificate})
    chosen = [one for one in CHECKS if "certificate" in one.needs]
    return {one.id: one.outcome for one in judge_checks(chosen, facts)}


@pytest.mark.parametrize(
    ("days", "host", "trusted", "good", "lasts"),
    [
        (60, "127.0.0.1", True, "held", "held"),
        (20, "127.0.0.1", True, "held", "failed"),
        (13, "127.0.0.1", True, "failed", "failed"),
        (-1, "127.0.0.1", True, "failed", "failed"),
        (60, "127.0.0.2", True, "failed", "held"),
        (60, "127.0.0.1", False, "failed", "held"),
    ],
)
def test_certificates_are_judged_by_what_the_server_shows(
    days: int,
    host: str,
    trusted: bool,
    good: str,
    lasts: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pem = _certify(tmp_path, days, host)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with _greeting(pem) as port:
        shown = shake_hands("127.0.0.1", port)
    assert shown.not_after is not None and (shown.not_after - datetime.now(UTC)).days == days
    came = _outcomes(shown)
    assert came == {"certificate-good": good, "certificate-lasts": lasts, "tls-modern": "held"}


def test_a_port_that_speaks_no_tls_fails_all_of_it() -> None:
    with _greeting(None) as port:
        came = _outcomes(shake_hands("127.0.0.1", port))
    assert set(came.values()) == {"failed"}
    with pytest.raises(DeskError, match="Nobody answers"):
        shake_hands("127.0.0.1", 9)


def test_a_name_that_leads_nowhere_is_said() -> None:
    with pytest.raises(DeskError, match="leads nowhere"):
        resolve_name("store.shimmy.invalid")
    assert resolve_name("127.0.0.1") == ("127.0.0.1",)
    with pytest.raises(DeskError):
        resolve_name("." * 300)


def _gather(ways: dict[Any, tuple[Callable[[], Any], float]], at_once: int = 8) -> dict[str, Any]:
    told: list[Source] = []
    made = {name: Way(ask, seconds) for name, (ask, seconds) in ways.items()}
    answers = dict(ThreadedGatherer().gather(made, at_once, told.append))
    assert sorted(told) == sorted(ways)
    return {str(name): answer for name, answer in answers.items()}


def test_a_source_that_hangs_is_left_behind_and_one_that_raises_is_told_of() -> None:
    hanging = threading.Event()

    def refuse() -> None:
        raise LicensingError("licensing-refused", "Keygen refuses.", hint="Ask again.")

    def crash() -> None:
        raise RuntimeError("a secret, perhaps")

    answers = _gather(
        {
            "billing": (lambda: hanging.wait(60), 0.1),
            "licensing": (refuse, 60),
            "health": (crash, 60),
            "pricing": (lambda: 7, 60),
        }
    )
    hanging.set()
    assert answers["pricing"] == 7
    assert answers["licensing"] == Unasked("Keygen refuses. [licensing-refused]", "Ask again.")
    assert "RuntimeError" in answers["health"].why and "secret" not in answers["health"].why
    assert "no answer within" in answers["billing"].why


def test_no_more_are_asked_at_once_than_may_be() -> None:
    lock, running, most = threading.Lock(), [0], [0]
    together = threading.Barrier(3)

    def ask() -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait(60)
        with lock:
            running[0] -= 1
        return 1

    assert sum(_gather({str(n): (ask, 60) for n in range(9)}, at_once=3).values()) == 9
    assert most[0] == 3


def test_a_shared_answer_is_asked_for_once_even_where_it_is_a_refusal() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        time.sleep(0.02)
        if len(asked) > 1:
            raise OpsError("asked-twice", "Asked twice.")
        return 5

    shared = SharedAnswer(ask)
    assert _gather({str(n): (shared, 60) for n in range(6)}) == {str(n): 5 for n in range(6)}
    refusing = SharedAnswer(ask)
    for _ in range(2):
        with pytest.raises(OpsError, match="twice"):
            refusing()
    assert len(asked) == 2


def test_the_clock_is_read_from_the_middle_of_asking(
    town: ProvisioningTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.stripe.controls.clock.advance(timedelta(hours=-2))
    skew = ProfileSurroundings(town.profile(), town.config).stripe_clock()
    assert -7203 < skew < -7197
    monkeypatch.setattr(ProfileSurroundings, "_pages", _without_date)
    with pytest.raises(DeskError, match="what time"):
        ProfileSurroundings(town.profile(), town.config).stripe_clock()


@contextmanager
def _without_date(_self: Any) -> Iterator[Any]:
    from shimmy_ops.adapters.gathering.web_pages import WebPages

    reply = SimpleNamespace(headers={})
    yield WebPages(SimpleNamespace(request=lambda *_, **__: reply))  # type: ignore[arg-type]


def test_ways_to_pay_are_those_of_the_default_configuration(
    town: ProvisioningTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_stripe(town.profile(), retries=0) as client:
        assert read_methods(client) == {"card", "link", "alipay", "wechat_pay"}
        found = client.v1.payment_method_configurations.list().to_dict()["data"][0]
        others = [{**found, "is_default": False}, {**found, "application": "ca_1"}]
        listed = [SimpleNamespace(to_dict=lambda one=one: one) for one in others]
        pages = SimpleNamespace(auto_paging_iter=lambda: iter(listed))
        service = type(client.v1.payment_method_configurations)
        monkeypatch.setattr(service, "list", lambda *_: pages)
        assert read_methods(client) == frozenset()


def test_an_account_that_was_not_found_by_the_profiles_name_is_told(
    town: ProvisioningTown,
) -> None:
    known = ProfileSurroundings(town.profile(), town.config).keygen_account()
    assert town.keygen.account in (known.id, known.slug)
    elsewhere = town.profile(keygen_account="somebody-else")
    with pytest.raises(LicensingError):
        ProfileSurroundings(elsewhere, town.config).keygen_account()


def test_keys_in_a_keyring_have_no_files_to_look_at(town: ProvisioningTown) -> None:
    found = ProfileSurroundings(town.profile(keep="keyring"), town.config).kept_files()
    assert isinstance(found, Unasked) and found.needless


def test_a_folder_that_others_may_enter_is_said_even_where_files_are_private(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "secrets"
    assert look_at_secrets(folder / "not" / "yet", GitCommands()).folder_mode is None
    folder.mkdir(mode=0o755)
    found = look_at_secrets(folder, GitCommands())
    assert judged("secrets-private", live_profile(), {"kept_files": found})[0] == "failed"
    folder.chmod(0o700)
    found = look_at_secrets(folder, GitCommands())
    assert judged("secrets-private", live_profile(), {"kept_files": found})[0] == "held"


def test_a_backup_that_was_made_at_no_time_is_refused() -> None:
    record = BackupRecord("a", "2027-01-15T12:00:00", None, "0", 1)
    assert date_backups([record]) == (Backup(datetime(2027, 1, 15, 12, tzinfo=UTC), None),)
    for wrong in (replace(record, made="yesterday"), replace(record, verified="soon")):
        with pytest.raises(BackupError, match="when backups were made"):
            date_backups([wrong])


def test_a_site_check_that_cannot_run_is_no_site_that_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "shimmy-store"
    monkeypatch.setattr("shutil.which", lambda _: str(broken))
    for script, word in (("exit 2", "with 2"), ("echo '[]'; exit 1", "with 1")):
        broken.write_text(f"#!/bin/sh\n{script}\n")
        broken.chmod(0o755)
        with pytest.raises(DeskError, match=word):
            check_site(tmp_path, "test")
    broken.unlink()
    with pytest.raises(DeskError, match="did not end"):
        check_site(tmp_path, "test")


def test_the_probe_is_one_event_a_day_of_the_profiles_mode() -> None:
    morning = datetime(2027, 1, 15, 8, tzinfo=UTC)
    first, again, next_day = (
        json.loads(probe_event(morning + timedelta(hours=hours), livemode=True))
        for hours in (0, 10, 24)
    )
    assert first["id"] == again["id"] != next_day["id"]
    assert first["livemode"] is True


def test_remedies_are_commands_of_the_profile_and_mode() -> None:
    facts = Facts(live_profile(), datetime.now(UTC), "0.1.0", {})
    told = " ".join(one.remedy for one in judge_checks(CHECKS, facts))
    assert "--profile live" in told and "SHIMMY_OPS_LIVE_STRIPE_KEY_FILE" in told
    assert "PROFILE" not in told and "--mode MODE" not in told


def test_what_does_not_count_here_is_skipped_whatever_else_is_unknown() -> None:
    check = Check(
        "one", "mail", "error", "One", ("health", "mail_probe"), lambda *_: Held("x"), "Do."
    )
    facts = Facts(live_profile(), datetime.now(UTC), "0.1.0", {
        "health": Unasked("Nobody answers."), "mail_probe": Unasked("Not set.", needless=True),
    })  # fmt: skip
    (found,) = judge_checks([check], facts)
    assert (found.outcome, found.found) == ("skipped", "Not set.")
    facts = Facts(live_profile(), datetime.now(UTC), "0.1.0", {"health": Page(200, {})})
    (found,) = judge_checks([check], facts)
    assert (found.outcome, found.found) == ("unknown", "It was not asked.")
    assert Skipped("x").why == "x"


@pytest.mark.parametrize(("value", "allowed"), [("", False), ("0", False), ("1", True)])
def test_models_of_random_weights_are_allowed_by_the_environment(value: str, allowed: bool) -> None:
    assert allows_synthetic({"SHIMMY_ALLOW_SYNTHETIC": value}) is allowed
    assert not allows_synthetic({})
