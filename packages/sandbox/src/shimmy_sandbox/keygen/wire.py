"""What goes over the wire: errors, times, names, resource objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shimmy_sandbox.keygen.database import Row

MEDIA_TYPE = "application/vnd.api+json"
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Access denied",
    404: "Not found",
    409: "Conflict",
    422: "Unprocessable resource",
}


class WireError(Exception):
    """A refusal: its status and the error objects the client reads."""

    def __init__(self, status: int, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(status)
        self.status = status
        self.errors = errors

    @classmethod
    def listing(cls, status: int, *errors: Mapping[str, Any]) -> WireError:
        """A refusal for all of ``errors``, each with Keygen's title of the status."""
        return cls(status, [{"title": _TITLES[status], **error} for error in errors])


def error(
    detail: str,
    code: str | None = None,
    *,
    pointer: str | None = None,
    parameter: str | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """One error object; ``pointer`` into the document or query ``parameter`` says where."""
    made: dict[str, Any] = {"title": title} if title else {}
    made["detail"] = detail
    if code is not None:
        made["code"] = code
    for name, place in (("pointer", pointer), ("parameter", parameter)):
        if place is not None:
            made["source"] = {name: place}
    return made


def refusal(
    status: int,
    detail: str,
    code: str | None = None,
    *,
    pointer: str | None = None,
    parameter: str | None = None,
    title: str | None = None,
) -> WireError:
    """A refusal with one error object."""
    return WireError.listing(
        status, error(detail, code, pointer=pointer, parameter=parameter, title=title)
    )


def cannot(detail: str, code: str | None = None, *, pointer: str | None = None) -> WireError:
    """422 for an action that makes no sense now; Keygen titles these differently."""
    return refusal(422, detail, code, pointer=pointer, title="Unprocessable entity")


def not_found(kind: str, identifier: str) -> WireError:
    """404 for a resource of ``kind`` (``license``, ``machine``, …)."""
    return refusal(404, f"The requested {kind} '{identifier}' was not found", "NOT_FOUND")


def written_time(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z, as the wire and the tables hold it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str) -> datetime:
    """The moment a wire time names, UTC where it names no zone; ValueError when it names none."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def camel(name: str) -> str:
    """snake_case to camelCase."""
    head, *tail = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def snake(name: str) -> str:
    """camelCase to snake_case, as Rails does it."""
    spaced = re.sub(r"([A-Z\d]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", spaced).replace("-", "_").lower()


def metadata_in(value: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as kept: keys snake_cased at every depth."""
    kept: dict[str, Any] = _renamed(value, snake)
    return kept


def metadata_out(value: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as sent: keys camelCased at every depth."""
    sent: dict[str, Any] = _renamed(value, camel)
    return sent


def _renamed(value: Any, rename: Any) -> Any:
    if isinstance(value, Mapping):
        return {rename(key): _renamed(item, rename) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, rename) for item in value]
    return value


def linked(kind: str, identifier: str | None, related: str | None = None) -> dict[str, Any]:
    """A to-one relationship; ``related`` is the path where it can be read."""
    made: dict[str, Any] = {"links": {"related": related}} if related else {}
    made["data"] = {"type": kind, "id": identifier} if identifier else None
    return made


def resource(
    kind: str, row: Row, attributes: Mapping[str, Any], relationships: Mapping[str, Any]
) -> dict[str, Any]:
    """A JSON:API resource object with the times every resource has."""
    return {
        "id": row["id"],
        "type": kind,
        "attributes": {**attributes, "created": row["created"], "updated": row["updated"]},
        "relationships": dict(relationships),
    }
