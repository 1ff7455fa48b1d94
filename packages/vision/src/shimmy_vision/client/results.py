"""What the server answers, as types for people and type checkers; nothing is checked with them.

They mirror the published JSON Schemas (``shimmy schema``), whose descriptions are not repeated
here; a test keeps them the same.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Mode: TypeAlias = Literal["full", "ocr", "layout", "brief"]


class Box(TypedDict):
    """Pixels of the original image after EXIF orientation; origin top left."""

    x: int
    y: int
    width: int
    height: int


class TextBlock(TypedDict):
    """Text, and where it was read."""

    text: str
    confidence: float
    box: NotRequired[Box]
    source: Literal["model", "pdf"]


class Root(TypedDict):
    """A frame or shadow tree on the way to an element."""

    kind: Literal["frame", "shadow"]
    selector: str


class DomElement(TypedDict):
    """A visible interactive element of a web page, from the document itself."""

    tag: str
    role: str
    name: str
    text: str
    selector: str
    roots: NotRequired[list[Root]]
    box: Box
    attributes: dict[str, str]
    foreground: str | None
    background: str | None
    contrast: float | None
    compliant: bool | None


class Region(TypedDict):
    """A part of the layout."""

    name: str
    description: str
    box: NotRequired[Box]


class UiElement(TypedDict):
    """Something to click, type into or look at."""

    name: str
    element_type: Literal[
        "button",
        "link",
        "input",
        "checkbox",
        "radio",
        "toggle",
        "select",
        "slider",
        "tab",
        "menu",
        "icon",
        "image",
        "table",
        "list",
        "card",
        "dialog",
        "navigation",
        "other",
    ]
    box: NotRequired[Box]
    source: NotRequired[Literal["model", "dom"]]
    selector: NotRequired[str]
    roots: NotRequired[list[Root]]


class Layout(TypedDict):
    """How it is arranged."""

    theme: Literal["light", "dark", "mixed"]
    regions: list[Region]
    key_ui_elements: list[UiElement]


class ContrastIssue(TypedDict):
    """A place whose contrast is too low."""

    box: Box
    foreground: str
    background: str
    ratio: float
    required: float


class Contrast(TypedDict):
    """WCAG 2 contrast of text-like areas, measured."""

    ratio: float
    compliant: bool
    issues: list[ContrastIssue]


class Visual(TypedDict):
    """How it looks; colours like ``#1a2b3c``."""

    background: str
    accent_colors: list[str]
    contrast: Contrast
    description: str


class Interaction(TypedDict):
    """What can be done there."""

    description: str


class Size(TypedDict):
    """In pixels."""

    width: int
    height: int


class Tile(TypedDict):
    """A part of the image that was looked at by itself."""

    box: Box
    seen: Size
    scale: float
    slices: int


class Model(TypedDict):
    """Which model answered; ``synthetic``: random weights, for tests only."""

    family: Literal["2.6", "4.0", "4.5", "4.6"]
    name: str
    synthetic: bool
    main_sha256: str
    projector_sha256: str


class Backend(TypedDict):
    """What the model ran on."""

    name: str
    build: str
    device: str
    threads: int
    encoder: str


class Timings(TypedDict):
    """Where the time went, in milliseconds."""

    fetch_ms: float
    decode_ms: float
    measure_ms: float
    load_ms: float
    encode_ms: float
    prompt_ms: float
    generate_ms: float


class Cache(TypedDict):
    """What need not be done again."""

    result: bool
    encodings: int
    states: int


class Tokens(TypedDict):
    """What was read and written."""

    prompt: int
    image: int
    generated: int
    forced: int
    forward_passes: int


class Slices(TypedDict):
    """What became of the image's slices."""

    planned: int
    encoded: int
    reused: int
    skipped: int


class ImageMeta(TypedDict):
    """The image, and how it was seen."""

    format: str
    width: int
    height: int
    notes: list[str]
    seen: Size
    scale: float
    slices: Slices
    tiles: list[Tile]


class DocumentMeta(TypedDict):
    """Which page of which document, rendered how."""

    page: int
    pages: int
    dpi: int
    text_layer: NotRequired[Literal["used", "absent", "unreadable"]]


class Viewport(TypedDict):
    """In CSS pixels, of which each is ``device_scale`` pixels of the picture."""

    width: int
    height: int
    device_scale: float


class PageMeta(TypedDict):
    """The web page that was seen."""

    url: str
    title: str
    status: int | None
    viewport: Viewport
    full_page: bool
    notes: list[str]


class Warning(TypedDict):  # noqa: A001 - it is the name of the thing, in a module of types
    """What the reader of a result should know."""

    code: str
    message: str


class Meta(TypedDict):
    """How the result came about."""

    model: Model
    backend: Backend
    licence: str
    mode: Literal["full", "ocr", "layout", "brief", "custom"]
    duration_ms: float
    timings: Timings
    cache: Cache
    tokens: Tokens
    image: ImageMeta
    document: NotRequired[DocumentMeta]
    page: NotRequired[PageMeta]
    warnings: list[Warning]
    raw: NotRequired[list[str]]


class Result(TypedDict):
    """Of one image, page of a document or web page; the mode decides which parts it has.

    full: all but ``answer``; ocr: ``text_blocks``; layout: ``layout``; brief: ``visual``; your own
    prompt or schema: ``answer``. ``dom_map`` is there for web pages only.
    """

    text_blocks: NotRequired[list[TextBlock]]
    layout: NotRequired[Layout]
    visual: NotRequired[Visual]
    interaction: NotRequired[Interaction]
    answer: NotRequired[Any]
    dom_map: NotRequired[list[DomElement]]
    meta: Meta
