"""The ``LinkSigner`` port: ids signed with a secret of the store's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itsdangerous import BadData, URLSafeSerializer

from shimmy_store.errors import SettingsError

_SALT = "shimmy-link"
# A token of ours has about a hundred characters.
_LONGEST = 512


class SignedLinks:
    """See ``ports.mail``. The first of ``secrets`` signs; what any of them signed is believed.

    Raises SettingsError where there is none.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not all(secrets) or not secrets:
            raise SettingsError(
                "link-secret-missing",
                "There is no secret to sign mailed links with.",
                hint="Give at least one, the newest first.",
            )
        self._signers = [_signer(secret) for secret in secrets]

    def token(self, link: str) -> str:
        return str(self._signers[0].dumps(link))

    def read(self, token: str) -> str | None:
        if len(token) > _LONGEST or not token.isascii():
            return None
        for signer in self._signers:
            try:
                link = signer.loads(token)
            except BadData:
                continue
            # Base64 has several spellings of the same bytes; one of them was mailed.
            if isinstance(link, str) and signer.dumps(link) == token:
                return link
        return None


def _signer(secret: str) -> URLSafeSerializer:
    how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(secret, salt=_SALT, signer_kwargs=how)
