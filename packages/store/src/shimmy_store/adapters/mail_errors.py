"""Why mail is not taken, in the store's words: the one place for both ways of sending it.

No message repeats an address, a key, a link or what the other side wrote, which may.
"""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address

from shimmy_store.domain.mailboxes import looks_like_address
from shimmy_store.errors import MailError, SettingsError
from shimmy_store.ports.mail import Mail

_LATER = "It is tried again later."


def unreachable(why: str) -> MailError:
    """No answer, or none that can be understood; it may have been taken or not."""
    return MailError(
        "mail-unreachable",
        f"The mail server was not reached or does not make sense: {why}.",
        hint=_LATER,
        retryable=True,
    )


def deferred(why: str) -> MailError:
    """Not now: busy, greylisting, too many at once."""
    return MailError(
        "mail-deferred", f"The mail server puts us off: {why}.", hint=_LATER, retryable=True
    )


def failing(why: str) -> MailError:
    """An error of its own; it may have been taken or not."""
    return MailError("mail-failing", f"The mail server fails: {why}.", hint=_LATER, retryable=True)


def login_refused(why: str) -> MailError:
    """An operator can mend it, so that nothing is lost meanwhile."""
    return MailError(
        "mail-login-refused",
        f"The mail server does not accept our login: {why}.",
        hint="Check the user, password or key in the mail address. It is tried again later.",
        retryable=True,
    )


def sender_refused(why: str) -> MailError:
    """As wrong for every mail, and as easily mended, as a login."""
    return MailError(
        "mail-sender-refused",
        f"The mail server does not accept our sender: {why}.",
        hint="Check the sender's address and that its domain is set up. It is tried again later.",
        retryable=True,
    )


def refused(why: str) -> MailError:
    """This mail, to this address, for good."""
    return MailError(
        "mail-refused",
        f"The mail server refuses this mail for good: {why}.",
        hint="Look at the customer's address in Stripe.",
    )


def unwritable() -> MailError:
    """What it says of itself would become something else on its way."""
    return MailError(
        "mail-unwritable",
        "The address or the subject cannot stand in a mail.",
        hint="Look at the customer's address in Stripe.",
    )


def read_sender(sender: str) -> Address:
    """From ``a@example.com`` or ``Name <a@example.com>``. Raises SettingsError."""
    name, _, bare = sender.strip().removesuffix(">").rpartition("<")
    try:
        address = Address(display_name=name.strip().strip('"'), addr_spec=bare.strip())
    except (MessageError, ValueError, IndexError):
        address = Address()
    if looks_like_address(address.addr_spec) and address.addr_spec.isascii():
        return address
    raise SettingsError(
        "sender-malformed",
        "The sender of mails is no address.",
        hint="Give a@example.com or Name <a@example.com>, the address in ASCII.",
    )


def read_recipient(mail: Mail) -> Address:
    """Whom it goes to. Raises MailError where a header could become several, or an address two."""
    subject = mail.written.subject
    if not looks_like_address(mail.to) or subject.splitlines() != [subject]:
        raise unwritable()
    user, _, domain = mail.to.rpartition("@")
    try:
        if not mail.to.isascii():
            # Parsing knows ASCII only.
            return Address(username=user, domain=domain)
        return Address(addr_spec=mail.to)
    except (MessageError, ValueError, IndexError):
        raise unwritable() from None
