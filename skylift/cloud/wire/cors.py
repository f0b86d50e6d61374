"""Browsers at the endpoint: the question they ask before a request, and the headers that let a page read an answer, or
keep an object from being a page of the endpoint's own.

The rules are a bucket's and are asked for by a callable; here is only how HTTP carries question and answer (the Fetch
standard's CORS protocol, and S3's user guide for the refusals).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.rest_route import RestSubject

Allowed = Callable[[str, str, str, Sequence[str]], dict[str, str] | None]
"""(bucket, origin, method, request headers) -> the answer's headers; None if no rule of the bucket allows it.

It blocks. Raises ServiceError if there is no such bucket, or if it has no rules.
"""
METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the name of a header is made of (RFC 9110, 5.6.2)."""


_SHOWN = re.compile(
    r"(?:(?:audio|video)/[\w.-]+|image/(?!svg)[\w.-]+|text/(?:plain|csv)|application/(?:json|pdf))"
    r'(?:; ?[\w-]+=(?:[\w.-]+|"[\w.-]+"))*',
    re.ASCII | re.IGNORECASE,
)
"""Content types that browsers do not run as a page. Types with a `+` are missing: they may be XML, which may be a page.
In a header with a comma, browsers use the last type."""
_INERT = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_WITHOUT_ORIGIN = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads"


def nobody(bucket: str, origin: str, method: str, headers: Sequence[str]) -> dict[str, str] | None:
    """Allows nothing: for an endpoint without buckets."""
    return None


def preflight(request: Request, place: RestSubject, allowed: Allowed) -> Response:
    """The answer to OPTIONS. It needs no signature: a browser sends none."""
    origin, method = request.header("origin"), request.header("access-control-request-method")
    if not origin:
        raise ServiceError("BadRequest", "Insufficient information. Origin request header needed.", status=400)
    headers = allowed(place.bucket, origin, method or request.method, _names(request))
    if headers is not None:
        return Response(200, headers)
    if method not in METHODS:
        raise ServiceError("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}", status=400)
    raise ServiceError(
        "AccessForbidden",
        # AWS's own words, with its misspelling.
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request "
        "method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the "
        "resource's CORS spec.",
        status=403,
        Method=method,
        ResourceType="OBJECT" if place.key else "BUCKET",
    )


def shared(request: Request, bucket: str, allowed: Allowed) -> dict[str, str]:
    """The CORS headers of an answer to a page of another origin. Empty if the bucket does not allow that page."""
    # S3 judges any request by what it would ask in a preflight, if it has a preflight's headers.
    method = request.header("access-control-request-method") or request.method
    try:
        return allowed(bucket, request.header("origin"), method, _names(request)) or {}
    except ServiceError:
        # No rules: the answer itself is the same, and the browser keeps it from the page.
        return {}


def contained(response: Response, *, public: bool) -> Response:
    """Adds headers to an object that a browser may run as a page, so that the page does not get the endpoint's origin:
    it shares nothing with other answers. From a presigned address it also runs no script, and is saved rather than
    shown, unless the object or the address says otherwise. A public object may be a web site."""
    if _SHOWN.fullmatch(response.headers.get("Content-Type", "")):
        return response
    policy = {"Content-Security-Policy": _WITHOUT_ORIGIN if public else _INERT}
    saved = {} if public else {"Content-Disposition": "attachment"}
    return replace(response, headers={**saved, **response.headers, **policy})


def _names(request: Request) -> list[str]:
    """The headers that a page wants to send."""
    asked = request.header("access-control-request-headers")
    names = [name.strip() for name in asked.split(",")] if asked.strip() else []
    for name in names:
        if not TOKEN.fullmatch(name):
            raise ServiceError(
                "BadRequest", f'Access-Control-Request-Headers "{name}" contains invalid character.', status=400
            )
    return names
