"""The one place where the store's adapters meet its domain."""

from __future__ import annotations

from shimmy_store.adapters.contract_files import read_plans
from shimmy_store.domain.catalog import Catalog, parse_catalog


def catalog() -> Catalog:
    """The checked catalog of plans."""
    return parse_catalog(read_plans())
