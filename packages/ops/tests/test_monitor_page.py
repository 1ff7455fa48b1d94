"""The page: what it says, that nothing in it is markup but ours, how its plots lie."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pictures import (
    NOW,
    ago,
    any_picture,
    empty_picture,
    full_picture,
    quiet_picture,
    unknown_picture,
)

from shimmy_ops.adapters.monitoring.jinja_page import JinjaPage
from shimmy_ops.cli.dashboard.serving import write_page
from shimmy_ops.domain.monitoring.documents import picture_document
from shimmy_ops.domain.monitoring.panels import decide_verdict, one_line
from shimmy_ops.domain.monitoring.picture import Alarm, Alarms, Picture, Point, Unit, Unknown
from shimmy_ops.domain.monitoring.plots import (
    Bar,
    LineChart,
    describe_line_chart,
    draw_bars,
    draw_line_chart,
    lay_out,
    lay_out_bars,
)
from shimmy_ops.domain.monitoring.scales import choose_time_ticks, choose_value_ticks, tick_label
from shimmy_ops.domain.monitoring.wording import (
    NONE,
    age,
    bar,
    count,
    money,
    plain,
    seconds,
    share,
    sparkline,
)

PAGE = JinjaPage()
TIMES = "\N{MULTIPLICATION SIGN}"


class Seen(HTMLParser):
    """Tags with their attributes, and the text outside of styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_full_picture_shows_every_section_with_words_for_every_colour() -> None:
    seen = Seen(PAGE.render(full_picture()))
    for said in (
        "LIVE : real money moves here", "1 objective missed, 2 alerts, 2 alarms",
        "Requests that fail: held", "Mail leaves: missed",
        "Licences not as paid: unknown", "Keygen did not answer",
        f"1h:14.2{TIMES} 6h:3.1{TIMES} 3d:0.9{TIMES}", "36 %",
        "page: The error budget burns", "not by webhook",
        "paid-without-licence", "/stripe-webhook", "31 (2.8 %)", "610 ms, p95 1.9 s",
        "2, oldest 1 min 35 s", "paid, no licence", "$23,120.51", "Quarterly", "3, $1,197.00",
        "1 refund in eur", "42 min, p95 4 h", "Store 0.1.0", "last 24 h, 95.8 % of it sampled",
    ):  # fmt: skip
        assert said in seen.text, said
    pictures = [attrs for tag, attrs in seen.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(pictures) == 6
    assert all(attrs["aria-label"] for attrs in pictures)
    tags = [tag for tag, _ in seen.tags]
    assert tags.count("table") == tags.count("caption") == 6
    assert tags.count("h1") == 1


def test_an_empty_shop_says_that_nothing_happened_yet() -> None:
    text = Seen(PAGE.render(empty_picture())).text
    assert text.count("no samples yet") >= 6
    assert "✓ No alert fires." in text
    assert "✓ No alarm is open." in text
    assert "Profile test : no real money moves here" in text
    assert "6 objectives not known" in text


def test_what_cannot_be_read_says_why_in_its_place_and_hides_nothing_else() -> None:
    text = Seen(PAGE.render(unknown_picture())).text
    assert text.count("Not known:") == 10
    assert "Stripe refuses the key of this profile: stripe-key-refused." in text
    one = replace(full_picture(), revenue=Unknown("Stripe is slow."))
    text = Seen(PAGE.render(one)).text
    assert text.count("Not known:") == 1
    assert "/stripe-webhook" in text


def test_a_quiet_shop_is_called_well() -> None:
    verdict = decide_verdict(quiet_picture())
    assert verdict.mark == "good"
    assert decide_verdict(replace(quiet_picture(), drift=Unknown("x"))).mark == "unknown"
    assert decide_verdict(replace(quiet_picture(), objectives=())).mark == "unknown"


def test_only_a_served_page_refreshes() -> None:
    assert 'http-equiv="refresh"' not in PAGE.render(full_picture())
    assert '<meta http-equiv="refresh" content="30">' in PAGE.render(
        full_picture(), refresh_seconds=30
    )


def test_trouble_is_the_first_thing_said() -> None:
    text = Seen(PAGE.render(quiet_picture(), trouble="<b>The store</b> is gone.")).text
    assert "✗ Not sampled: all objectives held" in text
    assert "<b>The store</b> is gone." in text


def test_the_policy_allows_our_style_and_nothing_else() -> None:
    page = PAGE.render(full_picture())
    assert "script" not in PAGE.policy
    assert "unsafe" not in PAGE.policy
    assert PAGE.policy.replace("'", "&#39;") in page
    seen = Seen(page)
    assert not [attrs for _, attrs in seen.tags if "style" in attrs]
    assert not re.search(r"https?://", page)


def test_every_text_from_outside_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>\"'&"
    alarms = Alarms((Alarm(evil, evil, NOW),))
    picture = replace(
        full_picture(), profile=evil, version=evil, alarms=alarms, drift=Unknown(evil)
    )
    page = PAGE.render(picture)
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;" in page


# What our own page is made of; a text that became a tag would be another.
_OURS = frozenset(
    ("html", "head", "meta", "title", "link", "style", "body", "header", "p", "strong", "div",
     "span", "svg", "g", "path", "circle", "rect", "text", "polyline", "nav", "a", "main", "h1",
     "h2", "section", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td",
     "figure", "figcaption")
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_picture())
def test_no_picture_breaks_the_page_or_gets_markup_into_it(picture: Picture) -> None:
    page = PAGE.render(picture)
    seen = Seen(page)
    assert {tag for tag, _ in seen.tags} <= _OURS
    assert not [name for _, attrs in seen.tags for name in attrs if name.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\x9b\u202e]", page)
    for drawn in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawn)  # noqa: S314 - our own
        assert not re.search(r"\b(nan|inf)\b", re.sub(r'aria-label="[^"]*"|>[^<]*<', "", drawn))
    assert "\n" not in one_line(picture)
    json.dumps(picture_document(picture), allow_nan=False)


def test_the_document_says_everything_in_plain_json() -> None:
    told = picture_document(replace(full_picture(), support=Unknown("no file")))
    assert told["taken"] == "2026-11-26T09:30:12Z"
    assert told["support"] == {"unknown": "no file"}
    assert told["revenue"]["tiers"][0]["mrr"] == 1541988
    assert told["history"][0]["points"][60]["value"] is None
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_a_page_in_a_file_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "picture.html"
    write_page(full_picture(), file)
    assert file.read_text().startswith("<!doctype html>")
    assert file.stat().st_mode & 0o777 == 0o600


_UNITS: st.SearchStrategy[Unit] = st.sampled_from(["ratio", "seconds", "count", "money"])
_VALUES = st.none() | st.floats() | st.floats(0, 1)
_TIMES = st.timedeltas(timedelta(hours=-26), timedelta(hours=2)).map(lambda one: NOW + one)


@given(
    st.lists(st.builds(Point, _TIMES, _VALUES), max_size=40),
    _UNITS,
    st.none() | st.floats(),
    st.booleans(),
    st.timedeltas(timedelta(0), timedelta(days=90)),
)
@settings(max_examples=150, deadline=None)
def test_a_plot_lies_in_its_box_goes_on_in_time_and_is_cut_at_gaps(
    points: list[Point], unit: Unit, limit: float | None, less: bool, width: timedelta
) -> None:
    chart = LineChart("t", unit, NOW - width, NOW, points, limit, less)
    plot = lay_out(chart)
    box = plot.box
    for line in plot.lines:
        assert line
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        for x, y in line:
            assert box.left <= x <= box.right + 1e-9
            assert box.top - 1e-9 <= y <= box.bottom
    for before, after in zip(plot.lines, plot.lines[1:], strict=False):
        assert before[-1][0] <= after[0][0]
    inside = {one.at: one.value for one in points if chart.begin <= one.at <= chart.end}
    known = [one for one in inside.values() if one is not None and not math.isnan(one)]
    assert sum(map(len, plot.lines)) == len(known)
    assert 2 <= len(plot.y_ticks) <= 9
    assert len(plot.x_ticks) <= 5
    assert all(box.left <= x <= box.right + 1e-9 for x, _ in plot.x_ticks)
    assert plot.limit is None or box.top - 1e-9 <= plot.limit <= box.bottom
    ElementTree.fromstring(draw_line_chart(chart))  # noqa: S314 - our own


def test_a_gap_cuts_the_line_and_is_told() -> None:
    values = (0.1, 0.2, None, None, 0.3, None, 0.4, 0.5)
    points = [Point(ago(minutes=80 - 10 * n), value) for n, value in enumerate(values)]
    chart = LineChart("Error rate", "ratio", ago(hours=2), NOW, points, 0.45)
    assert [len(line) for line in lay_out(chart).lines] == [2, 1, 2]
    said = describe_line_chart(chart)
    assert "lowest 10 %, highest 50 %, last 50 %" in said
    assert "Promised: at most 45 %." in said
    assert "Samples are missing in 2 places." in said
    drawn = draw_line_chart(chart)
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 1
    assert drawn.count('class="limit"') == 1


def test_higher_values_lie_higher_and_availability_ends_at_all() -> None:
    points = [Point(ago(minutes=30), 0.99), Point(ago(minutes=20), 1.0)]
    chart = LineChart("Availability", "ratio", ago(hours=1), NOW, points, 0.999, less_is_worse=True)
    plot = lay_out(chart)
    ((low, high),) = plot.lines
    assert high[1] == plot.box.top < low[1]
    assert plot.y_ticks[-1] == (plot.box.top, "100 %")
    assert plot.limit is not None
    assert high[1] < plot.limit < low[1]


@given(st.lists(st.floats(), min_size=1, max_size=8))
def test_bars_are_as_long_as_their_share_of_the_longest(amounts: list[float]) -> None:
    bars = [Bar(f"<{n}>", one, "&") for n, one in enumerate(amounts)]
    lengths = lay_out_bars(bars)
    assert all(0 <= one <= 180 for one in lengths)
    assert max(lengths) in (0.0, 180.0)
    ElementTree.fromstring(draw_bars("<t>", bars))  # noqa: S314 - our own


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12), st.booleans())
def test_value_ticks_are_round_few_and_reach_both_ends(
    low: float, width: float, whole: bool
) -> None:
    high = low + width
    assume(high - low >= 1e-6 and width > abs(low) * 1e-6)
    ticks = choose_value_ticks(low, high, whole=whole)
    near = max(width * 1e-3, (ticks[1] - ticks[0]) * 2e-6)
    assert ticks[0] <= low + near
    assert ticks[-1] >= high - near
    assert 2 <= len(ticks) <= 7
    assert list(ticks) == sorted(set(ticks))


@pytest.mark.parametrize(
    ("hours", "first", "number"), [(1, "08:45", 4), (24, "12:00", 4), (168, "20 Nov", 4)]
)
def test_time_ticks_are_round_moments(hours: int, first: str, number: int) -> None:
    ticks = choose_time_ticks(NOW - timedelta(hours=hours), NOW)
    assert ticks[0].label == first
    assert len(ticks) == number


def test_ticks_are_short() -> None:
    told = [tick_label(value, "money", "usd") for value in (0, 5000, 2_500_000, 123_400_000)]
    assert told == ["$0", "$50", "$25k", "$1.234M"]
    assert tick_label(2_500_000, "money", "chf") == "25k CHF"
    assert tick_label(12000, "count", "usd") == "12k"
    assert tick_label(0.9995, "ratio", "usd") == "99.95 %"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, NONE), (math.inf, NONE), (0.0, "0 %"), (1.0, "100 %"), (0.999, "99.9 %"),
        (0.99951, "99.951 %"), (0.9999999, "> 99.999 %"), (1e-7, "< 0.001 %"), (0.0005, "0.05 %"),
        (1 / 3, "33 %"), (1.5, "150 %"), (-0.02, "-2 %"),
    ],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_nothing(value: float | None, said: str) -> None:
    assert share(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0 ms"), (0.0004, "< 1 ms"), (0.12, "120 ms"), (0.9996, "1.0 s"), (9.96, "10 s"),
        (59.6, "1 min"), (200, "3 min 20 s"), (3599.9, "1 h"), (36000 * 5, "2 d 2 h"),
        (math.nan, NONE), (-3.0, "-3.0 s"),
    ],
)  # fmt: skip
def test_seconds_are_told_in_fitting_units(value: float, said: str) -> None:
    assert seconds(value) == said


def test_numbers_money_bars_and_ages() -> None:
    assert (count(1234), count(1.25), count(None)) == ("1,234", "1.2", NONE)
    assert (money(123450, "usd"), money(-5, "eur")) == ("$1,234.50", "-€0.05")
    assert (money(1200, "jpy"), money(1200, "chf")) == ("1,200 JPY", "12.00 CHF")
    assert [bar(part, 4) for part in (0.0, 0.01, 0.5, 0.99, 1.0, 7.0, None)] == [
        "░░░░", "█░░░", "██░░", "███░", "████", "████", "????",
    ]  # fmt: skip
    assert age(NOW + timedelta(seconds=5), NOW) == "0 s"
    assert plain("a\x00b\n\tc\x1b[1m\u202ed" + "x" * 300, 12) == "ab c[1mdxxx…"


def test_a_sparkline_shows_the_worst_of_what_it_puts_together() -> None:
    assert sparkline([0, 1, None, 7], 10) == "▁▂·█"
    assert sparkline([0.0] * 50 + [1.0] + [0.0] * 49, 4) == "▁▁█▁"
    assert sparkline([1.0] * 50 + [0.0] + [1.0] * 49, 4, less_is_worse=True) == "██▁█"
    assert sparkline([], 5) == ""
    assert sparkline([None, math.nan], 5) == "··"
    assert sparkline([-1e308, 1e308], 5) == "▁█"
