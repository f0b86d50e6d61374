"""The header of a copy that names its source: `/bucket/percent%20encoded?versionId=ID`.

What is read here is what policies see, so that no way to write a source escapes them.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

_ENDPOINT = re.compile("https?://([^/]*)/")
_VERSION = "?versionId="


def read_source(header: str) -> tuple[str, str | None]:
    """Bucket and key, as `bucket/key`, and the version if one is named.

    A plus is a space, as clients in Go write it, and the source may be a whole address:
    `test_copy_object_special_character_plus_for_space` and `test_response_structure`, validated on AWS in LocalStack's
    test_s3.py.
    """
    path, question, version = header.partition(_VERSION)
    path = _ENDPOINT.sub("", path, count=1) if _ENDPOINT.match(path) else path
    return unquote_plus(path).removeprefix("/"), version if question else None


def names_bucket_in_host(header: str) -> bool:
    """Whether it is an address like `https://bucket.s3.amazonaws.com/key`, whose path has the key alone. What AWS does
    with such a source is not known; read as the others are, it would be an object of another bucket."""
    endpoint = _ENDPOINT.match(header)
    if endpoint is None:
        return False
    host = endpoint[1].partition(":")[0].lower().removesuffix(".")
    if host.endswith(".amazonaws.com"):
        return any(each == "s3" or each.startswith("s3-") for each in host.split(".")[1:])
    return host.endswith(".localhost")


def spelled_source(header: str) -> str:
    """As policies write it: without a slash before the bucket, and not percent-encoded."""
    path, version = read_source(header)
    return path if version is None else f"{path}{_VERSION}{version}"
