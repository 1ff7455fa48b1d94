"""What a ``POST /emails`` says: checked, and made a message."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

from shimmy_sandbox.mailbox.identity import HOST_NAME
from shimmy_sandbox.mailbox.messages import UNREADABLE, Message, headers_of
from shimmy_sandbox.mailbox.refusals import RefusalError, wrong

_REQUIRED = ("from", "to", "subject")
_KNOWN = (*_REQUIRED, "html", "text", "reply_to", "headers", "tags")
_UNSIMULATED = ("attachments", "bcc", "cc", "react", "scheduled_at", "template", "topic_id")
_MOST_RECIPIENTS = 50
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_BARE = rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_ADDRESS = re.compile(rf"(?P<alone>{_BARE})|(?P<name>[^<>\r\n]*?)\s*<(?P<named>{_BARE})>")
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


def compose(given: Mapping[str, Any], identifier: str, key: str | None, now: datetime) -> Message:
    """The message that ``given`` asks for; RefusalError when a field is missing or wrong."""
    fields = {name: value for name, value in given.items() if value is not None}
    _check_names(fields)
    sender = _sender(fields["from"])
    recipients = _addresses(fields["to"], "to")
    for name in ("subject", "html", "text"):
        if not isinstance(fields.get(name, ""), str):
            raise wrong(f"The `{name}` field must be a string.")
    text, html = fields.get("text"), fields.get("html")
    mail = EmailMessage(policy=policy.SMTP)
    try:
        _write_head(mail, fields, sender, recipients)
        if "Date" not in mail:
            mail["Date"] = now
        if "Message-ID" not in mail:
            mail["Message-ID"] = f"<{identifier}@{HOST_NAME}>"
        _write_body(mail, text, html)
        raw = mail.as_bytes()
    except UNREADABLE as problem:
        message = "A header holds what it cannot, such as a line break or half an address."
        raise wrong(message) from problem
    return Message(
        id=identifier,
        door="api",
        sender=sender.addr_spec,
        recipients=tuple(one.addr_spec for one in recipients),
        subject=fields["subject"],
        text=text,
        html=html,
        headers=headers_of(mail),
        received=now,
        raw=raw,
        idempotency_key=key,
        tags=_tags(fields.get("tags", [])),
    )


def _check_names(fields: Mapping[str, Any]) -> None:
    for name in fields:
        if name in _UNSIMULATED:
            raise wrong(f"Resend knows `{name}`, but it is not simulated by this sandbox.")
        if name not in _KNOWN:
            raise wrong(f"Unknown field `{name}`.")
    missing = [f"`{name}`" for name in _REQUIRED if fields.get(name) in (None, "", [])]
    if "html" not in fields and "text" not in fields:
        missing.append("`html` or `text`")
    if missing:
        message = f"Missing required field: {', '.join(missing)}."
        raise RefusalError.of(422, "missing_required_field", message)


def _parsed(value: Any) -> Address | None:
    found = _ADDRESS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    name = (found["name"] or "").strip().strip('"')
    return Address(display_name=name, addr_spec=found["alone"] or found["named"])


def _sender(value: Any) -> Address:
    sender = _parsed(value)
    if sender is None:
        raise RefusalError.of(422, "invalid_from_address", _not_addressed("from"))
    return sender


def _addresses(value: Any, field: str) -> Sequence[Address]:
    several = value if isinstance(value, list) else [value]
    if len(several) > _MOST_RECIPIENTS:
        raise wrong(f"The `{field}` field may hold {_MOST_RECIPIENTS} addresses at most.")
    parsed = [_parsed(one) for one in several]
    found = [one for one in parsed if one is not None]
    if len(found) < len(parsed):
        raise wrong(_not_addressed(field))
    return found


def _not_addressed(field: str) -> str:
    return f"The `{field}` field is no address like `a@example.com` or `Name <a@example.com>`."


def _write_head(
    mail: EmailMessage, fields: Mapping[str, Any], sender: Address, recipients: Sequence[Address]
) -> None:
    mail["From"] = sender
    mail["To"] = recipients
    mail["Subject"] = fields["subject"]
    if "reply_to" in fields:
        mail["Reply-To"] = _addresses(fields["reply_to"], "reply_to")
    headers = fields.get("headers", {})
    if not isinstance(headers, dict):
        raise wrong("The `headers` field must be an object.")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not isinstance(value, str):
            raise wrong(f"The header {name!r} must have a plain name and a string as its value.")
        if name in mail or name.lower() == "mime-version" or name.lower().startswith("content-"):
            raise wrong(f"The header {name!r} is given twice or written by the server.")
        mail[name] = value


def _write_body(mail: EmailMessage, text: str | None, html: str | None) -> None:
    if text is None:
        mail.set_content(html or "", subtype="html")
        return
    mail.set_content(text)
    if html is not None:
        mail.add_alternative(html, subtype="html")


def _tags(given: Any) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for tag in given if isinstance(given, list) else [None]:
        match tag:
            case {"name": str(name), "value": str(value), **rest} if not rest:
                if not (_TAG.fullmatch(name) and _TAG.fullmatch(value)):
                    raise wrong("Tags hold ASCII letters, digits, `_` and `-`, at most 256 each.")
                tags[name] = value
            case _:
                raise wrong("The `tags` field must be a list of objects with `name` and `value`.")
    return tags
