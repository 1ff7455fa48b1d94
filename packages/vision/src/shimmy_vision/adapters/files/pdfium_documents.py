"""PDFium behind the ``DocumentIntake`` port, through pypdfium2's raw bindings.

PDFium is not thread-safe, not even between two documents: one lock stands around every call.
pypdfium2 loads the library when it is first imported and unloads it at the process's end.
"""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from shimmy_vision.domain.image.layer_words import LayerCharacter
from shimmy_vision.domain.image.page_scale import PageSize, size_in_pixels
from shimmy_vision.domain.image.slice_grid import Size
from shimmy_vision.errors import ImageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.image_intake import DecodedImage, ImageInfo

# A C pointer; pypdfium2's bindings carry no types.
_Handle: TypeAlias = Any

# Re-entrant: a forgotten document may be collected, and closed, while this thread holds the lock.
_PDFIUM = threading.RLock()
# Documents that nobody needs any more, with their bytes, and could not be closed at once.
_LEFT: deque[tuple[Any, _Handle, bytes]] = deque()
_PATIENCE = 0.05  # seconds between two looks at the switch

# A newspaper page of small print has thirty thousand. What comes after this many is left to the
# model: a hostile page could hold millions.
_MOST_CHARACTERS = 50_000
_CHECK_EVERY = 1024

# Corners are asked for on a device so large that rounding to its whole pixels costs nothing.
_FINE_DEVICE = 1 << 20

_UNLOCK = "Save a copy without its password first: open it, then print it to a new PDF."
_SAVE_AGAIN = "Download it again, or open and save it in a PDF viewer."


class PdfiumDocuments:
    """The ``DocumentIntake`` port."""

    def open(
        self, data: bytes, limits: DocumentLimits, cancellation: Cancellation | None = None
    ) -> PdfiumDocument:
        if not data:
            raise ImageError("document-empty", "The document is empty: 0 bytes.")
        if len(data) > limits.max_bytes:
            raise ImageError(
                "document-too-large",
                f"The document is larger than {limits.max_bytes / 1e6:g} MB.",
                hint="Raise the limit with --max-pdf-mb, or split the document.",
            )
        document = PdfiumDocument(data, cancellation)
        try:
            _check_count(document.page_count, limits)
        except ImageError:
            document.close()
            raise
        return document


class PdfiumDocument:
    """The ``OpenDocument`` port: one handle, closed once, whose bytes stay as long as it does."""

    def __init__(self, data: bytes, cancellation: Cancellation | None = None) -> None:
        with _alone(cancellation or Cancellation()):
            pdfium = _pdfium()
            self._handle = pdfium.FPDF_LoadMemDocument64(data, len(data), None)
            if not self._handle:
                raise _refused(pdfium.FPDF_GetLastError())
            self._finalizer = weakref.finalize(self, _close, pdfium, self._handle, data)
            # pypdfium2 may have unloaded the library by the time exit handlers run.
            self._finalizer.atexit = False
            self.page_count = int(pdfium.FPDF_GetPageCount(self._handle))

    def page_size(self, page: int, cancellation: Cancellation | None = None) -> PageSize:
        with _alone(cancellation or Cancellation()):
            pdfium = _pdfium()
            size = pdfium.FS_SIZEF()
            if not pdfium.FPDF_GetPageSizeByIndexF(self._handle, page - 1, size):
                raise _page_corrupt(page)
        if not (size.width > 0 and size.height > 0):
            raise _page_corrupt(page)
        return PageSize(size.width, size.height)

    def render(self, page: int, dpi: int, cancellation: Cancellation) -> DecodedImage:
        width, height = size_in_pixels(self.page_size(page, cancellation), dpi)
        pixels = np.full((height, width, 3), 255, dtype=np.uint8)
        with _alone(cancellation), self._loaded(page) as handle, _bitmap_over(pixels) as bitmap:
            _draw(handle, bitmap, (width, height), page, cancellation)
        cancellation.check()
        info = ImageInfo("PDF", width, height, (f"page rendered at {dpi} dpi",))
        return DecodedImage(pixels, info)

    def characters(
        self, page: int, dpi: int, cancellation: Cancellation
    ) -> tuple[LayerCharacter, ...]:
        size = size_in_pixels(self.page_size(page, cancellation), dpi)
        with _alone(cancellation), self._loaded(page) as handle, _text_of(handle, page) as text:
            reader = _CharacterReader(text, _to_pixels(handle, size))
            return tuple(reader.read(cancellation))

    def close(self) -> None:
        """Free the document. Safe to call twice."""
        self._finalizer()

    def __enter__(self) -> PdfiumDocument:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _loaded(self, page: int) -> Iterator[_Handle]:
        """One page, closed before the lock is given up: pages never outlive their document."""
        pdfium = _pdfium()
        handle = pdfium.FPDF_LoadPage(self._handle, page - 1)
        if not handle:
            raise _page_corrupt(page)
        try:
            yield handle
        finally:
            pdfium.FPDF_ClosePage(handle)


@contextmanager
def _alone(cancellation: Cancellation) -> Iterator[None]:
    """PDFium for oneself: another's page may take as long as it likes, and who waits may leave."""
    cancellation.check()
    while not _PDFIUM.acquire(timeout=_PATIENCE):
        cancellation.check()
    try:
        yield
    finally:
        _close_left()
        _PDFIUM.release()


def _pdfium() -> Any:
    """The bindings; importing them loads 8 MB of library, so only who opens a PDF does."""
    from pypdfium2 import raw

    return raw


def _close(pdfium: Any, handle: _Handle, data: bytes) -> None:
    """At once or, so that nobody waits for another's page only to leave, by who is done next."""
    _LEFT.append((pdfium, handle, data))
    if _PDFIUM.acquire(timeout=_PATIENCE):
        try:
            _close_left()
        finally:
            _PDFIUM.release()


def _close_left() -> None:
    with suppress(IndexError):
        while True:
            pdfium, handle, _data = _LEFT.popleft()
            pdfium.FPDF_CloseDocument(handle)


def _check_count(count: int, limits: DocumentLimits) -> None:
    if count < 1:
        raise ImageError("document-empty", "The document has no pages.", hint=_SAVE_AGAIN)
    if count > limits.max_pages:
        raise ImageError(
            "document-too-large",
            f"The document has {count:,} pages; at most {limits.max_pages:,} are opened.",
            hint="Split the document first.",
        )


def _refused(reason: int) -> ImageError:
    """The one place where PDFium's reasons become ours."""
    pdfium = _pdfium()
    if reason == pdfium.FPDF_ERR_PASSWORD:
        return ImageError("document-encrypted", "The PDF is locked with a password.", hint=_UNLOCK)
    if reason == pdfium.FPDF_ERR_SECURITY:
        return ImageError(
            "document-encrypted", "The PDF is locked in a way that is not supported.", hint=_UNLOCK
        )
    return ImageError(
        "document-corrupt", "The PDF is damaged or cut off: no page was found.", hint=_SAVE_AGAIN
    )


def _page_corrupt(page: int) -> ImageError:
    return ImageError("page-corrupt", f"Page {page:,} of the PDF is damaged.", hint=_SAVE_AGAIN)


@contextmanager
def _bitmap_over(pixels: Any) -> Iterator[_Handle]:
    """A bitmap that draws into ``pixels``, shape (height, width, 3)."""
    pdfium = _pdfium()
    height, width, _ = pixels.shape
    place = ctypes.c_void_p(pixels.ctypes.data)
    bitmap = pdfium.FPDFBitmap_CreateEx(width, height, pdfium.FPDFBitmap_BGR, place, 3 * width)
    if not bitmap:
        raise ImageError(
            "page-too-large",
            f"The page cannot be drawn at {width}x{height} pixels.",
            hint="Lower --dpi.",
        )
    try:
        yield bitmap
    finally:
        pdfium.FPDFBitmap_Destroy(bitmap)


def _draw(
    handle: _Handle, bitmap: _Handle, size: Size, page: int, cancellation: Cancellation
) -> None:
    """Draw until done or cancelled: PDFium asks between the page's objects."""
    pdfium = _pdfium()
    kind = dict(pdfium.IFSDK_PAUSE._fields_)["NeedToPauseNow"]
    ask = kind(lambda _pause: cancellation.reason is not None)
    pause = pdfium.IFSDK_PAUSE(version=1, NeedToPauseNow=ask)
    # Red first, as everywhere here; annotations are part of what a reader sees.
    flags = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
    try:
        status = pdfium.FPDF_RenderPageBitmap_Start(
            bitmap, handle, 0, 0, *size, 0, flags, ctypes.byref(pause)
        )
        while status == pdfium.FPDF_RENDER_TOBECONTINUED:
            cancellation.check()
            status = pdfium.FPDF_RenderPage_Continue(handle, ctypes.byref(pause))
    finally:
        pdfium.FPDF_RenderPage_Close(handle)
    if status != pdfium.FPDF_RENDER_DONE:
        raise _page_corrupt(page)


@contextmanager
def _text_of(handle: _Handle, page: int) -> Iterator[_Handle]:
    pdfium = _pdfium()
    text = pdfium.FPDFText_LoadPage(handle)
    if not text:
        raise _page_corrupt(page)
    try:
        yield text
    finally:
        pdfium.FPDFText_ClosePage(text)


class _Affine(NamedTuple):
    """Points of the page (y upwards) to pixels (y downwards)."""

    xx: float
    xy: float
    yx: float
    yy: float
    x: float
    y: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        return self.xx * x + self.xy * y + self.x, self.yx * x + self.yy * y + self.y

    def turn(self, x: float, y: float) -> tuple[float, float]:
        return self.xx * x + self.xy * y, self.yx * x + self.yy * y

    @property
    def scale(self) -> float:
        """Pixels a point."""
        return math.sqrt(abs(self.xx * self.yy - self.xy * self.yx))


def _to_pixels(handle: _Handle, size: Size) -> _Affine:
    """PDFium's own mapping, so that page boxes and rotation are applied as in the rendering."""
    pdfium = _pdfium()
    box = pdfium.FS_RECTF()
    pdfium.FPDF_GetPageBoundingBox(handle, box)
    width, height = box.right - box.left, box.top - box.bottom
    x0, y0 = _corner(handle, size, box.left, box.bottom)
    x1, y1 = _corner(handle, size, box.right, box.bottom)
    x2, y2 = _corner(handle, size, box.left, box.top)
    xx, yx, xy, yy = (x1 - x0) / width, (y1 - y0) / width, (x2 - x0) / height, (y2 - y0) / height
    return _Affine(
        xx, xy, yx, yy, x0 - xx * box.left - xy * box.bottom, y0 - yx * box.left - yy * box.bottom
    )


def _corner(handle: _Handle, size: Size, x: float, y: float) -> tuple[float, float]:
    pdfium = _pdfium()
    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDF_PageToDevice(
        handle, 0, 0, _FINE_DEVICE, _FINE_DEVICE, 0, x, y, ctypes.byref(across), ctypes.byref(down)
    )
    return across.value * size[0] / _FINE_DEVICE, down.value * size[1] / _FINE_DEVICE


class _CharacterReader:
    """Reads characters one by one; the C values are allocated once."""

    def __init__(self, text: _Handle, affine: _Affine) -> None:
        self._pdfium, self._text, self._affine = _pdfium(), text, affine
        self._matrix, self._loose = self._pdfium.FS_MATRIX(), self._pdfium.FS_RECTF()
        self._left, self._right, self._bottom, self._top, self._x, self._y = (
            ctypes.c_double() for _ in range(6)
        )

    def read(self, cancellation: Cancellation) -> Iterator[LayerCharacter]:
        count = min(self._pdfium.FPDFText_CountChars(self._text), _MOST_CHARACTERS)
        for index in range(count):
            if index % _CHECK_EVERY == 0:
                cancellation.check()
            code = self._pdfium.FPDFText_GetUnicode(self._text, index)
            text = chr(code) if 0 < code <= 0x10FFFF else "\ufffd"
            yield self._place(index, text)

    def _place(self, index: int, text: str) -> LayerCharacter:
        pdfium, handle = self._pdfium, self._text
        pdfium.FPDFText_GetCharOrigin(handle, index, self._x, self._y)
        pdfium.FPDFText_GetMatrix(handle, index, self._matrix)
        x, y = self._affine.place(self._x.value, self._y.value)
        along_x, along_y = self._affine.turn(self._matrix.a, self._matrix.b)
        length = math.hypot(along_x, along_y)
        along = (along_x / length, along_y / length) if length > 0 else (1.0, 0.0)
        ink = self._ink(index)
        size = pdfium.FPDFText_GetFontSize(handle, index) * self._affine.scale
        size *= math.hypot(self._matrix.c, self._matrix.d)
        known = pdfium.FPDFText_HasUnicodeMapError(handle, index) != 1
        return LayerCharacter(text, known, x, y, *along, max(size, 1.0), *ink)

    def _ink(self, index: int) -> tuple[float, float, float, float]:
        """What the glyph covers; for glyphs without ink (scans' invisible text) their cell."""
        pdfium = self._pdfium
        pdfium.FPDFText_GetCharBox(
            self._text, index, self._left, self._right, self._bottom, self._top
        )
        left, right = self._left.value, self._right.value
        bottom, top = self._bottom.value, self._top.value
        if right <= left or top <= bottom:
            pdfium.FPDFText_GetLooseCharBox(self._text, index, self._loose)
            left, right = self._loose.left, self._loose.right
            bottom, top = self._loose.bottom, self._loose.top
        x0, y0 = self._affine.place(left, bottom)
        x1, y1 = self._affine.place(right, top)
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
