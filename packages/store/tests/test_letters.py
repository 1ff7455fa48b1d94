"""Letters in words: every kind for every plan, and nothing in them that is not meant."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_store.adapters.contract_files import read_plans
from shimmy_store.adapters.jinja_letters import JinjaLetters
from shimmy_store.domain.catalog import PLAN_IDS, PlanId, parse_catalog
from shimmy_store.domain.notices import NoticeKind
from shimmy_store.errors import MailError
from shimmy_store.ports.mail import Letter, LinkName, Written

CATALOG = parse_catalog(read_plans())
WRITER = JinjaLetters()
KEY, DAY = "FDAAD9-B0D1C8-057518-513B96-DC24E6-V3", "3 May 2027"
HOME = "https://store.example"
LINKS: dict[LinkName, str] = {
    "licence": f"{HOME}/view-license",
    "pricing": f"{HOME}/pricing",
    "sign-in": f"{HOME}/sign-in?token=abc.DEF-_&x=1",
    "merge": f"{HOME}/merge?token=ghi.JKL-_&x=1",
}
LIMITED: tuple[NoticeKind, ...] = ("licence", "plan-changed")
REASONS = ("cancelled", "refunded", "disputed", "unpaid")
CASES: list[tuple[NoticeKind, str]] = [
    *((kind, "") for kind in get_args(NoticeKind) if kind != "cancelled"),
    *(("cancelled", reason) for reason in REASONS),
]


class Reader(HTMLParser):
    """What a mail program shows, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shown, self.links, self.tags = "", [], []  # type: ignore[var-annotated]
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name in ("href", "src", "background")]

    def handle_data(self, data: str) -> None:
        self.shown += data


def letter(kind: NoticeKind, reason: str = "", plan: PlanId = "developer") -> Letter:
    before = CATALOG.plan("professional" if plan == "developer" else "developer")
    return Letter(kind, CATALOG.plan(plan), before, reason, DAY, KEY, LINKS)


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("plan", PLAN_IDS)
@pytest.mark.parametrize(("kind", "reason"), CASES)
def test_every_letter_is_written_for_every_plan(
    kind: NoticeKind, reason: str, plan: PlanId
) -> None:
    written = WRITER.write(letter(kind, reason, plan))
    shown = Reader(written.html)
    for told in (written.subject, written.text, shown.shown):
        assert not re.search(r"[{}]|%\}|\bNone\b|Undefined|object at", told)
        assert "  on" not in told
    assert KEY not in written.subject
    assert HOME not in written.subject
    assert (KEY in written.text) is (KEY in shown.shown) is (kind == "licence")
    # Both tell the same, and lead to the same places.
    assert set(re.findall(r"https?://\S+", written.text)) == set(shown.links)
    first = words(written.text.splitlines()[0])
    assert first.endswith(".")
    assert first in words(shown.shown)
    for paragraph in re.split(r"\n\n+|https?://\S+", written.text):
        assert words(paragraph) in words(shown.shown), paragraph
    if kind != "sign-in":
        assert CATALOG.plan(plan).name in first
        assert LINKS["licence"] in written.text


@pytest.mark.parametrize(("kind", "reason"), CASES)
def test_a_letter_is_plain(kind: NoticeKind, reason: str) -> None:
    written = WRITER.write(letter(kind, reason))
    # Nothing is loaded, nothing runs, nothing counts who reads.
    tags = {tag for tag, _ in Reader(written.html).tags}
    assert tags <= {
        "html", "head", "meta", "title", "body", "div", "h1", "p", "pre", "a", "br", "strong",
    }  # fmt: skip
    assert not re.search(r"url\(|@import|<style|https?://(?!store\.example)", written.html)
    assert '<meta name="color-scheme" content="light dark">' in written.html
    assert "\n\n\n" not in written.text
    assert not written.text.startswith((" ", "\n"))
    assert written.text.endswith("Shimmy Vision\n")
    assert max(map(len, re.sub(r"https?://\S+", "", written.text).splitlines())) <= 80


def text_of(one: Letter) -> str:
    return words(WRITER.write(one).text)


@pytest.mark.parametrize(
    ("plan", "limits"),
    [
        ("developer", "2,500 pages a month on 1 machine."),
        ("professional", "10,000 pages a month on 1 machine."),
        ("startup", "50,000 pages a month on 5 machines."),
        ("enterprise", "unlimited pages on unlimited machines."),
        ("lifetime", "unlimited pages on 1 machine."),
    ],
)
def test_limits_and_renewal_are_told(plan: PlanId, limits: str) -> None:
    for kind in LIMITED:
        text = text_of(letter(kind, plan=plan))
        assert limits in text
        assert ("once" in text) is (plan == "lifetime")
    renews = "renews every month" in text_of(letter("licence", plan=plan))
    assert renews is (plan != "lifetime")


def test_what_to_run_next() -> None:
    written = WRITER.write(letter("licence"))
    for told in (written.text, Reader(written.html).shown):
        assert f"shimmy license activate {KEY}\n" in told
        assert "shimmy models pull 4.6" in told
        assert "shimmy vision shot.png" in told
    assert f">{KEY}</pre>" in written.html


def test_an_offer_to_merge_is_there_only_when_it_is_made() -> None:
    offered = letter("licence")
    plain = replace(offered, links={k: v for k, v in LINKS.items() if k != "merge"})
    for told in (text_of(offered), words(Reader(WRITER.write(offered).html).shown)):
        assert (
            "There is another licence under this address. If both are yours, you can make them"
            " one: the higher plan stays, the other subscription ends and what is left of it is"
            " credited."
        ) in told
        assert "If you ignore this, nothing changes." in told
    written = WRITER.write(plain)
    for part in (written.text, written.html):
        assert "another licence" not in part
        assert "merge" not in part


def test_each_ending_has_its_own_words() -> None:
    texts = {reason: text_of(letter("cancelled", reason)) for reason in REASONS}
    assert len({text.partition(".")[0] for text in texts.values()}) == len(REASONS)
    last_day = f"The last day of your Developer plan is {DAY}."
    assert [reason for reason, text in texts.items() if last_day in text] == ["cancelled", "unpaid"]
    assert "was refunded" in texts["refunded"]
    assert "tell your bank" in texts["disputed"]
    assert "update your card" in texts["unpaid"]
    subjects = {WRITER.write(letter("cancelled", one)).subject for one in REASONS}
    assert len(subjects) == len(REASONS)


def test_dates_are_told_where_there_are_any() -> None:
    late = letter("renewal-failed")
    assert f"good until {DAY}." in text_of(late)
    assert "good until" not in text_of(replace(late, date=""))
    for reason in ("refunded", "disputed"):
        WRITER.write(replace(letter("cancelled", reason), date=""))


def test_signing_in_tells_its_limits() -> None:
    text = text_of(Letter("sign-in", links={"sign-in": LINKS["sign-in"]}))
    for part in ("15 minutes", "once", "only in that browser", "ignore this mail"):
        assert part in text


@pytest.mark.parametrize(
    "lacking",
    [
        replace(letter("licence"), plan=None),
        replace(letter("licence"), links={}),
        replace(letter("plan-changed"), before=None),
        replace(letter("sign-in"), links={}),
        letter("cancelled", "ended"),
        letter("cancelled", ""),
        replace(letter("cancelled", "cancelled"), date=""),
    ],
)
def test_what_lacks_something_is_not_written(lacking: Letter) -> None:
    with pytest.raises(MailError) as raised:
        WRITER.write(lacking)
    assert (raised.value.code, raised.value.retryable) == ("letter-unwritable", False)
    assert KEY not in str(raised.value)


def structure(written: Written) -> list[tuple[str, tuple[str, ...]]]:
    return Reader(written.html).tags


@given(st.text(), st.sampled_from(CASES), st.data())
def test_nothing_breaks_out_of_html(
    text: str, case: tuple[NoticeKind, str], data: st.DataObject
) -> None:
    odd = text + data.draw(
        st.sampled_from(["", "<b>", "</pre>", '"', "' onclick='x", "&lt;", "-->"])
    )
    plain = letter(*case)
    filled = replace(
        plain,
        key=odd,
        date=odd or DAY,
        links=dict.fromkeys(LINKS, f"{HOME}/?{odd}"),
        plan=replace(CATALOG.plan("developer"), name=odd or "x"),
    )
    written = WRITER.write(filled)
    assert structure(written) == structure(WRITER.write(plain))
    if case[0] == "licence":
        # Mail programs read a line's end as one, whichever it is.
        lines = re.sub(r"\r\n?", "\n", odd)
        assert lines in re.sub(r"\r\n?", "\n", Reader(written.html).shown)
