"""A stream sealed with AES-256-GCM in chunks: nothing in it can be changed, moved or cut off.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár): each chunk's nonce is its number
and whether it is the last one. Each file has a key of its own, derived from the backup key and 32
random bytes, so that no nonce comes twice under one key. The header is authenticated with every
chunk.
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shimmy_ops.domain.backups.manifest import damaged
from shimmy_ops.errors import BackupError

_MAGIC = b"SHIMMYB1"
_KEY_MARK, _SALT, _TAG = 8, 32, 16
CHUNK = 1 << 16
_HEADER = len(_MAGIC) + _KEY_MARK + _SALT


class SealingWriter(io.RawIOBase):
    """Seals what is written into ``file``; without ``close`` there is no last chunk."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        super().__init__()
        salt = os.urandom(_SALT)
        self._header = _MAGIC + _key_mark(key) + salt
        self._cipher = _cipher(key, salt)
        self._file = file
        self._number = 0
        self._waiting = bytearray()
        file.write(self._header)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data))  # type: ignore[arg-type]
        self._waiting += piece
        # One chunk more than full: the last one is not known before the end.
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(piece)

    def finish(self) -> None:
        """Seal the last chunk."""
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = _nonce(self._number, last=last)
        self._file.write(self._cipher.encrypt(nonce, chunk, self._header))
        self._number += 1


class OpeningReader(io.RawIOBase):
    """Opens what was sealed; each byte that it gives is as it was written. Raises BackupError."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        super().__init__()
        self._header = file.read(_HEADER)
        if len(self._header) < _HEADER or not self._header.startswith(_MAGIC):
            raise damaged("it does not begin as a backup does")
        mark = self._header[len(_MAGIC) : len(_MAGIC) + _KEY_MARK]
        if mark != _key_mark(key):
            raise BackupError(
                "backup-key-differs",
                "The backup was sealed with another backup key, or its beginning is damaged.",
                hint="Put the key of that time into the safe as backup-key.",
            )
        self._cipher = _cipher(key, self._header[-_SALT:])
        self._file = file
        self._ahead = file.read(CHUNK + _TAG)
        self._number = 0
        self._plain = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._plain and not self._ended:
            self._open()
        piece = self._plain[: len(view)]
        view[: len(piece)] = piece
        self._plain = self._plain[len(piece) :]
        return len(piece)

    def _open(self) -> None:
        sealed, self._ahead = self._ahead, self._file.read(CHUNK + _TAG)
        self._ended = not self._ahead
        try:
            nonce = _nonce(self._number, last=self._ended)
            self._plain = self._cipher.decrypt(nonce, sealed, self._header)
        except (InvalidTag, ValueError):
            raise damaged(f"piece {self._number + 1} was changed, moved or cut off") from None
        self._number += 1


def _cipher(key: str, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, b"shimmy-backup file").derive(key.encode()))


def _key_mark(key: str) -> bytes:
    """Tells keys apart, and tells nothing of them."""
    found = HKDF(SHA256(), 32, None, b"shimmy-backup mark").derive(key.encode())
    return hashlib.sha256(found).digest()[:_KEY_MARK]


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
