"""A request that comes as JSON in the model's own names, whatever protocol its service speaks: a schedule's `Input`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import limits
from skylift.cloud.wire.decode_json import JSON_SCALARS, DocumentDecoder
from skylift.cloud.wire.models import load
from skylift.cloud.wire.unreadable import Unreadable

INVALID = "ValidationException"


def named_request(service: str, name: str, sent: Mapping[str, object]) -> dict[str, Any]:
    """The parameters of an operation, validated against the model. Raises ServiceError."""
    shape = load(service).operation(name).input
    if shape is None:
        if sent:
            raise ServiceError(INVALID, f"{name} takes no parameters.")
        return {}
    try:
        params: dict[str, Any] = _decoder(service).structure(shape)(dict(sent))
        limits.require_fit(params)
    except Unreadable as problem:
        raise ServiceError(INVALID, f"{problem.path}: {problem.message}") from None
    limits.require_valid(params, shape, INVALID)
    return params


@cache
def _decoder(service: str) -> DocumentDecoder:
    """A service's own: shapes of two may have one name."""
    return DocumentDecoder(JSON_SCALARS, by_member=True)
