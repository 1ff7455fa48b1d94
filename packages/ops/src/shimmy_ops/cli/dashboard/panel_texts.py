"""Panels as text for the terminal: signs and words say what colours only repeat."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from shimmy_ops.domain.monitoring.page_plots import currency_of, last_value, less_is_worse
from shimmy_ops.domain.monitoring.panel import SIGNS, Cell, Fact, Mark, Panel, Table
from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.domain.monitoring.wording import bar, of_unit, plain, sparkline

_BAR = 6
_SHARE = (8, 48)  # letters: a column of words counts for no less and no more than this
_COLOURS: dict[Mark, str] = {
    "good": "green", "bad": "bold red", "unknown": "yellow", "none": "",
}  # fmt: skip


def panel_text(panel: Panel) -> RenderableType:
    """What stands inside a panel's frame."""
    if panel.unknown:
        return marked("unknown", f"Not known: {panel.unknown}")
    parts: list[RenderableType] = []
    if panel.facts:
        parts.append(_facts(panel.facts))
    if panel.table is not None:
        parts.append(_table(panel.table))
    return Group(*parts) if parts else Text(panel.empty)


def marked(mark: Mark, text: str) -> Text:
    """The sign in its colour, then the text."""
    sign = SIGNS[mark]
    return Text.assemble((f"{sign} ", _COLOURS[mark]), text) if sign else Text(text)


def _facts(facts: tuple[Fact, ...]) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    for one in facts:
        grid.add_row(one.name, marked(one.mark, one.value))
    return grid


def _table(table: Table) -> Grid:
    """Figures are as wide as they are; words share what is left, so that nothing is cut off."""
    grid = Grid(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="dim")
    for number, one in enumerate(table.headings):
        fixed = one.number or any(row[number].part is not None for row in table.rows)
        grid.add_column(
            one.text,
            justify="right" if one.number else "left",
            ratio=None if fixed else _longest(table, number),
            overflow="fold",
            no_wrap=fixed,
        )
    for row in table.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _longest(table: Table, number: int) -> int:
    longest = max(len(row[number].text) + len(SIGNS[row[number].mark]) for row in table.rows)
    return min(_SHARE[1], max(_SHARE[0], longest))


def _cell(one: Cell) -> Text:
    drawn = "" if one.part is None else f"{bar(one.part, _BAR)} "
    return marked(one.mark, f"{drawn}{one.text}")


def history_text(picture: Picture, width: int) -> RenderableType:
    """A sparkline a series: its name, the course, its newest value."""
    if not any(one.points for one in picture.history):
        return Text("Nothing was sampled yet.")
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True, max_width=26)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    currency = currency_of(picture)
    names = max(min(26, len(one.title)) for one in picture.history)
    for one in picture.history:
        drawn = sparkline(
            [point.value for point in one.points],
            max(8, width - names - 14),
            less_is_worse=less_is_worse(picture, one),
        )
        last = of_unit(last_value(one), one.unit, currency)
        grid.add_row(Text(plain(one.title, 26)), Text(drawn, style="cyan"), Text(last))
    return grid
