"""The tokens of pages: opaque to clients, and to us the item after which the next page begins.

An item and not a number of them: nothing is repeated or lost when something is made or removed between two pages.
Services differ in what they call a token, and in how they refuse one.
"""

from __future__ import annotations

import base64
import binascii
from typing import NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError

_MARK = "after:"


class Paged(TypedDict):
    """The members of a request that is answered in pages."""

    MaxResults: NotRequired[int]
    NextToken: NotRequired[str]


class Next(TypedDict):
    """The member of an answer that leads to another page."""

    NextToken: NotRequired[str]


def write_token(after: str) -> str:
    return base64.urlsafe_b64encode(f"{_MARK}{after}".encode()).decode()


def read_token(token: str | None, refusal: ServiceError) -> str:
    """What `write_token` was given; the empty string without a token. Raises the refusal for any other."""
    if token is None:
        return ""
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_MARK):
        raise refusal
    return text.removeprefix(_MARK)


def after(params: Next, message: str = "The specified next token is invalid.") -> str:
    """The item that the page begins after, of `NextToken`; empty for the first page. Raises InvalidNextToken."""
    return read_token(params.get("NextToken") or None, ServiceError("InvalidNextToken", message))


def leads_to(last: str) -> Next:
    """The member of an answer that leads to the page after this item."""
    return {"NextToken": write_token(last)}
