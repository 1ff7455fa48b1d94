"""Which windows a dashboard can show, by the names it asks for them."""

from __future__ import annotations

WINDOWS = ("1h", "24h", "7d", "30d")
FIRST_WINDOW = "24h"
