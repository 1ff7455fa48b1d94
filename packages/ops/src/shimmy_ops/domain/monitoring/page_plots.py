"""Which plots a picture has: a line a series, and revenue by tier as bars."""

from __future__ import annotations

from dataclasses import dataclass

from shimmy_ops.domain.monitoring.picture import Picture, Revenue, Series
from shimmy_ops.domain.monitoring.plots import Bar, LineChart, draw_bars, draw_line_chart
from shimmy_ops.domain.monitoring.wording import money, of_unit, plain


@dataclass(frozen=True, slots=True)
class DrawnPlot:
    """``svg`` is markup, safe as it is; the rest is text. ``last`` is the newest value."""

    title: str
    last: str
    svg: str


def currency_of(picture: Picture) -> str:
    """What money is counted in; dollars where nobody knows."""
    return picture.revenue.currency if isinstance(picture.revenue, Revenue) else "usd"


def less_is_worse(picture: Picture, series: Series) -> bool:
    """Whether an objective of the same id says so."""
    return any(one.id == series.id and one.at_least for one in picture.objectives)


def last_value(series: Series) -> float | None:
    """The newest one; None where it is missing."""
    return series.points[-1].value if series.points else None


def make_plots(picture: Picture) -> tuple[DrawnPlot, ...]:
    """Series in their order, with the limit of the objective of the same id; then the tiers."""
    lines = tuple(_line(picture, one) for one in picture.history)
    return (*lines, *_tiers(picture))


def _line(picture: Picture, series: Series) -> DrawnPlot:
    limits = [one.target for one in picture.objectives if one.id == series.id]
    currency = currency_of(picture)
    chart = LineChart(
        title=series.title,
        unit=series.unit,
        begin=picture.window.since,
        end=picture.taken,
        points=series.points,
        limit=limits[0] if limits else None,
        less_is_worse=less_is_worse(picture, series),
        currency=currency,
    )
    last = of_unit(last_value(series), series.unit, currency)
    return DrawnPlot(plain(series.title, 60), last, draw_line_chart(chart))


def _tiers(picture: Picture) -> tuple[DrawnPlot, ...]:
    found = picture.revenue
    if not isinstance(found, Revenue) or not found.tiers:
        return ()
    title = "Revenue a month, by tier"
    bars = [
        Bar(one.name or one.plan, float(one.mrr), _written(one.mrr, one.sold_once, found.currency))
        for one in found.tiers
    ]
    return (DrawnPlot(title, money(found.mrr, found.currency), draw_bars(title, bars)),)


def _written(mrr: int, sold_once: int, currency: str) -> str:
    return f"{sold_once:,} sold once" if sold_once and not mrr else money(mrr, currency)
