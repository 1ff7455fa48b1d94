"""PDFs changed in their objects: references that lead in circles, lies, filters on filters.

A document is read as objects by number, something happens to them, and it is written again with
tables or streams of places that are right, or not.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Sequence

from fuzz_mutations import LONGEST, mutate_bytes

_OBJECT = re.compile(rb"(\d{1,5}) 0 obj\n(.*?)\nendobj", re.S)
_TRAILER = re.compile(rb"trailer\n<<(.*?)>>\nstartxref", re.S)
_STREAM = re.compile(rb"(.*?)stream\n(.*)\nendstream", re.S)
_REFERENCE, _NUMBER = re.compile(rb"\d+ 0 R"), re.compile(rb"-?\d+\.?\d*(?! 0 R)")
_HEAD = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
_NUMBERS = (
    *(b"0", b"-1", b"1", b"2147483647", b"-2147483648", b"4294967296", b"1e9", b"0.00001"),
    *(b"99999999999999999999", b"14400", b"-0.5", b"nan", b"3", b"72", b"null", b"1 0 R"),
)
_ENTRIES = (
    b"/UserUnit 1e6", b"/UserUnit 0", b"/UserUnit -3", b"/MediaBox [0 0 1e9 1e9]",
    b"/MediaBox [0 0 0 0]", b"/MediaBox [5 5 1 1]", b"/MediaBox [0 0 14400 .001]",
    b"/MediaBox [nan nan 1 1]", b"/MediaBox [0 0 3e38 3e38]", b"/CropBox [-9e9 -9e9 9e9 9e9]",
    b"/CropBox [700 900 800 950]", b"/CropBox [10 10 10 10]", b"/MediaBox 1 0 R", b"/Rotate 45",
    b"/Rotate -90", b"/Rotate 99999999999", b"/Contents [4 0 R 4 0 R 4 0 R]", b"/Contents 2 0 R",
    b"/Kids [2 0 R]", b"/Kids [2 0 R 2 0 R 4 0 R]", b"/Count -1", b"/Count 10000",
    b"/Count 2147483647", b"/Parent 4 0 R", b"/Type /Catalog", b"/Type /Pages",
    b"/Filter [/FlateDecode /FlateDecode /FlateDecode /FlateDecode]", b"/Filter /JBIG2Decode",
    b"/Filter /JPXDecode", b"/Filter /DCTDecode", b"/Filter /CCITTFaxDecode", b"/Filter /Crypt",
    b"/Filter [/ASCIIHexDecode /ASCII85Decode /LZWDecode /RunLengthDecode]",
    b"/DecodeParms << /Predictor 15 /Columns 2147483647 /Colors 32 /BitsPerComponent 16 >>",
    b"/DecodeParms << /K -1 /Columns 1000000 /Rows 1000000 >>", b"/Length -1", b"/Length 99999999",
    b"/Length 3 0 R", b"/F (outside.bin)", b"/ColorSpace [/Indexed /DeviceRGB 255 <00>]",
    b"/ColorSpace [/ICCBased 4 0 R]", b"/ColorSpace [/Separation /X /DeviceCMYK 3 0 R]",
    b"/Width 100000", b"/Height 100000", b"/BitsPerComponent 33", b"/ImageMask true",
    b"/SMask 4 0 R", b"/Mask [0 0 0 0]", b"/Decode [9 -9]", b"/Encoding << /Differences [0 /a] >>",
    b"/ToUnicode 4 0 R", b"/FirstChar 0 /LastChar 2147483647 /Widths [0]", b"/Subtype /Type3",
    b"/FontMatrix [0 0 0 0 0 0]", b"/FontMatrix [1e9 0 0 1e9 0 0]", b"/FontBBox [0 0 0 0]",
    b"/CharProcs << /a 4 0 R >>", b"/FontDescriptor << /FontFile2 4 0 R /Flags 4 >>",
    b"/DescendantFonts [3 0 R]", b"/OpenAction << /S /JavaScript /JS (app.alert(1)) >>",
    b"/AA << /O << /S /JavaScript /JS (while(true){}) >> >>",
    b"/OpenAction << /S /Launch /F (/bin/sh) >>", b"/OpenAction << /S /URI /URI (http://x/) >>",
    b"/Names << /EmbeddedFiles << /Names [(a) << /Type /Filespec /EF << /F 4 0 R >> >>] >> >>",
    b"/AcroForm << /Fields [3 0 R 3 0 R] /NeedAppearances true /XFA 4 0 R >>",
    b"/Annots [<< /Type /Annot /Subtype /Widget /Rect [0 0 1e9 1e9] /AP << /N 4 0 R >> >>]",
    b"/Annots [<< /Subtype /Link /Rect [9 9 0 0] /A << /S /GoToR /F (x) >> >> 3 0 R]",
    b"/Annots 3 0 R", b"/Group << /S /Transparency /CS 3 0 R /I true /K true >>",
    b"/Resources << /XObject << /Im 4 0 R >> >>", b"/Resources 2 0 R", b"/BBox [0 0 -1 -1]",
    b"/Matrix [0 0 0 0 0 0]", b"/Linearized 1 /L 9 /O 3 /E 1 /N 1 /T 1 /H [0 9]",
    b"/OCProperties << /D << /OFF [3 0 R] >> /OCGs [3 0 R] >>", b"/PageLabels << /Nums [0 0] >>",
    b"/Outlines 1 0 R", b"/StructTreeRoot 1 0 R", b"/Dests 1 0 R", b"/ViewerPreferences 1 0 R",
)  # fmt: skip
_OPERATORS = (
    b"q ", b"Q ", b"BT ", b"ET ", b"/F1 12 Tf ", b"/F1 0 Tf ", b"/F1 1e9 Tf ", b"(x) Tj ",
    b"[(a) -1e9 (b)] TJ ", b"<00> Tj ", b"0 0 0 0 0 0 cm ", b"1e9 0 0 1e9 0 0 cm ",
    b"1e-9 0 0 1e-9 0 0 cm ", b"nan 0 0 1 0 0 Tm ", b"3 Tr ", b"7 Tr ", b"1e9 Tc ", b"-1e9 Tw ",
    b"0 Tz ", b"1e9 Ts ", b"/Im Do ", b"/X Do ", b"/P gs ", b"/Pattern cs /P scn ", b"/P sh ",
    b"0 0 m 1e9 1e9 l S ", b"0 0 1e9 1e9 re f ", b"0 0 9 9 re W n ", b"[0 0] 0 d ", b"[1e-6] 0 d ",
    b"1e9 w ", b"0 w ", b"9 9 m 0 0 9e9 9e9 1 1 c B* ", b"/MC BMC ", b"EMC ", b"BX EX ", b"d0 ",
    b"BI /W 9 /H 9 /BPC 8 /CS /RGB ID xxxxxxxxx EI ", b"BI /W 99999 /H 99999 /IM true ID \n EI ",
    b"1 0 0 0 0 0 d1 ", b"0 0 0 1 k ", b"9 G ", b"(", b")", b"<<", b">>", b"[", b"]", b"%",
)  # fmt: skip


def mutate_document(
    chance: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """By its objects, if they can be told; now and then by its bytes alone."""
    found = {int(one[1]): one[2] for one in _OBJECT.finditer(data)}
    if len(found) < 2 or chance.random() < 0.15:
        return mutate_bytes(chance, data, others, words)
    for _ in range(chance.choice((1, 1, 2, 4))):
        number = chance.choice(list(found))
        found[number] = _changed(chance, found[number], list(found))
    if chance.random() < 0.3:
        found[max(found) + 1] = _another(chance, list(found))
    if chance.random() < 0.05:
        del found[chance.choice(list(found))]
    trailer = next((one[1] for one in _TRAILER.finditer(data)), b" /Size 9 /Root 1 0 R ")
    whole = chance.choice((_with_table, _with_table, _with_streams, _with_lies))(
        chance, found, trailer
    )
    if chance.random() < 0.1:
        whole = whole[: chance.randrange(1, len(whole))]
    return whole[:LONGEST]


def _changed(chance: random.Random, body: bytes, numbers: list[int]) -> bytes:
    stream = _STREAM.fullmatch(body)
    if stream is not None and chance.random() < 0.6:
        return _stream(chance, stream[1], stream[2])
    how = chance.random()
    if how < 0.35:
        at = body.find(b"<<")
        entry = chance.choice(_ENTRIES) + b" "
        return body if at < 0 else body[: at + 2] + b" " + entry + body[at + 2 :]
    if how < 0.6:
        return _one(chance, _REFERENCE, body, b"%d 0 R" % chance.choice(numbers))
    if how < 0.9:
        return _one(chance, _NUMBER, body, chance.choice(_NUMBERS))
    return mutate_bytes(chance, body, [body], _ENTRIES)


def _one(chance: random.Random, what: re.Pattern[bytes], body: bytes, new: bytes) -> bytes:
    """One of the places that look so is something else."""
    places = [one.span() for one in what.finditer(body)]
    if not places:
        return body
    start, end = chance.choice(places)
    return body[:start] + new + body[end:]


def _stream(chance: random.Random, head: bytes, coded: bytes) -> bytes:
    """What is in it, changed; coded as before, otherwise, or several times over."""
    try:
        plain = zlib.decompressobj().decompress(coded, LONGEST)
    except zlib.error:
        plain = coded
    for _ in range(chance.choice((0, 1, 2, 5))):
        at = chance.randrange(len(plain) + 1)
        plain = plain[:at] + chance.choice(_OPERATORS) * chance.choice((1, 1, 3, 400)) + plain[at:]
    if chance.random() < 0.2:
        plain = mutate_bytes(chance, plain, [plain], _OPERATORS)
    return _written(chance, re.sub(rb"/(?:Length|Filter)\s*[/\w]+", b"", head), plain)


def _written(chance: random.Random, head: bytes, plain: bytes) -> bytes:
    times, filters = chance.choice((1, 1, 1, 1, 0, 20)), b""
    data = plain
    for _ in range(times):
        data, filters = zlib.compress(data), filters + b"/FlateDecode "
    if chance.random() < 0.1:
        data, filters = data.hex().encode() + b">", b"/ASCIIHexDecode " + filters
    length = b"%d" % len(data) if chance.random() < 0.9 else chance.choice(_NUMBERS)
    entries = b"<< /Length %b /Filter [ %b ] " % (length, filters)
    opened = head.replace(b"<<", entries, 1) if b"<<" in head else entries + b">>\n"
    return opened + b"stream\n" + data + b"\nendstream"


def _another(chance: random.Random, numbers: list[int]) -> bytes:
    """Something that other objects may name: a form, a shading, a pattern, a font, an action."""
    other, drawn = chance.choice(numbers), b"".join(chance.choices(_OPERATORS, k=9))
    dictionaries = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 99 99] "
        b"/Resources << /XObject << /Im %d 0 R /X %d 0 R >> >> >>" % (other, max(numbers) + 1),
        b"<< /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep .0001 /YStep 1 "
        b"/Resources << >> >>",
        b"<< /FunctionType 4 /Domain [0 1] /Range [0 1] >>",
        b"<< /FunctionType 0 /Domain [0 1] /Range [0 1] /Size [2147483647] /BitsPerSample 32 >>",
        b"<< /ShadingType 4 /ColorSpace /DeviceRGB /BitsPerCoordinate 32 /BitsPerComponent 16 "
        b"/BitsPerFlag 8 /Decode [0 1 0 1 0 1 0 1 0 1] >>",
        b"<< /Type /ObjStm /N 2147483647 /First 5 /Extends %d 0 R >>" % other,
        b"<< /Type /EmbeddedFile >>",
        b"<< >>",
    )
    if chance.random() < 0.7:
        return _written(chance, chance.choice(dictionaries) + b"\n", drawn)
    return chance.choice(
        (
            b"<< /ShadingType 2 /ColorSpace /DeviceRGB /Coords [0 0 1e9 0] /Function %d 0 R >>"
            % other,
            b"<< /FunctionType 3 /Domain [0 1] /Functions [%d 0 R] /Bounds [] /Encode [0 1] >>"
            % other,
            b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [.1 0 0 .1 0 0] "
            b"/FirstChar 0 /LastChar 99 /Widths [9] /Encoding << /Differences [0 /a] >> "
            b"/CharProcs << /a %d 0 R >> >>" % other,
            b"<< /S /JavaScript /JS %d 0 R /Next %d 0 R >>" % (other, max(numbers) + 1),
            b"[" * chance.choice((1, 600, 9000)),
            b"<</A" * chance.choice((1, 600, 9000)),
            b"%d 0 R" % (max(numbers) + 1),
            b"(" * 5000,
        )
    )


def _table(whole: bytes, places: dict[int, int], trailer: bytes, start: int) -> bytes:
    size = max(places) + 1
    rows = [b"xref\n0 %d\n0000000000 65535 f \n" % size]
    for number in range(1, size):
        at = places.get(number)
        rows.append(b"0000000000 00000 f \n" if at is None else b"%010d 00000 n \n" % at)
    end = b"trailer\n<<%b>>\nstartxref\n%d\n%%%%EOF\n" % (trailer, start)
    return whole + b"".join(rows) + end


def _bodies(found: dict[int, bytes]) -> tuple[bytes, dict[int, int]]:
    whole, places = bytearray(_HEAD), dict[int, int]()
    for number, body in found.items():
        places[number] = len(whole)
        whole += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    return bytes(whole), places


def _with_table(_chance: random.Random, found: dict[int, bytes], trailer: bytes) -> bytes:
    whole, places = _bodies(found)
    return _table(whole, places, trailer, len(whole))


def _with_lies(chance: random.Random, found: dict[int, bytes], trailer: bytes) -> bytes:
    """Places that are wrong, or tables that lead to themselves; what stands before and behind."""
    whole, places = _bodies(found)
    start, how = len(whole), chance.randrange(7)
    if how == 0:
        trailer += b" /Prev %d" % start
    elif how == 1:
        trailer += b" /Prev 0 /XRefStm %d" % chance.randrange(start)
    elif how == 2:
        places = {number: chance.choice(list(places.values())) for number in places}
    elif how == 3:
        start = chance.choice((0, 9, 2**31, start + 1))
    elif how == 4:
        locked = b" /Encrypt << /Filter /Standard /V %d /R %d /O <00> /U <00> /P -4 /Length %d >>"
        length = chance.choice((0, 40, 128, 256, 2**31))
        trailer += locked % (chance.randrange(7), chance.randrange(8), length)
    elif how == 5:
        first = b"9999 0 obj\n<< /Linearized 1 /L %d /O 3 /E 9 /N 1 /T %d /H [9 9] >>\nendobj\n"
        return _HEAD + first % (start, start) + _table(whole, places, trailer, start)
    again = _table(whole, places, trailer, start)
    if how != 6:
        return again
    # Once more behind it, as an editor saves: the first object is another now.
    later = b"1 0 obj\n%b\nendobj\n" % chance.choice(list(found.values()))
    end = b"xref\n1 1\n%010d 00000 n \ntrailer\n<<%b /Prev %d>>\nstartxref\n%d\n%%%%EOF\n"
    at = len(again)
    return again + later + end % (at, trailer, len(whole), at + len(later))


def _with_streams(chance: random.Random, found: dict[int, bytes], trailer: bytes) -> bytes:
    """Objects in a stream of objects, and their places in another; each may lie."""
    packed = {number: body for number, body in found.items() if b"stream\n" not in body}
    outside = {number: body for number, body in found.items() if number not in packed}
    holder = max(found) + 1
    pairs, inside = bytearray(), bytearray()
    for number, body in packed.items():
        pairs += b"%d %d " % (number, len(inside))
        inside += body + b"\n"
    first = len(pairs) if chance.random() < 0.9 else chance.choice((0, 2**31, 9))
    count = len(packed) if chance.random() < 0.9 else chance.choice((0, 2**31, 10**6))
    more = b"/Extends %d 0 R " % holder if chance.random() < 0.2 else b""
    head = b"<< /Type /ObjStm /N %d /First %d %b>>\n" % (count, first, more)
    outside[holder] = _written(chance, head, bytes(pairs + inside))
    whole, places = _bodies(outside)
    rows, order = bytearray(struct.pack(">BIH", 0, 0, 65_535)), list(packed)
    for number in range(1, holder + 2):
        if number in packed:
            within = holder if chance.random() < 0.97 else number
            rows += struct.pack(">BIH", 2, within, order.index(number))
        else:
            rows += struct.pack(">BIH", 1, places.get(number, len(whole)), 0)
    widths = b"[1 4 2]" if chance.random() < 0.95 else b"[9 -1 2147483647]"
    head = b"<<%b /Type /XRef /Size %d /W %b >>\n" % (
        re.sub(rb"/Size \d+", b"", trailer), holder + 2, widths,
    )  # fmt: skip
    body = b"%d 0 obj\n%b\nendobj\n" % (holder + 1, _written(chance, head, bytes(rows)))
    return whole + body + b"startxref\n%d\n%%%%EOF\n" % len(whole)
