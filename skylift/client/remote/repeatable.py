"""Calls that may find their work done: the first answer was lost and the call repeated, or another client was first."""

from __future__ import annotations

import re
from typing import Any

from skylift.client.errors import Refused
from skylift.client.remote.api import Api


def make_unless_there(api: Api, there: str, service: str, operation: str, **params: Any) -> Any | None:
    """Make what needs other things that were made a moment ago. None when it is refused as it is there: `there` is a
    pattern of codes."""
    try:
        return api.retry_not_found(service, operation, **params)
    except Refused as error:
        if re.fullmatch(there, error.code) is None:
            raise
        return None


def end_unless_gone(api: Api, gone: str, service: str, operation: str, **params: Any) -> bool:
    """Whether there was anything to end. `gone` is a pattern of codes."""
    try:
        api.retry_concurrent(service, operation, **params)
    except Refused as error:
        if re.fullmatch(gone, error.code) is None:
            raise
        return False
    return True
