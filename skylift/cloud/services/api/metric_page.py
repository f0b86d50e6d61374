"""Pages of CloudWatch's and Auto Scaling's lists. A token says after which item the next page begins."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from skylift.cloud.error import ServiceError


def after(params: Any) -> str:
    """What the page begins after; nothing for the first. Raises InvalidNextToken."""
    token = params.get("NextToken")
    if not token:
        return ""
    try:
        kind, value = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        kind, value = None, None
    if kind != "after" or not isinstance(value, str):
        raise ServiceError("InvalidNextToken", "The specified next token is invalid.")
    return value


def leads_to(last: str) -> dict[str, str]:
    """The member of an answer that leads to the page after this item."""
    return {"NextToken": base64.urlsafe_b64encode(json.dumps(["after", last]).encode()).decode()}
