"""The hosted pages, plain HTML without JavaScript, and who shows which.

``/c/pay/{session}``              pay, ``…/challenge`` 3D Secure
``/p/session/{portal session}``   the portal, with its actions below
``/i/{invoice}``                  an invoice, payable while it is open
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from shimmy_sandbox.stripe_api import checkout_page, invoice_page, portal_page
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.pages import Page, notice
from shimmy_sandbox.stripe_api.wire import RefusalError

_HANDLERS = (checkout_page.answer, portal_page.answer, invoice_page.answer)


def answer_page(books: Books, method: str, path: str, query: str, body: bytes) -> Page:
    """The page at ``path``; refusals become pages with their words, and undo what was done."""
    steps = path.strip("/").split("/")
    form = _fields(query, body)
    try:
        with books.store.savepoint():
            for handler in _HANDLERS:
                page = handler(books, method, steps, form)
                if page is not None:
                    return page
    except RefusalError as refused:
        return notice(books, "That is not possible", str(refused), status=refused.status)
    return notice(books, "Nothing here", "There is no such page.", status=404)


def _fields(query: str, body: bytes) -> Mapping[str, str]:
    text = body.decode("utf-8", "replace")
    pairs = [*parse_qsl(query), *parse_qsl(text)]
    return {name: value.strip() for name, value in pairs}
