"""The ``LicenceBooks`` port over Keygen's API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from shimmy_ops.adapters.accounts.keygen_wire import KeygenWire, keygen_shapes
from shimmy_ops.domain.monitoring.accounts import HeldLicence
from shimmy_ops.domain.wanted import PRODUCT_CODE
from shimmy_ops.errors import LicensingError

_PAGE = 100


class KeygenLicenceBooks:
    """``product`` is the id of ours, or empty: then it is found by its code."""

    def __init__(self, wire: KeygenWire, product: str) -> None:
        self._wire = wire
        self._product = product

    def licences(self, now: datetime) -> Sequence[HeldLicence]:
        with keygen_shapes():
            product = self._product or self._find_product()
            return [_licence(one, now) for page in self._pages(product) for one in page]

    def _pages(self, product: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        """To the last one: a licence left out would look like one that is missing."""
        for number in count(1):
            asked = f"licenses?product={product}&page[size]={_PAGE}&page[number]={number}"
            page = self._wire.ask("GET", asked)
            yield page
            if len(page) < _PAGE:
                return

    def _find_product(self) -> str:
        products = self._wire.pages("products")
        found = [one["id"] for one in products if one["attributes"].get("code") == PRODUCT_CODE]
        if not found:
            raise LicensingError(
                "licensing-product-missing",
                "Keygen has no product of ours.",
                hint="shimmy-ops provision --apply makes it.",
            )
        return str(found[0])


def _licence(one: Mapping[str, Any], now: datetime) -> HeldLicence:
    attributes = one["attributes"]
    metadata, expiry = attributes["metadata"] or {}, attributes["expiry"]
    running = expiry is None or datetime.fromisoformat(expiry) > now
    return HeldLicence(
        str(one["id"]),
        str(metadata.get("customer") or ""),
        str(metadata.get("plan") or ""),
        attributes["suspended"] is False and running,
        bool(metadata.get("complimentary")),
    )
