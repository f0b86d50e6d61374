"""Cross-origin resource sharing: the rules of a bucket, and what they allow a browser.

Source: the S3 user guide's "Using cross-origin resource sharing (CORS)" and "CORS configuration". The sentences are
those that tests/cloud/clients/test_cors.py names the recordings of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import Bucket, CorsRule
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.s3.error import invalid_request, malformed_xml
from skylift.cloud.services.s3.operation import check_bucket, on_bucket, sets
from skylift.cloud.services.s3.rules import bucket_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

MOST_RULES = 100
METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
"""The name of a header (RFC 9110, 5.6.2), or nothing. Exposed ones are written into answers as they are."""


def put(tx: Tx, caller: Caller, params: s3.PutBucketCorsRequest) -> Nothing:
    bucket = bucket_of(tx, caller, params)
    listed = params["CORSConfiguration"]["CORSRules"]
    if not listed:
        raise malformed_xml()
    if len(listed) > MOST_RULES:
        raise invalid_request(f"The number of CORS rules should not exceed allowed limit of {MOST_RULES} rules.")
    tx.save(replace(bucket, cors=tuple(_checked(rule) for rule in listed)))
    return {}


def get(tx: Tx, caller: Caller, params: s3.GetBucketCorsRequest) -> s3.GetBucketCorsOutput:
    bucket = bucket_of(tx, caller, params)
    if not bucket.cors:
        raise ServiceError(
            "NoSuchCORSConfiguration", "The CORS configuration does not exist", status=404, BucketName=bucket.name
        )
    return {"CORSRules": [_described(rule) for rule in bucket.cors]}


def delete(tx: Tx, caller: Caller, params: s3.DeleteBucketCorsRequest) -> Nothing:
    tx.save(replace(bucket_of(tx, caller, params), cors=()))
    return {}


def allowed(tx: Tx, bucket: str, origin: str, method: str, headers: Sequence[str]) -> dict[str, str] | None:
    """The headers that let a page of `origin` send, and read the answer to, such a request; None if nothing does.

    `headers` are the request headers that a preflight asks about. The first rule that fits decides. Raises
    AccessForbidden where there are no rules. No permission is checked here: S3 tells anybody whether a bucket exists.
    """
    found = tx.get(Bucket, name=bucket)
    if found is None:
        raise _closed("Bucket not found", method)
    if not found.cors:
        raise _closed("CORS is not enabled for this bucket.", method)
    for rule in found.cors:
        if _matches(rule, origin, method, headers):
            return _answer(rule, origin, headers)
    return None


def _closed(why: str, method: str) -> ServiceError:
    return ServiceError("AccessForbidden", f"CORSResponse: {why}", status=403, Method=method, ResourceType="BUCKET")


def _matches(rule: CorsRule, origin: str, method: str, headers: Sequence[str]) -> bool:
    return (
        method in rule.methods
        and any(_matches_pattern(pattern, origin) for pattern in rule.origins)
        and all(any(_matches_pattern(pattern.lower(), name.lower()) for pattern in rule.headers) for name in headers)
    )


def _answer(rule: CorsRule, origin: str, headers: Sequence[str]) -> dict[str, str]:
    anybody = "*" in rule.origins
    answer = {
        "Access-Control-Allow-Origin": "*" if anybody else origin,
        "Access-Control-Allow-Methods": ", ".join(rule.methods),
        "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }
    if not anybody:
        answer["Access-Control-Allow-Credentials"] = "true"
    if headers:
        answer["Access-Control-Allow-Headers"] = ", ".join(name.lower() for name in headers)
    if rule.exposed:
        answer["Access-Control-Expose-Headers"] = ", ".join(rule.exposed)
    if rule.max_age is not None:
        answer["Access-Control-Max-Age"] = str(rule.max_age)
    return answer


def _matches_pattern(pattern: str, text: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


def _checked(rule: s3.CORSRule) -> CorsRule:
    methods, origins = rule.get("AllowedMethods", []), rule.get("AllowedOrigins", [])
    headers, exposed = rule.get("AllowedHeaders", []), rule.get("ExposeHeaders", [])
    if not methods or not origins:
        raise malformed_xml()
    for method in methods:
        if method not in METHODS:
            raise invalid_request(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
    for name, values in (("AllowedOrigin", origins), ("AllowedHeader", headers)):
        for value in values:
            if value.count("*") > 1:
                raise invalid_request(f'{name} "{value}" can not have more than one wildcard.')
    for value in exposed:
        if "*" in value:
            raise invalid_request(
                f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )
    for value in (*headers, *exposed):
        if not HEADER.fullmatch(value):
            # S3 says AllowedHeader of either.
            raise invalid_request(f'AllowedHeader "{value}" contains invalid character.')
    if len(rule.get("ID", "")) > 255:
        raise invalid_request("The ID of a CORS rule has at most 255 characters.")
    return CorsRule(
        methods=tuple(methods),
        origins=tuple(origins),
        headers=tuple(headers),
        exposed=tuple(exposed),
        max_age=rule.get("MaxAgeSeconds"),
        id=rule.get("ID"),
    )


def _described(rule: CorsRule) -> s3.CORSRule:
    answer: s3.CORSRule = {"AllowedMethods": list(rule.methods), "AllowedOrigins": list(rule.origins)}
    if rule.id is not None:
        answer["ID"] = rule.id
    if rule.headers:
        answer["AllowedHeaders"] = list(rule.headers)
    if rule.exposed:
        answer["ExposeHeaders"] = list(rule.exposed)
    if rule.max_age is not None:
        answer["MaxAgeSeconds"] = rule.max_age
    return answer


OPERATIONS = (
    sets("PutBucketCors", put, "CORSConfiguration", "PutBucketCORS"),
    on_bucket("GetBucketCors", get, check_bucket("GetBucketCORS")),
    sets("DeleteBucketCors", delete, "", "PutBucketCORS"),
)
