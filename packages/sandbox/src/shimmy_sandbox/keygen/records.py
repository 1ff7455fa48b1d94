"""Finding what a request names: within what its bearer may see, otherwise 404."""

from __future__ import annotations

from shimmy_sandbox.keygen.call import Call
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.permissions import require
from shimmy_sandbox.keygen.wire import not_found

_MACHINES = (
    "SELECT machines.*, licences.policy_id, policies.product_id FROM machines "
    "JOIN licences ON licences.id = licence_id JOIN policies ON policies.id = policy_id "
)
_LICENCES = (
    "SELECT licences.*, policies.product_id FROM licences JOIN policies ON policies.id = policy_id "
)


def the_licence(call: Call, action: str) -> Row:
    """The licence the path names by id or key, and the right to ``action`` on it."""
    require(call)
    alias = call.path["license"]
    rows = call.database.rows(
        f"{_LICENCES} WHERE licences.id = lower(?) OR key = ? ORDER BY licences.created",
        alias,
        alias,
    )
    seen = [row for row in rows if _sees(call, row["id"], row["product_id"])]
    if not seen:
        raise not_found("license", alias)
    require(call, action)
    return seen[0]


def the_machine(call: Call, action: str) -> Row:
    """The machine the path names by id or fingerprint, and the right to ``action`` on it."""
    require(call)
    alias = call.path["machine"]
    rows = call.database.rows(
        f"{_MACHINES} WHERE machines.id = lower(?) OR fingerprint = ? ORDER BY machines.created, "
        "machines.rowid",
        alias,
        alias,
    )
    seen = [row for row in rows if _sees(call, row["licence_id"], row["product_id"])]
    if not seen:
        raise not_found("machine", alias)
    require(call, action)
    return seen[0]


def visible_licences(call: Call) -> list[Row]:
    """Licences the bearer may see, newest first."""
    rows = call.database.rows(f"{_LICENCES} ORDER BY licences.created DESC, licences.rowid DESC")
    return [row for row in rows if _sees(call, row["id"], row["product_id"])]


def visible_machines(call: Call) -> list[Row]:
    """Machines the bearer may see, newest first."""
    rows = call.database.rows(f"{_MACHINES} ORDER BY machines.created DESC, machines.rowid DESC")
    return [row for row in rows if _sees(call, row["licence_id"], row["product_id"])]


def found(call: Call, table: str, kind: str) -> Row:
    """The row of ``table`` whose id the path gives as ``kind``, or 404."""
    row = call.database.by_id(table, call.path[kind].lower())
    if row is None:
        raise not_found(kind, call.path[kind])
    return row


def policy_of(call: Call, licence: Row) -> Row:
    """The policy of ``licence``."""
    policy = call.database.by_id("policies", licence["policy_id"])
    if policy is None:
        raise LookupError(licence["policy_id"])
    return policy


def machines_of(call: Call, licence: Row) -> list[Row]:
    """The machines of ``licence``, oldest first."""
    sql = "SELECT * FROM machines WHERE licence_id = ? ORDER BY created, rowid"
    return call.database.rows(sql, licence["id"])


def machines_with_fingerprint(call: Call, fingerprint: str) -> list[Row]:
    """The machines of every licence that have this fingerprint."""
    return call.database.rows(f"{_MACHINES} WHERE fingerprint = ?", fingerprint)


def entitlements_of(call: Call, licence: Row) -> list[Row]:
    """What a licence is entitled to: through its policy or by itself, newest first."""
    return call.database.rows(
        "SELECT * FROM entitlements WHERE id IN (SELECT entitlement_id FROM policy_entitlements "
        "WHERE policy_id = ? UNION SELECT entitlement_id FROM licence_entitlements "
        "WHERE licence_id = ?) ORDER BY created DESC, rowid DESC",
        licence["policy_id"],
        licence["id"],
    )


def found_user(call: Call, alias: str | None) -> Row | None:
    """The user with this id or email."""
    if alias is None:
        return None
    sql = "SELECT * FROM users WHERE ? IN (id, email)"
    return call.database.one(sql, alias.lower())


def _sees(call: Call, licence_id: str, product_id: str) -> bool:
    match call.bearer.role:
        case "admin":
            return True
        case "product":
            return product_id == call.bearer.id
        case "license":
            return licence_id == call.bearer.id
        case "anonymous":
            return False
