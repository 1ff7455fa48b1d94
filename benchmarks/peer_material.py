"""What every contestant is shown: screenshots nobody has seen before, and an 8-page PDF.

The screenshots carry text and colour in every part, so that no slice of them is blank.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pypdfium2
from PIL import Image, ImageDraw

from shimmy_vision.domain.answer import answer_schemas, prompts

_NUMBERS = count()
_TEXT = (
    "Invoice number and due date stand above the total of all open orders and the customer pays by "
    "transfer within thirty days or asks the desk in Hamburg for more time"
)
_A4 = (595, 842)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one image (PNG); ``schema`` and ``prompt`` are what we ask ourselves."""

    image: bytes
    mode: str
    prompt: str
    schema: dict[str, Any]
    max_tokens: int


_MODES = {
    "full": (prompts.FULL, answer_schemas.FULL_ANSWER),
    "layout": (prompts.LAYOUT, answer_schemas.LAYOUT_ANSWER),
    "ocr": (prompts.TEXT, answer_schemas.TEXT_ANSWER),
}


def ask(image: bytes, mode: str, max_tokens: int) -> Asked:
    """``mode`` of ``image`` as the product asks it."""
    prompt, schema = _MODES[mode]
    return Asked(image, mode, prompt, schema, max_tokens)


def screenshot(width: int, height: int) -> bytes:
    """A dashboard with a number of its own: bar, menu, cards, a table down to the last line."""
    number = next(_NUMBERS)
    image = Image.new("RGB", (width, height), "#f5f7fa")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 40), fill="#243b53")
    draw.text((16, 14), f"Orders desk {number}   Search   Reports   Settings", fill="white")
    draw.rectangle((0, 40, 180, height), fill="#d9e2ec")
    for line, top in enumerate(range(56, height - 16, 28)):
        draw.text((12, top), f"Menu {line} {_word(number + line)}", fill="#102a43")
    for line, top in enumerate(range(56, height - 16, 18)):
        words = " ".join(_word(number + 7 * line + step) for step in range(60))
        draw.text((196, top), f"{line:02} {words}", fill="#334e68")
        draw.rectangle((width - 90, top, width - 20, top + 12), fill=_shade(number + line))
    return _png(image)


def document(pages: int) -> bytes:
    """A PDF of A4 pages with Helvetica text from top to bottom, written by hand."""
    number = next(_NUMBERS)
    kids = " ".join(f"{3 + 2 * page} 0 R" for page in range(pages))
    font = "<</Font<</F 1 0 R>>>>"
    objects = [
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Type/Pages/Count {pages}/Kids[{kids}]>>",
    ]
    for page in range(pages):
        box = f"/MediaBox[0 0 {_A4[0]} {_A4[1]}]"
        objects.append(
            f"<</Type/Page/Parent 2 0 R{box}/Resources{font}/Contents {4 + 2 * page} 0 R>>"
        )
        stream = "\n".join(_lines(number + page))
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    objects.append("<</Type/Catalog/Pages 2 0 R>>")
    return _file(objects)


def pages_of(pdf: bytes, dpi: int) -> Iterator[bytes]:
    """Each page as a PNG, rendered by the same library as the product does it."""
    opened = pypdfium2.PdfDocument(pdf)
    try:
        for page in opened:
            yield _png(page.render(scale=dpi / 72).to_pil().convert("RGB"))
    finally:
        opened.close()


def _lines(number: int) -> Iterator[str]:
    for line, top in enumerate(range(_A4[1] - 50, 40, -16)):
        words = " ".join(_word(number + 5 * line + step) for step in range(14))
        yield f"BT /F 9 Tf 40 {top} Td ({number}.{line} {words}) Tj ET"


def _file(objects: list[str]) -> bytes:
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    start = len(data)
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"trailer<</Size {size}/Root {len(objects)} 0 R>>\nstartxref\n{start}\n%%EOF\n"
    return data + f"xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode()


def _word(number: int) -> str:
    words = _TEXT.split()
    return words[number % len(words)]


def _shade(number: int) -> tuple[int, int, int]:
    return (40 + 37 * number % 180, 60 + 53 * number % 160, 90 + 71 * number % 140)


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
