"""Customers, products, prices and the search for them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Shop


def test_products_take_our_id(shop: Shop) -> None:
    made = shop.v1.products.create(
        {
            "id": "developer",
            "name": "Developer",
            "metadata": {"pages": "2500"},
            "marketing_features": [{"name": "vision"}],
            "default_price_data": {"currency": "USD", "unit_amount": 1200,
                                   "recurring": {"interval": "month"}},
            "expand": ["default_price"],
        }
    )  # fmt: skip
    assert (made.id, made.default_price.unit_amount, made.default_price.currency) == (
        "developer", 1200, "usd",
    )  # fmt: skip
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.products.create({"id": "developer", "name": "Again"})
    assert refused.value.code == "resource_already_exists"
    changed = shop.v1.products.update(
        "developer", {"name": "Dev", "description": "d", "metadata": {"pages": "", "a": "b"}}
    )
    assert changed.metadata.to_dict() == {"a": "b"}
    assert shop.v1.products.update("developer", {"description": ""}).description is None
    assert shop.v1.products.update("developer", {"metadata": ""}).metadata.to_dict() == {}
    other = shop.v1.products.create({"name": "Other", "active": False})
    assert [one.id for one in shop.v1.products.list({"active": True})] == ["developer"]
    assert [one.id for one in shop.v1.products.list({"ids": [other.id]})] == [other.id]


def test_lookup_keys_move_from_price_to_price(shop: Shop) -> None:
    old = shop.price(1200, key="developer")
    with pytest.raises(stripe.InvalidRequestError, match="already uses"):
        shop.price(1500, key="developer")
    new = shop.price(1500, key="developer", transfer_lookup_key=True)
    assert shop.v1.prices.retrieve(old.id).lookup_key is None
    found = shop.v1.prices.list({"lookup_keys": ["developer"], "expand": ["data.product"]})
    assert [(one.id, one.product.name) for one in found] == [(new.id, "developer")]
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        shop.v1.prices.update(new.id, {"unit_amount": 1})
    asked = {"lookup_key": "developer", "transfer_lookup_key": True, "nickname": "n"}
    back = shop.v1.prices.update(old.id, asked)
    assert (back.lookup_key, back.nickname) == ("developer", "n")
    assert shop.v1.prices.update(old.id, {"active": False}).active is False
    with pytest.raises(stripe.InvalidRequestError, match="not active"):
        shop.session(old)
    with pytest.raises(stripe.InvalidRequestError, match="at most 10"):
        shop.v1.prices.list({"lookup_keys": [str(number) for number in range(11)]})
    assert [one.id for one in shop.v1.prices.list({"product": new.product})] == [new.id]
    assert len(shop.v1.prices.list({"type": "recurring", "active": True}).data) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"product": "prod_none", "unit_amount": 1},
        {"unit_amount": 1},
        {"product_data": {"name": "x"}},
        {"product_data": {"name": "x"}, "unit_amount": -1},
        {"product_data": {"name": "x"}, "unit_amount": 1, "currency": "dollars"},
        {"product_data": {"name": "x"}, "unit_amount": 1, "tiers_mode": "volume"},
    ],
)
def test_wrong_prices_are_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.prices.create({"currency": "usd", **wrong})
    assert shop.v1.prices.list().data == []
    assert shop.v1.products.list().data == []


def test_prices_described_in_a_session(shop: Shop) -> None:
    line = {"quantity": 2, "price_data": {
        "currency": "usd", "unit_amount": 500, "product_data": {"name": "Once"},
    }}  # fmt: skip
    session = shop.v1.checkout.sessions.create(
        {"mode": "payment", "line_items": [line], "success_url": "http://127.0.0.1:9/"}
    )
    assert session.amount_total == 1000


def test_customers_by_email_letter_by_letter(shop: Shop) -> None:
    first = shop.v1.customers.create({"email": "Ada@example.com", "name": "Ada"})
    shop.v1.customers.create({"email": "ada@example.com"})
    assert [one.id for one in shop.v1.customers.list({"email": "Ada@example.com"})] == [first.id]
    address = {"line1": "1 Main St", "country": "GB"}
    changed = shop.v1.customers.update(
        first.id, {"address": address, "shipping": {"name": "A", "address": address}}
    )
    assert (changed.address.line1, changed.shipping.address.city) == ("1 Main St", None)
    assert shop.v1.customers.update(first.id, {"address": ""}).address is None


def test_deleted_customers(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    deleted = shop.v1.customers.delete(subscription.customer)
    assert deleted.deleted
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert shop.v1.customers.retrieve(subscription.customer).deleted
    assert shop.v1.customers.list().data == []
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        shop.v1.customers.update(subscription.customer, {"name": "x"})
    assert "customer.deleted" in shop.types()
    assert "customer.subscription.deleted" in shop.types()
    shop.advance(days=40)
    assert len(shop.v1.invoices.list().data) == 1


def test_payment_methods_of_a_customer(shop: Shop) -> None:
    customer = shop.v1.customers.create({"payment_method": "pm_card_visa"})
    (first,) = shop.v1.customers.payment_methods.list(customer.id).data
    assert (first.card.last4, first.customer) == ("4242", customer.id)
    second = shop.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})
    assert second.card.brand == "mastercard"
    settings = {"invoice_settings": {"default_payment_method": second.id}}
    changed = shop.v1.customers.update(customer.id, settings)
    assert changed.invoice_settings.default_payment_method == second.id
    detached = shop.v1.payment_methods.detach(first.id)
    assert detached.customer is None
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        settings = {"invoice_settings": {"default_payment_method": first.id}}
        shop.v1.customers.update(customer.id, settings)
    again = shop.v1.payment_methods.attach(first.id, {"customer": customer.id})
    assert again.customer == customer.id
    assert shop.v1.payment_methods.retrieve(first.id).id == first.id


def test_search_lags_behind(shop: Shop) -> None:
    made = shop.v1.customers.create(
        {"email": "Ada@example.com", "name": "Ada L", "metadata": {"licence": "l-1"}}
    )

    def found(query: str, **more: Any) -> list[str]:
        return [one.id for one in shop.v1.customers.search({"query": query, **more}).data]

    assert found('email:"ada@example.com"') == []
    shop.advance(seconds=60)
    for query in (
        'email:"ada@example.com"',
        "email:'Ada@example.com'",
        'email~"example"',
        'metadata["licence"]:"l-1"',
        "metadata['licence']:'l-1' AND name~\"ada\"",
        'email:"x" OR name:"Ada L"',
        '-email:"x"',
        "phone:null",
        f"created>={made.created} AND created<{made.created + 1}",
    ):
        assert found(query) == [made.id], query
    for query in ('email:"x"', 'metadata["licence"]:null', f"created>{made.created}"):
        assert found(query) == [], query
    for wrong in ("", "email", 'email:"x', 'town:"x"', 'email:"x" email:"y"', 'metadata:"x"',
                  'email:"x" AND name:"y" OR name:"z"'):  # fmt: skip
        with pytest.raises(stripe.InvalidRequestError):
            found(wrong)
    shop.control("billing", {"search_lag_seconds": 0})
    shop.v1.customers.update(made.id, {"email": "new@example.com"})
    assert found('email:"new@example.com"') == [made.id]
    for number in range(4):
        shop.v1.customers.create({"name": f"n{number}"})
    first = shop.v1.customers.search({"query": 'name~"n"', "limit": 3})
    assert (len(first.data), first.has_more, first.total_count) == (3, True, 4)
    assert len(first.next_search_result_page().data) == 1


def test_search_of_products_and_prices(shop: Shop) -> None:
    price = shop.price(key="developer", metadata={"a": "b"})
    shop.advance(seconds=60)
    assert shop.v1.prices.search({"query": 'lookup_key:"developer"'}).data[0].id == price.id
    assert shop.v1.prices.search({"query": 'metadata["a"]:"b"'}).total_count == 1
    query = {"query": 'active:"true" AND name:"developer"'}
    assert shop.v1.products.search(query).data[0].id == price.product
