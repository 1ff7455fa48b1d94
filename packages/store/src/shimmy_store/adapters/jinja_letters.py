"""The ``LetterWriter`` port: each letter from two templates, one of text and one of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape

from shimmy_store.domain.catalog import Plan
from shimmy_store.errors import MailError
from shimmy_store.ports.mail import Letter, Written

_SUBJECTS: Mapping[str, str] = {
    "licence": "Your Shimmy {plan} licence",
    "renewal-failed": "Your Shimmy {plan} renewal could not be charged",
    "plan-changed": "Your Shimmy plan is now {plan}",
    "sign-in": "Your link to sign in to Shimmy",
}


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why a plan ends, what that means, and what can be done on the licence page."""

    subject: str
    consequence: str
    remedy: str


# True before the day and after it: the letter may be late, or the day have passed.
_LAST_DAY = "The last day of your {plan} plan is {date}."
_ENDINGS: Mapping[str, _Ending] = {
    "cancelled": _Ending(
        "Your Shimmy {plan} plan is cancelled",
        f"{_LAST_DAY} Your key is good up to then.",
        "Your licence page shows what you have:",
    ),
    "refunded": _Ending(
        "Your payment for Shimmy {plan} was refunded",
        "The licence that came with it does not work any more.",
        "Your licence page shows what you have:",
    ),
    "disputed": _Ending(
        "Your payment for Shimmy {plan} is disputed",
        "The licence that came with it does not work while the dispute stands.",
        "If this is a mistake, please tell your bank. If the dispute ends in our favour, the same"
        " key works again. Your licence page shows what you have:",
    ),
    "unpaid": _Ending(
        "Your Shimmy {plan} licence has stopped: the renewal was not paid",
        _LAST_DAY,
        "Pay what is open or update your card from your licence page, and the same key works"
        " again:",
    ),
}


class JinjaLetters:
    """See ``ports.mail``; the templates lie in ``letters``. Raises MailError where one fails."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("shimmy_store.adapters", "letters"),
            autoescape=select_autoescape(("html",), default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._templates.filters |= {"pages": _pages, "machines": _machines}

    def write(self, letter: Letter) -> Written:
        wording = _wording(letter)
        facts = {
            "plan": letter.plan,
            "before": letter.before,
            "date": letter.date,
            "key": letter.key,
            "links": letter.links,
            **wording,
        }
        try:
            text, html = (
                self._templates.get_template(f"{letter.kind}.{form}").render(facts)
                for form in ("txt", "html")
            )
        except TemplateError as error:
            raise _unwritable(letter, type(error).__name__) from error
        return Written(wording["subject"], text, html)


def _wording(letter: Letter) -> dict[str, str]:
    """What is told in the same words in subject, text and HTML."""
    known = {"plan": "" if letter.plan is None else letter.plan.name, "date": letter.date}
    if letter.kind != "cancelled":
        return {"subject": _SUBJECTS[letter.kind].format(**known)}
    ending = _ENDINGS.get(letter.reason)
    if ending is None:
        raise _unwritable(letter, "the reason is none that is told")
    if _LAST_DAY in ending.consequence and not letter.date:
        raise _unwritable(letter, "no day is known")
    return {
        "subject": ending.subject.format(**known),
        "consequence": ending.consequence.format(**known),
        "remedy": ending.remedy,
    }


def _unwritable(letter: Letter, why: str) -> MailError:
    return MailError(
        "letter-unwritable",
        f"A letter of the kind {letter.kind} cannot be written: {why}.",
        hint="Its message lacks something that the letter tells.",
    )


def _pages(plan: Plan) -> str:
    if plan.pages_per_month is None:
        return "unlimited pages"
    return f"{plan.pages_per_month:,} pages a month"


def _machines(plan: Plan) -> str:
    if plan.machines is None:
        return "unlimited machines"
    return "1 machine" if plan.machines == 1 else f"{plan.machines:,} machines"
