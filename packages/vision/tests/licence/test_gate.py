"""The gate as customers meet it: in, out, and why."""

from __future__ import annotations

import pytest
from licence_world import MakeCustomer, Shop

from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages


def refusal(licensing: Licensing) -> LicenceError:
    with pytest.raises(LicenceError) as refused:
        admit_pages(1, licensing)
    return refused.value


def test_a_bought_key_lets_in(shop: Shop, customer: MakeCustomer) -> None:
    licensing = customer().licensing()
    proof = activate_licence(shop.sell("developer").key, licensing)
    assert (proof.facts.plan, proof.facts.max_uses) == ("developer", 2500)
    assert admit_pages(1, licensing).granted.plan == "developer"
