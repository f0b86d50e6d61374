"""User data, as requests have it."""

from __future__ import annotations

import base64
import binascii

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.refusal import invalid

MAX_USER_DATA = 16384


def user_data(text: str | None) -> str | None:
    """Base64 in its canonical form; raises where it is none, or more than 16 KiB once decoded."""
    if not text:
        return None
    content = decoded(text)
    if len(content) > MAX_USER_DATA:
        raise invalid(f"User data is limited to {MAX_USER_DATA} bytes")
    return base64.b64encode(content).decode()


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServiceError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from error
