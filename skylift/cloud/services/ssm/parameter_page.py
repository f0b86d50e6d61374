"""Pages of Systems Manager's lists. A token says after which item the next page begins."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.parameter import ParameterVersion


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
        raise ServiceError("InvalidNextToken", "The specified token is not valid.")
    return value


def page(
    params: Any,
    found: Iterator[ParameterVersion],
    usual: int,
    key: Callable[[ParameterVersion], str] = lambda version: version.name,
) -> tuple[list[ParameterVersion], dict[str, str]]:
    """The first of `found`, as many as a page holds, and the member that leads to the next page if there is one."""
    size = params.get("MaxResults", usual)
    chosen = list(islice(found, size + 1))
    if len(chosen) <= size:
        return chosen, {}
    last = json.dumps(["after", key(chosen[size - 1])])
    return chosen[:size], {"NextToken": base64.urlsafe_b64encode(last.encode()).decode()}
