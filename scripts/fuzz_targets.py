"""What reads what strangers send: each target takes bytes and ends in a value or an error of ours.

``run`` returns a short word for what came out, the same for inputs that fared the same. Whatever
else it raises is a finding, and so is ``Broken``: a value that must not have come out.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fuzz_documents
import fuzz_intake
import fuzz_mutations as mutations
import fuzz_pictures
import fuzz_services
import fuzz_shop
from fuzz_ground import HELD, ROOT, Broken
from fuzz_ground import shape as _shape

__all__ = ["HELD", "ROOT", "TARGETS", "Broken", "Target", "seeds"]

CORPUS = ROOT / "tests/fuzz/corpus"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
_MIB = 1 << 20


@dataclass(frozen=True)
class Target:
    """``seconds`` and ``mib`` bound what one input may take."""

    run: Callable[[bytes], str]
    seconds: float = 10
    mib: int = 256
    words: tuple[bytes, ...] = ()
    mutate: mutations.Mutation = mutations.mutate_bytes
    more: Callable[[], list[bytes]] = list


def seeds(name: str) -> list[bytes]:
    """What a target's inputs are made from."""
    found = [one.read_bytes() for one in sorted((CORPUS / name).glob("*"))]
    return [*found, *TARGETS[name].more()] or [b""]


def _gguf(data: bytes) -> str:
    from shimmy_vision.domain.model.gguf import parse_gguf
    from shimmy_vision.errors import ModelError

    try:
        header = parse_gguf(data)
    except ModelError as error:
        return f"{error.code} {_shape(error.message)}"
    return f"read {min(len(header.metadata), 8)} {min(len(header.tensors), 8)}"


@functools.cache
def _schemas() -> Any:
    from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas

    return LlguidanceSchemas()


def _schema(data: bytes) -> str:
    from shimmy_vision.domain.answer.analysis_request import CustomQuestion
    from shimmy_vision.errors import ShimmyError
    from shimmy_vision.ports.cancellation import Cancellation
    from shimmy_vision.server.json_bounds import ONE_FILE, read_json_text

    try:
        schema = read_json_text(data, ONE_FILE)
        if not isinstance(schema, dict):
            return "no object"
        CustomQuestion(schema=schema)
        _schemas().check(schema, Cancellation())
    except ShimmyError as error:
        return f"{error.code} {_shape(error.message)}"
    return f"taken {_shape(sorted(schema))}"


@functools.cache
def _sample() -> dict[str, str]:
    read: dict[str, str] = json.loads((ROOT / "contracts/samples/machine-file.json").read_text())
    return read


def _sample_file() -> list[bytes]:
    return [_sample()["certificate"].encode()]


def _machine_file(data: bytes) -> str:
    from shimmy_vision.domain.licence.certificate import LicenceProof, open_machine_file
    from shimmy_vision.domain.licence.pinned import PINNED

    text, signed = data.decode("utf-8", "replace"), _sample()["certificate"]
    found = open_machine_file(
        text,
        licence_key=_sample()["key"],
        fingerprint=_sample()["fingerprint"],
        public_key=PINNED.public_key,
    )
    if isinstance(found, LicenceProof):
        if text.removesuffix("\n") == signed.removesuffix("\n"):
            return "the signed one"
        raise Broken("a file that nobody signed for this machine is believed")
    return _shape(found.problem)


KEY, FINGERPRINT = "0F4B2C-9D11E7-A3C5F8-77B0D2-C41E96-V3", "5a" * 32


def _machine_content(data: bytes) -> str:
    """The same within the signature: a server of ours that writes nonsense."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from shimmy_sandbox.keygen.signing import SigningKey
    from shimmy_vision.domain.licence.certificate import LicenceProof, open_machine_file
    from shimmy_vision.domain.licence.pinned import PINNED

    cipher = AESGCM(hashlib.sha256((KEY + FINGERPRINT).encode()).digest())
    nonce = bytes(12)
    whole = cipher.encrypt(nonce, data, None)
    enc = ".".join(base64.b64encode(one).decode() for one in (whole[:-16], nonce, whole[-16:]))
    sign = base64.b64encode(SigningKey().sign(f"machine/{enc}".encode())).decode()
    sealed = json.dumps({"enc": enc, "sig": sign, "alg": "aes-256-gcm+ed25519"})
    text = base64.b64encode(sealed.encode()).decode()
    lines = [text[at : at + 60] for at in range(0, len(text), 60)]
    armoured = "\n".join(("-----BEGIN MACHINE FILE-----", *lines, "-----END MACHINE FILE-----", ""))
    found = open_machine_file(
        armoured, licence_key=KEY, fingerprint=FINGERPRINT, public_key=PINNED.public_key
    )
    if isinstance(found, LicenceProof):
        return f"believed {found.facts.plan[:20]}"
    return _shape(found.problem)


def _reply(data: bytes) -> str:
    """Headers in lines, an empty line, and the body, as of a reply of the licence server."""
    from shimmy_vision.domain.licence.pinned import PINNED
    from shimmy_vision.domain.licence.response_signature import Asked, Genuine, check_reply

    head, _, body = data.partition(b"\n\n")
    lines = (line.partition(": ") for line in head.decode("utf-8", "replace").split("\n"))
    headers = {name.lower(): value for name, _, value in lines}
    asked = Asked("GET", "/v1/accounts/x/licenses", "127.0.0.1", 7410)
    found = check_reply(asked, headers, body, PINNED.public_key, NOW)
    if isinstance(found, Genuine):
        raise Broken("a reply that nobody signed is believed")
    return found.fault


def _verdict(data: bytes) -> str:
    from shimmy_vision.domain.licence import licence_facts

    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(document, dict):
        return "no object"
    read: tuple[Callable[[], object], ...] = (
        lambda: licence_facts.read_verdict(document, 1, NOW),
        lambda: licence_facts.read_machines(document),
        lambda: licence_facts.included(document, "licenses"),
    )
    return " ".join(map(_read_or_said, read))


def _read_or_said(read: Callable[[], object]) -> str:
    try:
        return type(read()).__name__
    except ValueError as error:
        return _shape(error)


def _webhook(data: bytes) -> str:
    from shimmy_store.domain.webhook_event import read_event

    event = read_event(data)
    if event is None:
        return "no event"
    texts = f"{event.id}{event.type}{event.customer}{event.payment}"
    texts.encode()
    if "\0" in texts:
        raise Broken("what no ledger can write")
    return f"event {event.livemode} {bool(event.customer)} {bool(event.payment)}"


def _signature(data: bytes) -> str:
    """The header, an empty line, and the body."""
    from shimmy_store.domain.webhook_signature import check_signature

    head, _, body = data.partition(b"\n\n")
    verdict = check_signature(body, head.decode("utf-8", "replace"), ["whsec_of_fuzz"], NOW)
    if verdict == "genuine":
        raise Broken("what nobody signed is believed")
    return verdict


def _url(data: bytes) -> str:
    from shimmy_vision.domain.web.addresses import special_kind
    from shimmy_vision.domain.web.allow_list import AllowList
    from shimmy_vision.domain.web.refusal import Refused
    from shimmy_vision.domain.web.urls import check_authority, check_redirect, check_url

    text = data.decode("utf-8", "surrogateescape")
    found = check_url(text, AllowList())
    check_authority(text, AllowList(), usual_port=80)
    moved = check_redirect("https://example.com/a/b?c", text, AllowList())
    for one in (found, moved):
        if isinstance(one, Refused):
            continue
        again = check_url(one.url, AllowList())
        if again != one:
            raise Broken("what is allowed reads otherwise the second time")
        try:
            address = ipaddress.ip_address(one.host)
        except ValueError:
            continue
        if special_kind(address) is not None or not address.is_global:
            raise Broken(f"an address that is not public: {address}")
    return _shape(found.reason) if isinstance(found, Refused) else "allowed"


def _manifest(data: bytes) -> str:
    from shimmy_vision.domain.payload.manifest import canonical_bytes, parse_manifest

    try:
        manifest = parse_manifest(data)
    except ValueError as error:
        return _shape(error)
    if canonical_bytes(manifest) != data:
        raise Broken("two texts of one manifest")
    return "read"


_JSON_WORDS = (
    b'{"', b'":', b"[", b"]", b"}", b"null", b"\\ud800", b"\\u0000", b"1e999", b"-0",
)  # fmt: skip
_SCHEMA_WORDS = (
    b"$ref", b"#/$defs/a", b"$defs", b"anyOf", b"allOf", b"oneOf", b"not", b"items",
    b"prefixItems", b"properties", b"required", b"additionalProperties", b"pattern", b"^(a|b)*$",
    b"(a{1,99}){1,99}", b"minItems", b"maxItems", b"minLength", b"multipleOf", b"const", b"enum",
    b"type", b"string", b"object", b"array", b"integer", b"format", b"date-time", b"minimum",
    b"exclusiveMaximum", b"#",
)  # fmt: skip
_PDF_WORDS = (
    b"obj", b"endobj", b"stream\n", b"endstream", b"/Length 99999", b"/Filter/FlateDecode",
    b"/Filter[/ASCIIHexDecode/LZWDecode/RunLengthDecode/DCTDecode/JPXDecode/JBIG2Decode]",
    b"/Kids[1 0 R]", b"/Parent 3 0 R", b"/Count 2147483647", b"/MediaBox[0 0 1e9 1e9]", b"1 0 R",
    b"<<", b">>", b"[", b"]", b"/Type/Page", b"/Type/XObject/Subtype/Form", b"/Font",
    b"q Q cm Do", b"/Prev 0", b"startxref\n0", b"xref", b"trailer", b"/Encrypt 1 0 R", b"/ObjStm",
    b"-1", b"Tj ET",
)  # fmt: skip
_URL_WORDS = (
    b"http://", b"https://", b"file://", b"@", b"//", b"\\", b"127.0.0.1", b"[::1]", b"%31",
    b"0x7f", b"[::ffff:127.0.0.1]", b"2130706433", b"localhost", b"169.254.169.254",
    b"\xe3\x80\x82", b"%00", b"xn--", b":80", b"#", b"?", b"\xef\xbc\x91", b"%2f",
    b"[fe80::1%25eth0]", b"127.1", b"017700000001",
)  # fmt: skip
_GGUF_WORDS = (
    b"GGUF", b"general.alignment", b"general.architecture", b"\t\x00\x00\x00",
    b"\x08\x00\x00\x00",
)  # fmt: skip
_API_WORDS = (
    b"--xyz\r\n", b"--xyz--\r\n",
    b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n', b'"image":"',
    b'"url":"http://127.0.0.1/"', b'"schema":{', b'"mode":"ocr"', b'"stream":true', b'"items":[',
    b'"messages":[', b'"image_url"', b"data:image/png;base64,", b'"pages":"1-9"',
    b"filename*=utf-8''%ff", b"Content-Transfer-Encoding: base64\r\n",
    *_JSON_WORDS,
)  # fmt: skip
_SIGN_WORDS = (
    b"t=", b"v1=", b",", b"v0=", b"\n\n",
    b"0000000000000000000000000000000000000000000000000000000000000000", b"1795608000",
)  # fmt: skip
_LINE_WORDS = (
    b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n", b"Host: 127.0.0.1\r\n", b"Host: a\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"Sec-WebSocket-Version: 8\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"X: \0\r\n", b" : \r\n", b"HTTP/9.9",
    b"\x81\x80abcd", b"\x82\xfe\xff\xffabcd", b"\x88\x80abcd", b"\x89\xfdabcd", b"\x00\x80abcd",
    b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd", b"\xc1\x80abcd", b"\x8f\x80abcd",
)  # fmt: skip
_SHOP_WORDS = (
    b"csrf", b"TOKEN", b"plan", b"developer", b"startup", b"lifetime", b"attempt", b"key",
    b"LICENCE", b"email", b"ada@shop.example", b"a@b", b"\r\nBcc: x@y.example", b"customer",
    b"cus_1", b"machine", b"token", b"session_id", b"cs_test_1", b"%00", b"%ff", b"..%2f..",
    b"checkout.session.completed", b"customer.subscription.updated", b"charge.refunded",
    b"charge.dispute.created", b"invoice.paid", b"subscription", b"payment_intent", b"pi_1",
    *_JSON_WORDS,
)  # fmt: skip

TARGETS: dict[str, Target] = {
    "gguf": Target(_gguf, words=_GGUF_WORDS),
    "image": Target(
        fuzz_intake.read_picture, seconds=20, mib=512, mutate=fuzz_pictures.mutate_picture
    ),
    "pdf": Target(
        fuzz_intake.read_document,
        seconds=20,
        mib=1024,
        words=_PDF_WORDS,
        mutate=fuzz_documents.mutate_document,
        more=fuzz_intake.documents,
    ),
    "schema": Target(_schema, seconds=20, words=_SCHEMA_WORDS, mutate=mutations.mutate_json),
    "machine-file": Target(_machine_file, more=_sample_file),
    "machine-content": Target(_machine_content, words=_JSON_WORDS, mutate=mutations.mutate_json),
    "reply": Target(_reply, words=(b"Keygen-Signature: ", b'algorithm="ed25519"', b'signature="')),
    "verdict": Target(_verdict, words=_JSON_WORDS, mutate=mutations.mutate_json),
    "webhook": Target(_webhook, words=_JSON_WORDS, mutate=mutations.mutate_json),
    "signature": Target(_signature, words=_SIGN_WORDS),
    "url": Target(_url, words=_URL_WORDS),
    "manifest": Target(_manifest, words=_JSON_WORDS, mutate=mutations.mutate_json),
    "api": Target(
        fuzz_services.ask_server,
        seconds=20,
        mib=512,
        words=_API_WORDS,
        mutate=fuzz_services.mutate_asked,
    ),
    "socket": Target(
        fuzz_services.converse,
        seconds=20,
        mib=512,
        words=_API_WORDS,
        mutate=fuzz_services.mutate_talk,
    ),
    "line": Target(fuzz_services.write_on_line, seconds=20, mib=512, words=_LINE_WORDS),
    "shop": Target(
        fuzz_shop.visit_store, seconds=20, mib=512, words=_SHOP_WORDS, mutate=fuzz_shop.mutate_visit
    ),
}
