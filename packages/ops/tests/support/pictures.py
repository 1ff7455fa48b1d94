"""Pictures of a shop that does well, of a new one, of one that nobody can see, and of any."""

from __future__ import annotations

import math
import random
from dataclasses import is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from shimmy_ops.domain.monitoring.picture import (
    Alarm,
    Alarms,
    Alert,
    Availability,
    BurnRate,
    Drift,
    EndpointRequests,
    Losses,
    Mismatch,
    Objective,
    Outbox,
    Picture,
    Point,
    Requests,
    Revenue,
    Series,
    Spread,
    StripeDelivery,
    Support,
    TierRevenue,
    Unit,
    Unknown,
    Webhooks,
    Window,
)

NOW = datetime(2026, 11, 26, 9, 30, 12, tzinfo=UTC)
_HOURS = 24
# Five a.m. to six: nobody sampled.
_GAP = range(60, 72)
_SERIES: tuple[tuple[str, str, Unit], ...] = (
    ("error-rate", "Error rate", "ratio"),
    ("availability", "Availability", "ratio"),
    ("p99", "Slowest in a hundred (p99)", "seconds"),
    ("events-pending", "Events pending", "count"),
    ("mrr", "Revenue a month", "money"),
)


def ago(**given: float) -> datetime:
    return NOW - timedelta(**given)


def full_picture(profile: str = "live") -> Picture:
    """A day of a shop that sells, with a bit of everything amiss."""
    return Picture(
        taken=NOW,
        profile=profile,
        version="0.1.0",
        window=Window(_HOURS, ago(hours=_HOURS), 0.958),
        requests=_requests(),
        availability=Availability(0.99961, 288, 287, True, 0.0412, ("stripe: too-slow",)),
        webhooks=Webhooks(
            1432, 3, 1, 41.0, Spread(1432, 0.61, 1.9, 3.2, 14.0), Spread(1429, 0.35, 1.2, 2.8, 9.0)
        ),
        stripe_delivery=StripeDelivery("enabled", 2, 95.0),
        outbox=Outbox(1, 0, 208, 12.0, Spread(208, 1.1, 3.0, 4.4, 6.1)),
        alarms=Alarms((
            Alarm("paid-without-licence", "cus_TdM2kQ8xYpW1", ago(hours=5)),
            Alarm("message-parked", "mail_0193b2", ago(minutes=40)),
        )),
        drift=Drift(1204, 1203, (Mismatch("paid-without-licence", "cus_TdM2kQ8xYpW1"),)),
        losses=Losses("usd", 4, 19600, 1, 4900, 1, ("1 refund in eur",)),
        revenue=_revenue(),
        support=Support(9, 7, 2, 9200.0, 0.75, 2520.0, 14400.0),
        objectives=_objectives(),
        alerts=(
            Alert("error-budget", "The error budget burns 14 times too fast",
                  "2 % of the month's budget went in an hour", "page", "firing",
                  ago(minutes=22), ago(minutes=20), ()),
            Alert("mail-p99", "Mails leave late", "", "ticket", "firing", ago(hours=3), None,
                  ("webhook",)),
        ),
        history=tuple(
            Series(ident, title, unit, _points(ident)) for ident, title, unit in _SERIES
        ),
    )  # fmt: skip


def _requests() -> Requests:
    return Requests(
        EndpointRequests("", 48210, 31, 0.018, 0.112, 0.412),
        (
            EndpointRequests("/pricing", 21903, 0, 0.009, 0.031, 0.088),
            EndpointRequests("/stripe-webhook", 1432, 0, 0.041, 0.14, 0.39),
            EndpointRequests("/buy", 1120, 31, 0.31, 0.61, 1.9),
            EndpointRequests("/view-license", 802, 0, 0.052, 0.21, 0.44),
        ),
    )


def _revenue() -> Revenue:
    tiers = (
        TierRevenue("monthly", "Monthly", 812, 1541988, 41, 12, 0, 0),
        TierRevenue("quarterly", "Quarterly", 160, 266560, 6, 2, 0, 0),
        TierRevenue("yearly", "Yearly", 231, 364903, 9, 1, 0, 0),
        TierRevenue("team", "Team", 14, 138600, 1, 0, 0, 0),
        TierRevenue("lifetime", "Lifetime", 0, 0, 0, 0, 3, 119700),
    )
    statuses = (("active", 1203), ("past_due", 11), ("trialing", 3))
    return Revenue(
        "usd", 2312051, 1217, 57, 15, 0.0127, 3, 119700, 4, 2, tiers, statuses,
        ("2 subscriptions in eur",),
    )  # fmt: skip


def _objectives() -> tuple[Objective, ...]:
    spans = (1 / 12, 0.5, 1, 2, 6, 24, 72)
    rates = (20.1, 15.0, 14.2, 9.0, 3.1, 1.4, 0.9)
    burn = tuple(BurnRate(*one) for one in zip(spans, rates, strict=True))
    calm = tuple(BurnRate(one, 0.0) for one in spans)
    return (
        Objective("error-rate", "Requests that fail", "ratio", False, 0.001, 0.000643, "held", "",
                  48.2, 17.2, burn),
        Objective("availability", "Available", "ratio", True, 0.999, 0.99961, "held", "",
                  0.288, 0.112, calm),
        Objective("p99", "Slowest in a hundred", "seconds", False, 0.5, 0.412, "held", "",
                  None, None, ()),
        Objective("settling-p99", "Payment to licence", "seconds", False, 10.0, 2.8, "held", "",
                  None, None, ()),
        Objective("mail-p99", "Mail leaves", "seconds", False, 3.0, 4.4, "missed", "",
                  None, None, ()),
        Objective("drift", "Licences not as paid", "count", False, 0.0, None, "unknown",
                  "Keygen did not answer", None, None, ()),
    )  # fmt: skip


def _points(ident: str) -> tuple[Point, ...]:
    chance = random.Random(ident)
    points = []
    for number in range(288):
        at = ago(hours=_HOURS) + timedelta(minutes=5 * (number + 1))
        wave = 0.5 + 0.5 * math.sin(number / 30)
        value: float = {
            "error-rate": max(0.0, chance.gauss(0.0004, 0.0003)) + 0.004 * (230 < number < 236),
            "availability": 1.0 if number != 180 else 0.75,
            "p99": 0.2 + 0.2 * wave + abs(chance.gauss(0, 0.05)),
            "events-pending": float(chance.choice((0, 0, 1, 2)) + 9 * (230 < number < 238)),
            "mrr": 2298000.0 + 50.0 * number,
        }[ident]
        points.append(Point(at, None if number in _GAP else value))
    return tuple(points)


def empty_picture(profile: str = "test") -> Picture:
    """A shop that was opened a minute ago: everything can be read, nothing happened."""
    none = Spread(0, None, None, None, None)
    return replace(
        full_picture(profile),
        window=Window(_HOURS, ago(hours=_HOURS), 0.0),
        requests=Requests(EndpointRequests("", 0, 0, None, None, None), ()),
        availability=Availability(1.0, 1, 1, True, 0.02, ()),
        webhooks=Webhooks(0, 0, 0, None, none, none),
        stripe_delivery=StripeDelivery("enabled", 0, None),
        outbox=Outbox(0, 0, 0, None, none),
        alarms=Alarms(()),
        drift=Drift(0, 0, ()),
        losses=Losses("usd", 0, 0, 0, 0, 0, ()),
        revenue=Revenue("usd", 0, 0, 0, 0, None, 0, 0, 0, 0, tuple(
            TierRevenue(one.plan, one.name, 0, 0, 0, 0, 0, 0) for one in _revenue().tiers
        ), (), ()),
        support=Support(0, 0, 0, None, None, None, None),
        objectives=tuple(
            replace(one, measured=None, state="unknown", reason="no samples yet", budget_total=None,
                    budget_left=None, burn=())
            for one in _objectives()
        ),
        alerts=(),
        history=tuple(Series(ident, title, unit, ()) for ident, title, unit in _SERIES),
    )  # fmt: skip


def unknown_picture(profile: str = "live") -> Picture:
    """No source answers."""
    store = Unknown("The store cannot be reached: store-unreachable.")
    stripe = Unknown("Stripe refuses the key of this profile: stripe-key-refused.")
    return replace(
        empty_picture(profile),
        version="",
        requests=store,
        availability=store,
        webhooks=store,
        stripe_delivery=stripe,
        outbox=store,
        alarms=store,
        drift=Unknown("Keygen cannot be reached: keygen-unreachable."),
        losses=stripe,
        revenue=stripe,
        support=Unknown("No tickets_file is set for this profile."),
    )


def quiet_picture(profile: str = "sandbox") -> Picture:
    """All objectives are held and nothing is amiss."""
    held = (replace(_objectives()[0], measured=0.0),)
    return replace(full_picture(profile), objectives=held, alerts=(), alarms=Alarms(()))


# As bad as texts can be: markup of pages and of terminals, escapes, templates.
_TEXTS = st.text(max_size=40) | st.sampled_from(
    ["<script>alert(1)</script>", "\x1b[31mred\x1b[0m", '"><img src=x>', "[bold]x[/]", "{{ 7*7 }}"]
)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXTS,
    int: st.integers(-(10**15), 10**15),
    float: st.floats() | st.floats(-1e6, 1e6),
    bool: st.booleans(),
    type(None): st.none(),
    datetime: st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),
}


def _any(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type of ``picture.py``, absurd ones among them."""
    parts = get_args(kind)
    match get_origin(kind):
        case None if isinstance(kind, type) and is_dataclass(kind):
            hints = get_type_hints(kind)
            return st.builds(kind, **{name: _any(hint) for name, hint in hints.items()})
        case None:
            return _PLAIN[kind]
        case _ if get_origin(kind) is Literal:
            return st.sampled_from(parts)
        case _ if get_origin(kind) is tuple and parts[-1] is Ellipsis:
            return st.lists(_any(parts[0]), max_size=4).map(tuple)
        case _ if get_origin(kind) is tuple:
            return st.tuples(*map(_any, parts))
        case _:
            return st.one_of(*map(_any, parts))


def any_picture() -> st.SearchStrategy[Picture]:
    """Built from the types alone: each section may be unknown, each number absurd."""
    return _any(Picture)
