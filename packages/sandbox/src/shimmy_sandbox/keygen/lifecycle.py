"""What happens to a licence in its life: suspension, renewal, use, another policy or owner."""

from __future__ import annotations

from shimmy_sandbox.keygen.calendar_time import add_duration
from shimmy_sandbox.keygen.call import Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.licences import changed, start_expiry
from shimmy_sandbox.keygen.parameters import INTEGER, OBJECT, UUID, check_whole
from shimmy_sandbox.keygen.permissions import require_product
from shimmy_sandbox.keygen.records import found_user, policy_of, the_licence
from shimmy_sandbox.keygen.resources import use_limit
from shimmy_sandbox.keygen.wire import cannot, read_time, refusal, written_time

_USES, _SUSPENDED = "/data/attributes/uses", "/data/attributes/suspended"


def suspend(call: Call) -> Reply:
    """200; 422 when it is suspended already."""
    row = the_licence(call, "license.suspend")
    if row["suspended"]:
        raise cannot("is already suspended", pointer=_SUSPENDED)
    return changed(call, row, {"suspended": True})


def reinstate(call: Call) -> Reply:
    """200; 422 when it is not suspended."""
    row = the_licence(call, "license.reinstate")
    if not row["suspended"]:
        raise cannot("is not suspended", pointer=_SUSPENDED)
    return changed(call, row, {"suspended": False})


def renew(call: Call) -> Reply:
    """200 with the expiry moved by the policy's duration; 422 without a duration or an expiry."""
    row = the_licence(call, "license.renew")
    settings = policy_of(call, row)["settings"]
    if settings["duration"] is None:
        raise cannot("cannot be renewed because the policy does not have a duration")
    if row["expiry"] is None:
        raise cannot("cannot be renewed because it does not have an expiry")
    expiry = start = read_time(row["expiry"])
    basis = settings["renewalBasis"]
    if basis == "FROM_NOW" or (basis == "FROM_NOW_IF_EXPIRED" and expiry < call.now):
        start = call.now
    return changed(call, row, {"expiry": written_time(add_duration(start, settings["duration"]))})


def check_in(call: Call) -> Reply:
    """200 with ``lastCheckIn``; 422 when the policy asks for none."""
    row = the_licence(call, "license.check-in")
    if not policy_of(call, row)["settings"]["requireCheckIn"]:
        raise cannot("cannot be checked in because the policy does not require it")
    return changed(call, row, {"last_check_in": call.time})


def increment_usage(call: Call) -> Reply:
    """200 with ``uses`` counted up by ``meta.increment`` (1); all of it or 422 and nothing.

    As Keygen's, it has no minimum: a negative increment counts down.
    """
    row = the_licence(call, "license.usage.increment")
    step = call.meta({"increment": INTEGER}).get("increment", 1)
    check_whole(step, "/meta/increment")
    settings = policy_of(call, row)["settings"]
    row = start_expiry(call, row, settings, "FROM_FIRST_USE")
    return _used(call, row, row["uses"] + step, "/meta/increment")


def decrement_usage(call: Call) -> Reply:
    """200 with ``uses`` counted down by ``meta.decrement`` (1); 422 below 0."""
    row = the_licence(call, "license.usage.decrement")
    step = call.meta({"decrement": INTEGER}).get("decrement", 1)
    check_whole(step, "/meta/decrement")
    return _used(call, row, row["uses"] - step, "/meta/decrement")


def reset_usage(call: Call) -> Reply:
    """200 with ``uses`` 0."""
    return changed(call, the_licence(call, "license.usage.reset"), {"uses": 0})


def _used(call: Call, row: Row, uses: int, pointer: str) -> Reply:
    limit = use_limit(row, policy_of(call, row)["settings"])
    if uses < 0:
        raise refusal(422, "must be greater than or equal to 0", "USES_INVALID", pointer=_USES)
    if limit is not None and uses > limit and uses != row["uses"]:
        detail = f"usage exceeds maximum allowed for license ({limit})"
        raise refusal(422, detail, "USES_LIMIT_EXCEEDED", pointer=_USES)
    check_whole(uses, pointer)
    return changed(call, row, {"uses": uses})


def change_policy(call: Call) -> Reply:
    """200 with the licence under another policy of the same scheme; 422 otherwise."""
    row = the_licence(call, "license.policy.update")
    identifier = UUID.check(call.data("policies").get("id"), "/data/id")
    new, pointer = call.database.by_id("policies", identifier), "/data/relationships/policy"
    if new is None:
        raise refusal(422, "must exist", "POLICY_NOT_FOUND", pointer=pointer)
    require_product(call, new["product_id"])
    settings = new["settings"]
    if settings["scheme"] != policy_of(call, row)["settings"]["scheme"]:
        detail = "cannot change to a policy with a different scheme"
        raise refusal(422, detail, "POLICY_NOT_COMPATIBLE", pointer=pointer)
    changes = {"policy_id": identifier}
    if settings["transferStrategy"] == "RESET_EXPIRY":
        duration = settings["duration"]
        changes["expiry"] = written_time(add_duration(call.now, duration)) if duration else None
    return changed(call, {**row, "product_id": new["product_id"]}, changes)


def change_owner(call: Call) -> Reply:
    """200 with the licence under another owner, or none."""
    row = the_licence(call, "license.owner.update")
    if "data" not in call.body:
        raise refusal(400, "is missing", pointer="/data")
    if call.body["data"] is None:
        return changed(call, row, {"owner_id": None})
    data = OBJECT.check(call.data("users"), "/data")
    identifier = UUID.check(data.get("id"), "/data/id")
    if found_user(call, identifier) is None:
        pointer = "/data/relationships/owner"
        raise refusal(422, "must exist", "OWNER_NOT_FOUND", pointer=pointer)
    return changed(call, row, {"owner_id": identifier})
