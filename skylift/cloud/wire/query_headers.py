"""The headers that a presigned address carries in its query string, as `x-amz-acl=private`."""

from __future__ import annotations

from dataclasses import replace

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import checksum
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.rest_route import decoded_query

SIGNATURE_HEADERS = frozenset(
    "x-amz-algorithm x-amz-credential x-amz-date x-amz-expires x-amz-signedheaders x-amz-signature "
    "x-amz-security-token x-amz-content-sha256".split()
)
CONDITIONS = frozenset(("if-match", "if-none-match"))


def with_query_headers(request: Request) -> Request:
    """The request with these headers. If an `x-amz-` header is sent as well, the sent one counts: that one is signed.

    A condition may be there, too: `test_pre_signed_url_if_none_match`, validated on AWS in LocalStack's test_s3.py. Its
    header need not be signed, so it must not differ: otherwise the URL's holder could get round the condition.

    S3 ignores a checksum there: SDKs for JavaScript put the empty body's checksum into each URL that they sign.
    https://github.com/localstack/localstack/issues/12169, https://github.com/aws/aws-sdk/issues/480
    """
    sent = request.headers_by_name
    found: list[tuple[str, str]] = []
    for name, value in ((name.lower(), value) for name, value in decoded_query(request)):
        if not is_header_parameter(name):
            continue
        if name not in sent:
            found.append((name, value))
        elif name in CONDITIONS and sent[name] != (value,):
            raise ServiceError(
                "InvalidArgument",
                f"The header {name} is not what the query string says.",
                ArgumentName=name,
                ArgumentValue=request.header(name),
            )
    return replace(request, headers=(*request.headers, *found)) if found else request


def is_header_parameter(name: str) -> bool:
    """Whether a header, by its small letters, counts where it is in the query string only."""
    if name in CONDITIONS:
        return True
    return name.startswith("x-amz-") and name not in SIGNATURE_HEADERS and not _of_body(name)


def _of_body(name: str) -> bool:
    """Whether a header says what the body hashes to."""
    return name == "x-amz-sdk-checksum-algorithm" or checksum.algorithm_in(name) is not None
