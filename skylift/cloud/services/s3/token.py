"""S3's continuation tokens: opaque to clients, and to us the name after which to go on."""

from __future__ import annotations

import base64
import binascii

from skylift.cloud.services.s3.error import invalid_argument


def write_token(after: str) -> str:
    return base64.urlsafe_b64encode(f"1{after}".encode()).decode()


def read_token(token: str | None, called: str) -> str:
    """What `write_token` was given; the empty string without a token. Raises InvalidArgument."""
    if token is None:
        return ""
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith("1"):
        raise invalid_argument(called, token, "The continuation token provided is incorrect")
    return text[1:]
