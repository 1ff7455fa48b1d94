"""PDFs made here, opened by the real PDFium: pages, pixels, their own text, and hostile files."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdf_writer import A4, Page, PdfWriter, Words, text_page, write_pdf
from threads import Background, until

from shimmy_vision.adapters.files import pdfium_documents
from shimmy_vision.adapters.files.pdfium_documents import PdfiumDocument, PdfiumDocuments
from shimmy_vision.domain.image.text_layer import LayerLine, TextLayer, read_layer
from shimmy_vision.errors import ImageError, ShimmyError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.document_intake import DocumentLimits
from shimmy_vision.ports.image_intake import DecodedImage
from shimmy_vision.server.status_codes import status_of

DOCUMENTS, LIMITS = PdfiumDocuments(), DocumentLimits()


def _open(data: bytes, limits: DocumentLimits = LIMITS) -> PdfiumDocument:
    return DOCUMENTS.open(data, limits)


def _read(data: bytes, page: int = 1, dpi: int = 100) -> tuple[DecodedImage, TextLayer]:
    with _open(data) as document:
        image = document.render(page, dpi, Cancellation())
        characters = document.characters(page, dpi, Cancellation())
        return image, read_layer(characters, image.info.width, image.info.height)


def _refused(data: bytes, limits: DocumentLimits = LIMITS) -> ImageError:
    with pytest.raises(ImageError) as refused:
        _open(data, limits)
    return refused.value


def _ink(image: DecodedImage, line: LayerLine) -> tuple[bool, bool]:
    """Whether dark pixels are inside the box, and right around it."""
    dark = image.pixels.min(axis=2) < 128
    box = line.box
    inside = bool(dark[box.y : box.bottom, box.x : box.right].any())
    around = dark[box.y - 3 : box.bottom + 3, box.x - 3 : box.right + 3].copy()
    around[2:-2, 2:-2] = False
    return inside, bool(around.any())


def test_pages_have_sizes_pixels_and_colours() -> None:
    blue = b"0 0 1 rg 0 0 300 421 re f\n"
    data = write_pdf(Page(drawing=blue), Page(size=(300, 200)), Page(size=(300, 200), rotate=90))
    with _open(data) as document:
        assert document.page_count == 3
        sizes = [document.page_size(n) for n in (1, 2, 3)]
        assert [(s.width, s.height) for s in sizes] == [A4, (300, 200), (200, 300)]
        image = document.render(1, 72, Cancellation())
    assert image.pixels.shape == (842, 595, 3)
    assert image.pixels.flags.c_contiguous
    assert tuple(image.pixels[800, 20]) == (0, 0, 255)
    assert tuple(image.pixels[20, 20]) == (255, 255, 255)
    assert (image.info.format, image.info.width, image.info.height) == ("PDF", 595, 842)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, "[50 100 500 800]"])
def test_boxes_hold_the_ink_of_their_text_however_the_page_is_turned(
    rotate: int, crop: str | None
) -> None:
    words = [
        Words("Hello wide World", 72, 700),
        Words("upwards", 300, 300, 12, matrix=(0, 1, -1, 0)),
        Words("set by its matrix", 100, 500, 1, matrix=(14, 0, 0, 14)),
    ]
    image, layer = _read(write_pdf(Page(words, rotate=rotate, crop_box=crop)))
    assert sorted(line.text for line in layer.lines) == sorted(one.text for one in words)
    assert all(_ink(image, line) == (True, False) for line in layer.lines)


def test_invisible_text_over_a_scan_is_read_like_any() -> None:
    scan = (2, 2, bytes([255, 255, 255] * 4))
    page = Page([Words("what the scanner read", 72, 700, mode=3)], image=scan)
    image, layer = _read(write_pdf(page))
    assert [line.text for line in layer.lines] == ["what the scanner read"]
    assert image.pixels.min() == 255


def test_special_letters_come_as_unicode() -> None:
    page = text_page("Müller & Söhne: 45 € “quoted”")
    assert [line.text for line in _read(write_pdf(page))[1].lines] == [
        "Müller & Söhne: 45 € “quoted”"
    ]


def test_a_font_that_tells_no_letters_is_unreadable() -> None:
    private = (
        "/F1 << /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts "
        "[<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /DW 600 "
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>] >>"
    )
    page = text_page("no letters to be had here")
    assert _read(write_pdf(page, fonts=private))[1].state == "unreadable"


def test_a_page_without_text_has_no_layer() -> None:
    assert _read(write_pdf(Page()))[1].state == "absent"
    assert _read(write_pdf(Page([Words("beyond", 700, 900)])))[1].state == "absent"


def test_a_password_is_asked_for_in_words_and_an_empty_one_opens() -> None:
    error = _refused(write_pdf(text_page("secret"), password="pw"))
    assert (error.code, status_of(error)) == ("document-encrypted", 400)
    assert "password" in error.hint
    layer = _read(write_pdf(text_page("for all to read"), password=""))[1]
    assert [line.text for line in layer.lines] == ["for all to read"]


WHOLE = write_pdf(text_page("one"), text_page("two"))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "document-empty"),
        (write_pdf(), "document-empty"),
        (b"%PDF-1.7", "document-corrupt"),
        (b"%PDF-1.7\n" + bytes(5000), "document-corrupt"),
        (b"%PDF-1.7\ntrailer << /Root 1 0 R >>\n%%EOF", "document-corrupt"),
        (WHOLE[:60], "document-corrupt"),
    ],
    ids=["empty", "no-pages", "header", "zeros", "no-root", "cut"],
)
def test_what_is_no_document_is_refused_in_words(data: bytes, code: str) -> None:
    error = _refused(data)
    assert error.code == code
    assert error.message.endswith(".")
    assert error.hint or not data


def test_limits_on_bytes_and_pages_are_413() -> None:
    for limits in (DocumentLimits(max_bytes=len(WHOLE) - 1), DocumentLimits(max_pages=1)):
        error = _refused(WHOLE, limits)
        assert (error.code, status_of(error)) == ("document-too-large", 413)
    error = _refused(write_pdf(text_page("x"), count=900_000))
    assert error.code == "document-too-large"


def _only_page(document: PdfiumDocument) -> tuple[float, float]:
    size = document.page_size(1)
    return size.width, size.height


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ("[0 0 0 0]", (612, 792)),
        ("[10 10 10 900]", (612, 792)),
        ("[500 700 0 0]", (500, 700)),
        ("[0 0 1e9 7]", None),
        ("[0 0 99999999 99999999]", (99999999, 99999999)),
        ("(nonsense)", (612, 792)),
    ],
)
def test_odd_page_boxes_are_sizes_or_errors(box: str, size: tuple[float, float] | None) -> None:
    with _open(write_pdf(Page(media_box=box))) as document:
        try:
            found = _only_page(document)
        except ImageError as error:
            assert error.code == "page-corrupt"
        else:
            assert size is None or found == pytest.approx(size)


def test_a_page_tree_that_contains_itself_ends() -> None:
    writer = PdfWriter()
    writer.add(b"<< /Type /Catalog /Pages 2 0 R >>")
    writer.add(b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 4 >>")
    writer.add(b"<< /Type /Pages /Kids [2 0 R] /Parent 2 0 R /Count 2 >>")
    with _open(writer.finish()) as document:
        for page in range(1, document.page_count + 1):
            with pytest.raises(ImageError) as refused:
                document.render(page, 72, Cancellation())
            assert refused.value.code == "page-corrupt"
            assert f"Page {page}" in refused.value.message


def test_a_form_that_draws_itself_ends() -> None:
    writer = PdfWriter()
    writer.add(b"<< /Type /Catalog /Pages 2 0 R >>")
    writer.add(b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
    writer.add(
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R "
        b"/Resources << /XObject << /Im 5 0 R >> >> >>"
    )
    writer.add_stream(b"/Im Do")
    writer.add_stream(
        b"/Im Do",
        "/Type /XObject /Subtype /Form /BBox [0 0 99 99] /Resources << /XObject << /Im 5 0 R >> >>",
    )
    assert _read(writer.finish())[0].pixels.shape == (138, 138, 3)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_files_give_pages_or_errors(data: st.DataObject) -> None:
    """Cut anywhere, and with bytes changed anywhere: never anything but our own errors."""
    damaged = bytearray(WHOLE[: data.draw(st.integers(0, len(WHOLE)))])
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 255)), max_size=6)
    ):
        damaged[at : at + 1] = bytes([byte])
    try:
        with _open(bytes(damaged)) as document:
            for page in range(1, min(document.page_count, 3) + 1):
                size = document.page_size(page)
                if max(size.width, size.height) < 3000:
                    document.render(page, 36, Cancellation())
                    document.characters(page, 36, Cancellation())
    except ShimmyError as error:
        assert error.code in ("document-corrupt", "document-empty", "page-corrupt",
                              "document-encrypted", "document-too-large")  # fmt: skip


def test_drawing_and_reading_stop_when_told() -> None:
    stopped = Cancellation()
    stopped.cancel("interrupted")
    with _open(WHOLE) as document:
        with pytest.raises(StoppedError):
            document.render(1, 72, stopped)
        with pytest.raises(StoppedError):
            document.characters(1, 72, stopped)
        assert document.render(1, 72, Cancellation()).pixels.min() < 128


def test_a_page_that_takes_long_stops_within_200_ms() -> None:
    strokes = [
        b"%d 0 m %d 842 l %d 400 l h f*\n" % (n % 595, (n * 7) % 595, (n * 13) % 595)
        for n in range(60_000)
    ]
    few, all_ = (Page(drawing=b"".join(strokes[:count])) for count in (600, None))
    with _open(write_pdf(few, all_)) as document:
        started = time.perf_counter()
        document.render(1, 150, Cancellation())
        # A hundredth of what the second page takes: a third of a second on an idle core.
        hundredth = time.perf_counter() - started

        def seconds_to_stop() -> float:
            switch, thrown = Cancellation(), []

            def throw() -> None:
                thrown.append(time.perf_counter())
                switch.cancel("interrupted")

            threading.Timer(0.4, throw).start()
            with pytest.raises(StoppedError):
                document.render(2, 150, switch)
            return time.perf_counter() - thrown[0]

        # Once in five, because other tests may hold both cores when the switch is thrown.
        assert any(seconds_to_stop() < max(0.2, hundredth) for _ in range(5))


def test_documents_may_be_used_from_many_threads() -> None:
    whole = [_read(WHOLE, page)[0].pixels for page in (1, 2)]

    def work(number: int) -> bool:
        page = number % 2
        return bool(np.array_equal(_read(WHOLE, page + 1)[0].pixels, whole[page]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))


def test_a_document_is_closed_once_and_may_be_forgotten() -> None:
    document = _open(WHOLE)
    document.close()
    document.close()
    forgotten = _open(WHOLE)
    del forgotten
    gc.collect()


@pytest.fixture(scope="module")
def long_document() -> Iterator[bytes]:
    yield write_pdf(*(text_page(*(f"page {n} line {k}" for k in range(20))) for n in range(5000)))


def test_five_thousand_pages_open_at_once_and_stream_with_flat_memory(long_document: bytes) -> None:
    started = time.process_time()
    process = psutil.Process()
    with _open(long_document) as document:
        assert document.page_count == 5000
        assert document.page_size(4999).width == 595
        assert time.process_time() - started < 0.5  # a hundredth on an idle core
        grown = []
        for page in range(1, 5001):
            document.render(page, 20, Cancellation())
            if page % 50 == 1:
                lines = read_layer(document.characters(page, 20, Cancellation()), 166, 234).lines
                assert lines[0].text == f"page {page - 1} line 0"
            if page in (500, 5000):
                grown.append(process.memory_info().rss)
    assert grown[1] - grown[0] < 40_000_000


@contextmanager
def _pdfium_taken() -> Iterator[None]:
    """Another thread is in the middle of a page."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with pdfium_documents._PDFIUM:
            held.set()
            assert done.wait(60)

    holder = Background(hold)
    assert held.wait(60)
    try:
        yield
    finally:
        done.set()
        holder.result()


@pytest.mark.parametrize("what", ["open", "size", "render", "characters"])
def test_who_waits_for_anothers_page_can_leave(what: str) -> None:
    data, switch = write_pdf(text_page("One")), Cancellation()
    document = _open(data)
    deeds: dict[str, Callable[[], object]] = {
        "open": lambda: DOCUMENTS.open(data, LIMITS, switch),
        "size": lambda: document.page_size(1, switch),
        "render": lambda: document.render(1, 50, switch),
        "characters": lambda: document.characters(1, 50, switch),
    }
    with _pdfium_taken():
        waiter = Background(deeds[what])
        time.sleep(0.02)
        assert waiter.running
        switch.cancel("deadline")
        with pytest.raises(StoppedError):
            waiter.result()
    document.close()


def test_a_document_is_closed_without_waiting_for_anothers_page() -> None:
    document = _open(write_pdf(text_page("One")))
    with _pdfium_taken():
        Background(document.close).result()
        assert len(pdfium_documents._LEFT) == 1
    with _open(write_pdf(text_page("Two"))):
        pass
    until(lambda: not pdfium_documents._LEFT)
