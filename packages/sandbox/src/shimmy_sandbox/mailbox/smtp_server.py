"""The SMTP side: a server in a thread with a loop of its own, on 127.0.0.1 and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, AnyStr, NoReturn, TypeAlias

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session

from shimmy_sandbox.mailbox.identity import HOST_NAME, SMTP_PASSWORD, SMTP_USER
from shimmy_sandbox.mailbox.messages import UNREADABLE, Mailbox, read_mail
from shimmy_sandbox.mailbox.smtp_faults import SmtpFaultPlan, Stage
from shimmy_sandbox.simulation.clock import SimulatedClock

_IDENT = "shimmy-sandbox, not for production"
_START_SECONDS = 20
_PUBLISHED = (SMTP_USER.encode(), SMTP_PASSWORD.encode())
_NO_LOGIN = "530 5.7.0 Authentication required"
_NO_MESSAGE = "554 5.6.0 the message cannot be read"

_Running: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Event]


@dataclass(slots=True)
class Postmaster:
    """Decides about each command, under the names by which aiosmtpd asks."""

    mailbox: Mailbox
    clock: SimulatedClock
    faults: SmtpFaultPlan
    login_required: bool = False

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any
    ) -> AuthResult:
        """Any login is good where none is required; otherwise only the published one."""
        known = isinstance(given, LoginPassword) and tuple(given) == _PUBLISHED
        return AuthResult(success=known or not self.login_required, handled=False, auth_data=given)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name, here and below
        self,
        server: _Connection,
        session: Session,
        _envelope: Envelope,
        _address: str,
        _options: Sequence[str],
    ) -> Any:
        """Refuse a sender, or let aiosmtpd go on."""
        if self.login_required and not session.authenticated:
            return _NO_LOGIN
        return await server.meet("mail") or MISSING

    async def handle_RCPT(  # noqa: N802
        self,
        server: _Connection,
        _session: Session,
        _envelope: Envelope,
        address: str,
        _options: Sequence[str],
    ) -> Any:
        """Refuse a recipient, or let aiosmtpd go on."""
        return await server.meet("rcpt", (address,)) or MISSING

    async def handle_DATA(  # noqa: N802
        self, server: _Connection, _session: Session, envelope: Envelope
    ) -> str:
        """Keep a message, unless something goes wrong before."""
        refused = await server.meet("data", envelope.rcpt_tos)
        if refused:
            return refused
        raw, now = envelope.original_content or b"", self.clock.now()
        try:
            message = read_mail(raw, envelope.mail_from or "", envelope.rcpt_tos, now)
        except UNREADABLE:
            return _NO_MESSAGE
        self.mailbox.keep(message)
        refused = await server.meet("after-data", envelope.rcpt_tos)
        return refused or f"250 2.0.0 kept as {message.id}"


class _Connection(SMTP):
    """One sender's connection; it can fall silent or break off."""

    def __init__(
        self, postmaster: Postmaster, loop: asyncio.AbstractEventLoop, group: set[_Connection]
    ) -> None:
        # Whether a login is required, the postmaster says: aiosmtpd's own option warns that
        # there is no TLS, and on loopback there need not be.
        super().__init__(
            postmaster,
            hostname=HOST_NAME,
            ident=_IDENT,
            auth_require_tls=False,
            authenticator=postmaster.authenticate,
            loop=loop,
        )
        self._faults = postmaster.faults
        self._group = group
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._group.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._group.discard(self)

    async def push(self, status: AnyStr) -> None:
        if not self._greeted:
            # The greeting is the first thing said; aiosmtpd asks nobody about it.
            self._greeted = True
            refused = await self.meet("connect")
            if refused:
                await super().push(refused)
                self._writer.close()
                await _until_cut_off()
        await super().push(status)

    async def meet(self, stage: Stage, recipients: Sequence[str] = ()) -> str:
        """The refusal planned for this moment, or nothing; does not return from a cut."""
        fault = self._faults.take(stage, recipients)
        if fault is None:
            return ""
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "drop":
            self.cut()
            await _until_cut_off()
        return fault.reply

    def cut(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


async def _until_cut_off() -> NoReturn:
    """The end of a connection cancels whatever still waits on it."""
    while True:
        await asyncio.sleep(_START_SECONDS)


@contextmanager
def serve_smtp(postmaster: Postmaster, port: int = 0) -> Iterator[int]:
    """Serve on 127.0.0.1:``port`` (0: any free one) until the block ends; yields the port.

    Raises OSError when the port is taken.
    """
    # aiosmtpd warns on stderr about its own deprecations and about every unknown command.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        number = int(listener.getsockname()[1])
    except OSError:
        listener.close()
        raise
    running: Future[_Running] = Future()
    thread = threading.Thread(target=_run, args=(postmaster, listener, running), daemon=True)
    thread.start()
    loop, stop = running.result(_START_SECONDS)
    try:
        yield number
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_START_SECONDS)


def _run(postmaster: Postmaster, listener: socket.socket, running: Future[_Running]) -> None:
    try:
        asyncio.run(_serve(postmaster, listener, running))
    except OSError as problem:
        # Two sockets may be bound to one port; only one of them may listen.
        listener.close()
        running.set_exception(problem)


async def _serve(
    postmaster: Postmaster, listener: socket.socket, running: Future[_Running]
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(_report)
    group: set[_Connection] = set()
    server = await loop.create_server(lambda: _Connection(postmaster, loop, group), sock=listener)
    running.set_result((loop, stop))
    await stop.wait()
    server.close()
    for connection in tuple(group):
        connection.cut()
    while group:
        await asyncio.sleep(0)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A sender that hangs up in the middle is no error of the server."""
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)
