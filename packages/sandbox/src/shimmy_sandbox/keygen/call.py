"""A request as handlers see it, and what they answer."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from shimmy_sandbox.keygen.database import Database, Row
from shimmy_sandbox.keygen.parameters import OBJECT, UUID, Kind, check_depth, checked
from shimmy_sandbox.keygen.signing import SigningKey
from shimmy_sandbox.keygen.wire import error, metadata_in, refusal, written_time

Role: TypeAlias = Literal["anonymous", "admin", "product", "license"]
METADATA = Kind("object", nullable=True)
_SINGULAR = {"policies": "policy"}


def singular(kind: str) -> str:
    """The name of one resource of ``kind``: ``licenses`` are of ``license``."""
    return _SINGULAR.get(kind, kind.removesuffix("s"))


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who asks; ``id`` is the admin's, product's or licence's, ``token`` None for a licence key."""

    role: Role
    id: str | None = None
    token: Row | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who, what, when, on which tables."""

    database: Database
    account: Row
    key: SigningKey
    bearer: Bearer
    now: datetime
    location: str
    """The request's path without its query."""
    path: Mapping[str, str]
    """What the route's placeholders stand for."""
    query: Sequence[tuple[str, str]] = ()
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def time(self) -> str:
        """``now`` as the wire writes it."""
        return written_time(self.now)

    @property
    def base(self) -> str:
        """The path every link of this account starts with."""
        return f"/v1/accounts/{self.account['id']}"

    def meta(self, known: Mapping[str, Kind]) -> dict[str, Any]:
        """The request's ``meta``, checked."""
        return checked(self.body.get("meta"), known, "/meta")

    def data(self, kind: str) -> Mapping[str, Any]:
        """The request's ``data`` object of type ``kind``; 400 when it is something else."""
        if self.body.get("data") is None:
            raise refusal(400, "is missing", pointer="/data")
        data: Mapping[str, Any] = OBJECT.check(self.body["data"], "/data")
        if data.get("type") not in (kind, singular(kind)):
            raise refusal(400, "is invalid", pointer="/data/type")
        return data

    def attributes(
        self, kind: str, known: Mapping[str, Kind], required: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The attributes sent, checked; ``metadata`` with its keys snake_cased."""
        sent = checked(self.data(kind).get("attributes"), known, "/data/attributes")
        for name in required:
            if name not in sent:
                raise refusal(400, "is missing", pointer=f"/data/attributes/{name}")
        if "metadata" in sent:
            check_depth(sent["metadata"], "/data/attributes/metadata")
            sent["metadata"] = metadata_in(sent["metadata"] or {})
        return sent

    def related(self, kind: str, name: str, *, required: bool = False) -> str | None:
        """The id in the to-one relationship ``name``, if one is sent; 400 when it is no id."""
        relations = self.data(kind).get("relationships")
        relations = {} if relations is None else OBJECT.check(relations, "/data/relationships")
        pointer = f"/data/relationships/{name}"
        if name not in relations:
            if required:
                raise refusal(400, "is missing", pointer=pointer)
            return None
        data = OBJECT.check(relations[name], pointer).get("data")
        if data is None and not required:
            return None
        identifier: str = UUID.check(
            OBJECT.check(data, f"{pointer}/data").get("id"), f"{pointer}/data/id"
        )
        return identifier

    def chosen_id(self, kind: str, table: str) -> tuple[str, list[dict[str, Any]]]:
        """The id the client chose, or a fresh one, and what is wrong with it."""
        chosen = self.data(kind).get("id")
        if chosen is None:
            return str(uuid.uuid4()), []
        identifier: str = UUID.check(chosen, "/data/id")
        if self.database.by_id(table, identifier) is None:
            return identifier, []
        detail = f"must not conflict with another {singular(kind)}"
        return identifier, [error(detail, "ID_CONFLICT", pointer="/data/id")]

    def filter(self, name: str) -> str | None:
        """The query parameter ``name``."""
        return next((value for key, value in self.query if key == name), None)

    def stamped(self, identifier: str) -> Row:
        """The columns every new row has."""
        return {"id": identifier, "created": self.time, "updated": self.time}


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back; ``document`` None is an empty body, ``text`` replaces JSON."""

    status: int = 200
    document: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
