"""No licence key, image byte or address ever reaches a log, at any level, in a thousand calls."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from licence_world import MakeCustomer, Shop
from PIL import Image, TiffImagePlugin

from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.vision_order import LicenceOrder
from shimmy_vision.settings import read_settings
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.list_machines import list_machines
from shimmy_vision.use_cases.refresh_licence import refresh_licence
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.wiring.licences import open_licensing

CALLS = 1000
SECRET_TEXT = "Confidential: project Heron"


class Everything(logging.Handler):
    """Keeps what any logger says, arguments included."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name} {record.getMessage()} {record.args!r} {record.exc_text}")


@pytest.fixture
def heard() -> Iterator[Everything]:
    """The root logger listens to everything, as a debugging customer's would."""
    root, handler = logging.getLogger(), Everything()
    level = root.level
    for name in ("httpx", "httpcore", "PIL"):
        # Another test in this process may have hushed it, and so does a server's own log.
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def _image() -> bytes:
    """A file whose metadata Pillow would log while it reads it."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[270] = SECRET_TEXT
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "TIFF", tiffinfo=info)
    return buffer.getvalue()


def test_a_thousand_calls_log_no_key_no_image_and_no_address(
    shop: Shop,
    customer: MakeCustomer,
    heard: Everything,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sold, data, intake = shop.sell("startup"), _image(), PillowIntake()
    variables = {
        "SHIMMY_LICENSE_URL": shop.server.url,
        "SHIMMY_STATE_DIR": str(tmp_path / "wired"),
        "SHIMMY_MACHINE_ID": "a machine of flesh",
    }
    assert any("httpcore" in line for line in heard.said), "the shop's own client should be heard"
    with open_licensing(read_settings(variables), LicenceOrder()) as licensing:
        heard.said.clear()
        logging.getLogger("shimmy.test").debug("this handler hears")
        activate_licence(sold.key, licensing)
        for number in range(CALLS):
            if number % 100 == 50:
                shop.fault("status", times=2, status=503)
            with suppress(ShimmyError):
                if number % 25 == 0:
                    refresh_licence(sold.key, licensing)
                    list_machines(sold.key, licensing)
                admission = admit_pages(1, licensing)
                intake.decode(data if number % 2 else data[:200], IntakeLimits())
                settle_pages(admission, licensing, done=True)
    said = "\n".join([*heard.said, *capfd.readouterr()])
    ours = "\n".join(line for line in said.splitlines() if not line.startswith("uvicorn"))
    assert "this handler hears" in ours
    for secret in (
        sold.key,
        sold.id,
        SECRET_TEXT,
        base64.b64encode(data[:60]).decode(),
        repr(data[:20])[2:-1],
        "a machine of flesh",
        "http://",
        "validate-key",
    ):
        assert secret not in ours, secret
    # As a number of its own: filelock names its locks by their addresses, which are long ones.
    assert not re.search(rf"(?<!\d){shop.server.port}(?!\d)", ours)


def test_errors_and_representations_hold_no_key(shop: Shop, customer: MakeCustomer) -> None:
    sold = shop.sell("developer")
    machine = customer(given_key=sold.key)
    licensing = machine.licensing()
    admission = admit_pages(1, licensing)
    shown = [repr(licensing), repr(admission), repr(licensing.server.read(sold.key))]
    with licensing.state.session(sold.key) as session:
        shown.append(repr(session.record))
    shop.act(sold, "suspend")
    with pytest.raises(ShimmyError) as refused:
        refresh_licence(sold.key, licensing)
    shown += [str(refused.value), refused.value.hint, repr(refused.value)]
    assert not [text for text in shown if sold.key in text]
