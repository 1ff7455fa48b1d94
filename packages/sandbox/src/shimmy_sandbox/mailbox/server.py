"""Serves the mailbox on loopback: an SMTP server and a mail API before one store in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from shimmy_sandbox.mailbox.api import MailApi
from shimmy_sandbox.mailbox.identity import API_KEY, SMTP_PASSWORD, SMTP_USER
from shimmy_sandbox.mailbox.messages import Mailbox
from shimmy_sandbox.mailbox.smtp_faults import SmtpFaultPlan
from shimmy_sandbox.mailbox.smtp_server import Postmaster, serve_smtp
from shimmy_sandbox.mailbox.steering import Steering
from shimmy_sandbox.simulation.controls import Controls, RecordingApp
from shimmy_sandbox.simulation.faults import FaultyApp
from shimmy_sandbox.simulation.loopback import Served, serve_on_loopback


@dataclass(frozen=True, slots=True)
class MailboxServer(Served):
    """A running mailbox; ``url`` is that of the API and of the controls."""

    smtp_port: int
    api_key: str = API_KEY
    """Fixed and published: no secret, as the login."""
    smtp_user: str = SMTP_USER
    smtp_password: str = SMTP_PASSWORD

    @property
    def smtp_url(self) -> str:
        """``smtp://127.0.0.1:PORT``."""
        return f"smtp://127.0.0.1:{self.smtp_port}"


@contextmanager
def serve_mailbox(
    port: int = 0,
    smtp_port: int = 0,
    controls: Controls | None = None,
    *,
    login_required: bool = False,
) -> Iterator[MailboxServer]:
    """Serve an empty mailbox on 127.0.0.1 (port 0: any free one) until the block ends.

    With ``login_required`` SMTP takes mail only after the published login; else after any or
    none. Raises OSError for a port in use.
    """
    controls = controls or Controls()
    mailbox, smtp_faults = Mailbox(), SmtpFaultPlan()
    api = MailApi(mailbox, controls.clock)
    answering = RecordingApp(FaultyApp(api, controls.faults), controls)
    steering = Steering(mailbox, smtp_faults, api)
    routes: Sequence[Route | Mount] = (
        *controls.routes(),
        *steering.routes(),
        Mount("/", answering),
    )
    postmaster = Postmaster(mailbox, controls.clock, smtp_faults, login_required)
    with (
        serve_smtp(postmaster, smtp_port) as smtp_number,
        serve_on_loopback(Starlette(routes=routes), port) as loopback,
    ):
        yield MailboxServer(loopback, controls, smtp_number)
