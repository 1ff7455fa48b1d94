"""Names and certificates, asked of the system's resolver and of the server itself."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime

from cryptography import x509

from shimmy_ops.domain.preflight.facts import Certificate
from shimmy_ops.errors import DeskError

_PATIENCE_SECONDS = 10


def resolve_name(host: str) -> tuple[str, ...]:
    """IPv4 and IPv6 addresses. Raises DeskError where there is none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeskError(
            "name-unresolved", "The name leads nowhere: no A or AAAA record was found."
        ) from error
    return tuple(sorted({str(one[4][0]) for one in found}))


def shake_hands(host: str, port: int) -> Certificate:
    """What the server shows. Raises DeskError where nobody listens.

    A certificate that is not trusted is asked for again without trust, so that its end is known.
    """
    problem = ""
    try:
        return _shake(host, port, ssl.create_default_context(), problem)
    except ssl.SSLCertVerificationError as error:
        problem = error.verify_message or "not trusted"
    except ssl.SSLError as error:
        return Certificate(error.reason or "TLS does not begin", None, "")
    open_minded = ssl.create_default_context()
    open_minded.check_hostname = False
    open_minded.verify_mode = ssl.CERT_NONE
    try:
        return _shake(host, port, open_minded, problem)
    except ssl.SSLError:
        return Certificate(problem, None, "")


def _shake(host: str, port: int, context: ssl.SSLContext, problem: str) -> Certificate:
    try:
        with (
            socket.create_connection((host, port), timeout=_PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            shown, protocol = wrapped.getpeercert(binary_form=True), wrapped.version() or ""
    except ssl.SSLError:
        raise
    except OSError as error:
        raise DeskError(
            "tls-unreachable", f"Nobody answers with TLS: {type(error).__name__}."
        ) from error
    return Certificate(problem, _end(shown), protocol)


def _end(shown: bytes | None) -> datetime | None:
    try:
        return x509.load_der_x509_certificate(shown or b"").not_valid_after_utc
    except ValueError:
        return None
