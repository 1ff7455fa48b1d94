"""Pictures and documents as the product reads them, and what it makes of them before its model."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from fuzz_ground import Broken, shape, use_support

_MOST_PIXELS, _LONGEST_SIDE = 4_000_000, 30_000


def read_picture(data: bytes) -> str:
    """Decoded, measured and cut into slices."""
    from shimmy_vision.adapters.files.pillow_intake import PillowIntake
    from shimmy_vision.domain.image.activity import measure_activity
    from shimmy_vision.domain.image.image_plan import plan_image
    from shimmy_vision.domain.measure.measurements import measure_image
    from shimmy_vision.errors import ShimmyError
    from shimmy_vision.ports.image_intake import IntakeLimits

    limits = IntakeLimits(max_dimension=_LONGEST_SIDE, max_pixels=_MOST_PIXELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            decoded = PillowIntake().decode(data, limits)
        except ShimmyError as error:
            return f"{error.code} {shape(error.message)}"
    _check(decoded)
    if decoded.pixels.size < 300_000:
        measure_image(decoded.pixels)
    if decoded.pixels.size < 3_000_000:
        activity = measure_activity(decoded.pixels)
        plan_image(decoded.info.width, decoded.info.height, _grid(), activity=activity)
    return f"read {decoded.info.format} {shape(decoded.info.notes)}"


def _check(decoded: Any) -> None:
    height, width, depth = decoded.pixels.shape
    if depth != 3 or width * height > _MOST_PIXELS or max(width, height) > _LONGEST_SIDE:
        raise Broken(f"pixels of {width} x {height} x {depth}")
    if (decoded.info.width, decoded.info.height) != (width, height):
        raise Broken("another size is told")


@functools.cache
def _grid() -> Any:
    from shimmy_vision.domain.image.slice_grid import EncoderGrid

    return EncoderGrid()


def read_document(data: bytes) -> str:
    """Its first and its last page: drawn as sharp as the product would, and their own text."""
    from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocuments
    from shimmy_vision.errors import ShimmyError
    from shimmy_vision.ports.cancellation import Cancellation
    from shimmy_vision.ports.document_intake import DocumentLimits

    said = []
    try:
        with PdfiumDocuments().open(data, DocumentLimits()) as document:
            for page in sorted({1, document.page_count}):
                try:
                    said.append(_page(document, page, Cancellation()))
                except ShimmyError as error:
                    said.append(f"{error.code} {shape(error.message)}")
    except ShimmyError as error:
        return f"{error.code} {shape(error.message)}"
    return f"read {' '.join(said)}"


def _page(document: Any, page: int, switch: Any) -> str:
    from shimmy_vision.domain.image.page_scale import PixelLimits, choose_dpi
    from shimmy_vision.domain.image.text_layer import read_layer

    size = document.page_size(page, switch)
    dpi = choose_dpi(size, _grid(), PixelLimits(_LONGEST_SIDE, _MOST_PIXELS))
    image = document.render(page, dpi, switch)
    _check(image)
    letters = document.characters(page, dpi, switch)
    layer = read_layer(letters, image.info.width, image.info.height)
    return f"{bool(letters)} {bool(layer.lines)} {image.pixels.min() < 128}"


def documents() -> list[bytes]:
    """What the generator of the tests writes, hostile and not."""
    use_support("vision")
    from pdf_writer import Page, Words, text_page, write_pdf

    calls = b"/Im Do "
    return [
        write_pdf(text_page("One", "Two"), Page(rotate=90, crop_box="[100 100 300 300]")),
        write_pdf(Page([Words("Seen", 90, 90, mode=3)], image=(4, 4, bytes(range(48))))),
        write_pdf(text_page("locked"), password="", count=2),
        write_pdf(text_page("locked"), password="a"),  # noqa: S106 - it locks a made-up page
        write_pdf(text_page("lies"), count=2_000_000),
        write_pdf(Page(size=(14_400, 3), drawing=calls)),
        write_pdf(Page(media_box="[0 0 1e9 1e9]"), Page(media_box="[9 9 9 9]")),
        write_pdf(text_page("x"), fonts="/F1 << /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9]"
                  " /FontMatrix [.1 0 0 .1 0 0] /FirstChar 0 /LastChar 200 /Widths [9]"
                  " /Encoding << /Differences [120 /a] >> /CharProcs << /a 4 0 R >> >>"),
        write_pdf(*[text_page(str(n)) for n in range(6)]),
    ]  # fmt: skip
