"""Where the store's adapters meet its domain; nothing else constructs them.

``shop`` is what every host needs, ``worker`` a Cloudflare Worker's way in, ``files`` what commands
do with files.
"""

from shimmy_store.wiring.shop import Shop, catalog, open_shop

__all__ = ["Shop", "catalog", "open_shop"]
