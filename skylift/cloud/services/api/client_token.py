"""Client tokens: the same request again, with the same token, makes nothing new.

https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import ClientToken
from skylift.cloud.services.api.refusal import invalid_value
from skylift.cloud.store.database import Tx

MAX_LENGTH = 64
_UNDER_WAY: set[str] = set()


class Repeatable(TypedDict):
    """The members of a request that may come twice and is carried out once."""

    ClientToken: NotRequired[str]


def result_of(tx: Tx, operation: str, params: Repeatable) -> str | None:
    """The id that this very request made before; None when its token is new, or it has none. A request is carried out
    once, so that one whose resource is gone by now makes none again: it is answered that the resource is not there.

    Raises IdempotentParameterMismatch where the token was used for a different request, and PriorRequestNotComplete,
    after which SDKs try again, as long as that one has not all of its result.
    """
    token = params.get("ClientToken")
    if not token:
        return None
    if len(token) > MAX_LENGTH or not token.isascii():
        raise invalid_value(token, "clientToken", f"It has to be at most {MAX_LENGTH} ASCII characters.")
    known = tx.get(ClientToken, operation=operation, token=token)
    if known is None:
        return None
    if known.digest != digest_of(params):
        raise ServiceError(
            "IdempotentParameterMismatch",
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        )
    if known.result in _UNDER_WAY:
        raise ServiceError("PriorRequestNotComplete", "The same request is still being carried out.", status=503)
    return known.result


@contextmanager
def under_way(result: str) -> Iterator[None]:
    """While a request that has this result goes on over several transactions. What ends with the cloud is over."""
    _UNDER_WAY.add(result)
    try:
        yield
    finally:
        _UNDER_WAY.discard(result)


def echoed(params: Repeatable) -> Repeatable:
    """The token once more, as an answer has it."""
    return {"ClientToken": params["ClientToken"]} if params.get("ClientToken") else {}


def remember(tx: Tx, operation: str, params: Repeatable, result: str) -> None:
    if params.get("ClientToken"):
        tx.add(ClientToken(operation, params["ClientToken"], digest_of(params), result))


def digest_of(params: Mapping[str, object]) -> str:
    """The digest of all members of a request."""
    asked = {name: value for name, value in params.items() if name not in ("ClientToken", "DryRun")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
