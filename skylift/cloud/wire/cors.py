"""Browsers at the endpoint: the question they ask before a request, and the headers that let a page read an answer.

The rules are a bucket's and are asked for by a callable; here is only how HTTP carries question and answer (the Fetch
standard's CORS protocol, and S3's user guide for the refusals).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response

Allowed = Callable[[str, str, str, Sequence[str]], dict[str, str] | None]
"""(bucket, origin, method, request headers) -> the answer's headers; None if no rule of the bucket allows it.

It blocks. Raises ServiceError if the bucket has no rules.
"""


def nobody(bucket: str, origin: str, method: str, headers: Sequence[str]) -> dict[str, str] | None:
    """Allow nothing, where there are no buckets."""
    return None


def preflight(request: Request, bucket: str, allowed: Allowed) -> Response:
    """The answer to OPTIONS. It needs no signature: a browser sends none."""
    origin, method = request.header("origin"), request.header("access-control-request-method")
    if not origin:
        raise ServiceError("BadRequest", "Insufficient information. Origin request header needed.", status=400)
    if method not in ("GET", "PUT", "HEAD", "POST", "DELETE"):
        raise ServiceError("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}", status=400)
    names = [name.strip() for name in request.header("access-control-request-headers").split(",") if name.strip()]
    headers = allowed(bucket, origin, method, names)
    if headers is None:
        raise ServiceError(
            "AccessForbidden",
            "CORSResponse: This CORS request is not allowed. No rule of the bucket covers its Origin, "
            "Access-Control-Request-Method and Access-Control-Request-Headers.",
            status=403,
            Method=method,
        )
    return Response(200, headers)


def shared(request: Request, bucket: str, allowed: Allowed) -> dict[str, str]:
    """What an answer to a page of another origin carries besides; nothing where the bucket does not allow the page."""
    try:
        return allowed(bucket, request.header("origin"), request.method, ()) or {}
    except ServiceError:
        # No rules: the answer itself is the same, and the browser keeps it from the page.
        return {}
