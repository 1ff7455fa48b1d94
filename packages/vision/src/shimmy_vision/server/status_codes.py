"""The one table from errors to HTTP statuses."""

from __future__ import annotations

from http import HTTPStatus

from shimmy_vision.errors import (
    BusyError,
    DeadlineError,
    ImageError,
    LibraryError,
    LicenceError,
    LicenceServerError,
    LicenceStateError,
    ModelError,
    OutputError,
    SchemaError,
    ShimmyError,
    StoppedError,
    UsageError,
)

# Codes first: reasons that a client must tell apart although they are of one class.
_BY_CODE: dict[str, int] = {
    "licence-missing": HTTPStatus.UNAUTHORIZED,
    "licence-unknown": HTTPStatus.UNAUTHORIZED,
    "licence-not-activated": HTTPStatus.UNAUTHORIZED,
    "licence-expired": HTTPStatus.PAYMENT_REQUIRED,
    "licence-suspended": HTTPStatus.PAYMENT_REQUIRED,
    "page-cap-reached": HTTPStatus.PAYMENT_REQUIRED,
    # The request, before anybody looked at the image.
    "json-malformed": HTTPStatus.BAD_REQUEST,
    "fields-invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "media-type-unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "body-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "body-too-slow": HTTPStatus.REQUEST_TIMEOUT,
    "head-too-slow": HTTPStatus.REQUEST_TIMEOUT,
    "fields-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "json-too-complex": HTTPStatus.UNPROCESSABLE_ENTITY,
    "connections-too-many": HTTPStatus.SERVICE_UNAVAILABLE,
    "api-key-missing": HTTPStatus.UNAUTHORIZED,
    "api-key-wrong": HTTPStatus.UNAUTHORIZED,
    "host-refused": HTTPStatus.FORBIDDEN,
    "origin-refused": HTTPStatus.FORBIDDEN,
    "path-unknown": HTTPStatus.NOT_FOUND,
    "method-unknown": HTTPStatus.METHOD_NOT_ALLOWED,
    "job-unknown": HTTPStatus.NOT_FOUND,
    "model-unknown": HTTPStatus.NOT_FOUND,
    "server-stopping": HTTPStatus.SERVICE_UNAVAILABLE,
    "image-unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "image-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "image-dimension-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "image-too-many-pixels": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "image-too-many-scans": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "document-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "page-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "fetch-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    # Something to install, as a model is.
    "browser-missing": HTTPStatus.SERVICE_UNAVAILABLE,
    "playwright-missing": HTTPStatus.SERVICE_UNAVAILABLE,
}
# Most specific class first: the first match decides.
_BY_CLASS: tuple[tuple[type[ShimmyError], int], ...] = (
    (BusyError, HTTPStatus.TOO_MANY_REQUESTS),
    (DeadlineError, HTTPStatus.GATEWAY_TIMEOUT),
    (StoppedError, 499),  # The client went away; nginx's number, which has no name in the standard.
    (LicenceServerError, HTTPStatus.SERVICE_UNAVAILABLE),
    (LicenceStateError, HTTPStatus.SERVICE_UNAVAILABLE),
    (LicenceError, HTTPStatus.FORBIDDEN),
    (ModelError, HTTPStatus.SERVICE_UNAVAILABLE),
    (LibraryError, HTTPStatus.BAD_GATEWAY),
    (OutputError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (SchemaError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ImageError, HTTPStatus.BAD_REQUEST),
    (UsageError, HTTPStatus.BAD_REQUEST),
)


def status_of(error: ShimmyError) -> int:
    """The status of a response that carries ``error``."""
    chosen = _BY_CODE.get(error.code)
    if chosen is not None:
        return int(chosen)
    # The base of the tree is only ever what nobody foresaw.
    known = (status for kind, status in _BY_CLASS if isinstance(error, kind))
    return int(next(known, HTTPStatus.INTERNAL_SERVER_ERROR))
