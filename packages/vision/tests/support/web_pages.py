"""A page with everything an element can be in, and a camera that need not take each picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page

from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.page_capture import PageCamera, PageCapture, PageOrder

SHOP = """<!doctype html><html lang=en><title>Shop</title><style>
* { margin: 0; box-sizing: border-box; font: 16px sans-serif; }
body { background: #fff; height: 900px; } iframe { border: 0; width: 300px; height: 60px; }
#buy { color: #777; background: #fff; border: 0; }
h1 a { font-size: 24px; color: #777; }
#photo { background: linear-gradient(red, blue); }
</style>
<h1><a href="/catalogue?ref=secret">Catalogue</a></h1>
<button id=buy>Buy now</button><button id=photo>Photo</button>
<button disabled>Sold out</button>
<form><input name=mail type=email placeholder=Mail aria-label="E-mail">
<input type=checkbox name=terms aria-label="Accept terms"><select aria-label=Country><option>Fiji
</select></form>
<div id=host></div>
<iframe srcdoc="<body style='margin:0'><button>In a frame</button>"></iframe>
<script>
document.getElementById("host").attachShadow({ mode: "open" }).innerHTML =
  "<button>In the shadow</button>";
</script>"""

SHOP_NAMES = [
    "Catalogue", "Buy now", "Photo", "Sold out", "E-mail", "Accept terms", "Country",
    "In the shadow", "In a frame",
]  # fmt: skip


@dataclass
class KeptCamera:
    """Takes the first picture; shows the same again, whatever is asked for."""

    camera: PageCamera
    taken: PageCapture | None = None
    orders: list[PageOrder] = field(default_factory=list)

    def capture(self, order: PageOrder, cancellation: Cancellation) -> PageCapture:
        self.orders.append(order)
        if self.taken is None:
            self.taken = self.camera.capture(order, cancellation)
        return self.taken


@dataclass
class NoCamera:
    """For what must not be seen with a browser."""

    orders: list[PageOrder] = field(default_factory=list)

    def capture(self, order: PageOrder, cancellation: Cancellation) -> PageCapture:
        self.orders.append(order)
        raise AssertionError("no browser may be started for this")


def root_of(page: Page, roots: list[dict[str, str]]) -> Any:
    """The document or shadow root that ``roots`` of a result lead to, as a handle."""
    root: Any = page.evaluate_handle("document")
    for step in roots:
        hits = root.evaluate("(root, one) => root.querySelectorAll(one).length", step["selector"])
        assert hits == 1, step
        host = root.evaluate_handle("(root, one) => root.querySelector(one)", step["selector"])
        kind = "shadowRoot" if step["kind"] == "shadow" else "contentDocument"
        root = host.evaluate_handle("(host, kind) => host[kind]", kind)
    return root
