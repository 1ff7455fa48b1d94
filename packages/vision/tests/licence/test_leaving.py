"""Giving up a machine or a key: what waits is reported first, and nothing stays behind."""

from __future__ import annotations

import pytest
from licence_world import MakeCustomer, Shop

from shimmy_vision.errors import LicenceError, LicenceServerError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.deactivate_machine import deactivate_machine
from shimmy_vision.use_cases.list_machines import list_machines
from shimmy_vision.use_cases.settle_pages import settle_pages


def use(licensing: Licensing, pages: int) -> None:
    settle_pages(admit_pages(pages, licensing), licensing, done=True)


def test_another_key_takes_over_once_the_pages_of_the_first_are_reported(
    shop: Shop, customer: MakeCustomer
) -> None:
    first, second = shop.sell("developer"), shop.sell("startup")
    licensing = customer().licensing()
    activate_licence(first.key, licensing)
    use(licensing, 3)
    activate_licence(second.key, licensing)
    assert (shop.uses(first), licensing.state.kept_key()) == (3, second.key)
    use(licensing, 2)
    with licensing.state.session(first.key) as session:
        assert (session.record.waiting, session.record.total) == (0, 3)


@pytest.mark.parametrize("trouble", ["suspended", "cut off"])
def test_pages_that_cannot_be_reported_now_do_not_hold_up_another_key(
    shop: Shop, customer: MakeCustomer, trouble: str
) -> None:
    first, second = shop.sell("developer"), shop.sell("startup")
    licensing = customer().licensing()
    activate_licence(first.key, licensing)
    use(licensing, 3)
    if trouble == "suspended":
        shop.act(first, "suspend")
    else:
        shop.fault("no-request", path="/me")
    activate_licence(second.key, licensing)
    assert licensing.key() == second.key
    if trouble == "suspended":
        shop.act(first, "reinstate")
    activate_licence(first.key, licensing)  # The pages were kept with their licence.
    activate_licence(second.key, licensing)
    assert shop.uses(first) == 3


def test_a_machine_leaves_with_its_pages_counted(shop: Shop, customer: MakeCustomer) -> None:
    sold = shop.sell("startup")
    here, there = customer("machine-1").licensing(), customer("machine-2").licensing()
    for licensing in (here, there):
        activate_licence(sold.key, licensing)
        use(licensing, 4)
    removed = deactivate_machine("name of machine-2", sold.key, here)
    assert removed.name == "name of machine-2"
    assert here.key() == there.key() == sold.key
    assert deactivate_machine(None, sold.key, here).name == "name of machine-1"
    assert here.key() is None
    assert shop.uses(sold) == 4  # The other machine may be switched off: its pages are its own.
    assert deactivate_machine(None, sold.key, there).name == "name of machine-2"
    assert shop.uses(sold) == 8


@pytest.mark.parametrize("again", [None, "name of machine-1"])
def test_deactivating_again_after_a_lost_reply_finishes_it(
    shop: Shop, customer: MakeCustomer, again: str | None
) -> None:
    sold, licensing = shop.sell("developer"), customer().licensing()
    activate_licence(sold.key, licensing)
    (machine,) = list_machines(sold.key, licensing)
    shop.fault("no-reply", method="DELETE")
    with pytest.raises(LicenceServerError) as raised:
        deactivate_machine(None, sold.key, licensing)
    assert raised.value.code == "deactivation-unheard"
    assert licensing.key() == sold.key
    assert deactivate_machine(again, sold.key, licensing).id == machine.id
    assert licensing.key() is None


def test_a_machine_that_never_was_one_cannot_leave(shop: Shop, customer: MakeCustomer) -> None:
    sold = shop.sell("startup")
    activate_licence(sold.key, customer("machine-1").licensing())
    for wanted in (None, "nobody", "000"):
        with pytest.raises(LicenceError) as raised:
            deactivate_machine(wanted, sold.key, customer("machine-2").licensing())
        assert raised.value.code == "machine-unknown"
        assert "name of machine-1" in raised.value.message


def test_what_cannot_be_heard_is_said_of_each_command(shop: Shop, customer: MakeCustomer) -> None:
    sold, licensing = shop.sell("developer"), customer().licensing()
    activate_licence(sold.key, licensing)
    shop.fault("status", times=-1)
    for code, call in (
        ("machines-unheard", lambda: list_machines(sold.key, licensing)),
        ("machines-unheard", lambda: deactivate_machine(None, sold.key, licensing)),
        ("activation-unheard", lambda: activate_licence(sold.key, licensing)),
    ):
        with pytest.raises(LicenceServerError) as raised:
            call()
        assert (raised.value.code, raised.value.retryable) == (code, True)
    assert licensing.key() == sold.key
