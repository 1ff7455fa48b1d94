"""SMTP to other machines: encrypted or not at all, and with the login of the address."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from secret_mail import MAIL, PASSWORD, SENDER, failure

from shimmy_store.adapters.smtp_mailer import SmtpMailer
from shimmy_store.ports.mail import Mail

# An address of this machine that counts as another one's: encryption is asked for.
ELSEWHERE = "127.0.0.2"
Trust: TypeAlias = tuple[ssl.SSLContext, ssl.SSLContext]


@dataclass
class Office:
    """A mail server that keeps nothing but what it was told."""

    login: tuple[bytes, bytes] | None = None
    mails: int = 0
    logins: int = 0
    utf8: bool = False
    goodbye: str = "221 bye"

    async def handle_QUIT(self, server: SMTP, _session: Any, _envelope: Any) -> str:  # noqa: N802
        return self.goodbye

    async def handle_DATA(self, server: SMTP, _session: Any, _envelope: Any) -> str:  # noqa: N802
        self.mails += 1
        return "250 kept"

    def check(self, server: Any, session: Any, envelope: Any, how: str, given: Any) -> AuthResult:
        self.logins += 1
        good = isinstance(given, LoginPassword) and tuple(given) == self.login
        return AuthResult(success=good, handled=False)


@asynccontextmanager
async def opened(office: Office, *, plain: Any = None, wrapped: Any = None) -> AsyncIterator[int]:
    """On another address: with STARTTLS, with TLS from the start, or with neither."""

    def connection() -> SMTP:
        return SMTP(
            office,
            hostname="office.example",
            enable_SMTPUTF8=office.utf8,
            tls_context=plain,
            require_starttls=plain is not None,
            auth_required=office.login is not None,
            auth_require_tls=plain is not None,
            authenticator=office.check if office.login else None,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, ELSEWHERE, 0, ssl=wrapped)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """For the server, and for a client that trusts it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "office.example")])
    address = x509.IPAddress(ipaddress.ip_address(ELSEWHERE))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "chain.pem")
    return server, ssl.create_default_context(cafile=str(folder / "chain.pem"))


def sent_elsewhere(
    office: Office, scheme: str, client: Any, *, login: str = "", mail: Mail = MAIL, **how: Any
) -> None:
    async def send() -> None:
        async with opened(office, **how) as port:
            address = f"{scheme}://{login}{ELSEWHERE}:{port}"
            await SmtpMailer(address, SENDER, seconds=5, tls=client).send(mail)

    asyncio.run(send())


quiet = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


def test_elsewhere_mail_goes_encrypted(tls: Trust) -> None:
    server, client = tls
    office = Office()
    sent_elsewhere(office, "smtp", client, plain=server)
    sent_elsewhere(office, "smtps", client, wrapped=server)
    assert office.mails == 2


def test_addresses_beyond_ascii_go_where_the_server_can(
    tls: Trust,
) -> None:
    office = Office(utf8=True)
    sent_elsewhere(
        office, "smtp", tls[1], mail=replace(MAIL, to="straße@bücher.example"), plain=tls[0]
    )
    assert office.mails == 1


@quiet
def test_nothing_goes_where_encryption_is_missing_or_untrusted(
    tls: Trust,
) -> None:
    server, client = tls
    office = Office(login=(b"shop", PASSWORD.encode()))
    login = "shop:pass%3Aw%2Frd@"
    stranger = ssl.create_default_context()
    for scheme, trusted, how in (
        ("smtp", client, {}),
        ("smtp", stranger, {"plain": server}),
        ("smtps", stranger, {"wrapped": server}),
        ("smtps", client, {}),
    ):
        error = failure(
            lambda a=(scheme, trusted), b=how: sent_elsewhere(  # type: ignore[misc]
                office, *a, login=login, **b
            )
        )
        assert (error.code, error.retryable) == ("mail-unreachable", True)
    assert (office.mails, office.logins) == (0, 0)


def test_the_login_of_the_address_is_used(tls: Trust) -> None:
    server, client = tls
    office = Office(login=(b"shop", PASSWORD.encode()))
    sent_elsewhere(office, "smtp", client, login="shop:pass%3Aw%2Frd@", plain=server)
    assert (office.mails, office.logins) == (1, 1)
    for login in ("shop:wrong@", "shop@", ""):
        error = failure(
            lambda login=login: sent_elsewhere(  # type: ignore[misc]
                office, "smtp", client, login=login, plain=server
            )
        )
        assert (error.code, error.retryable) == ("mail-login-refused", True)
    assert office.mails == 1


def test_what_was_taken_is_taken_whatever_is_said_at_the_end(tls: Trust) -> None:
    office = Office(goodbye="554 no")
    sent_elsewhere(office, "smtp", tls[1], plain=tls[0])
    assert office.mails == 1
