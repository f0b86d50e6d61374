"""Bucket policies: what a bucket itself says about who may use it. `authorize` asks them with every request to S3."""

from __future__ import annotations

import re
from typing import Any

from skylift.cloud.bucket import BucketPolicy
from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.services.condition import Condition
from skylift.cloud.services.pattern import Pattern
from skylift.cloud.services.policy_document import PolicyDocument, Principals, Statement, parse_policy
from skylift.cloud.services.s3_rules import bucket_arn, bucket_of
from skylift.cloud.services.trust import check_principals
from skylift.cloud.store.database import Tx

MAX_SIZE = 20 * 1024

_FIXED_KEYS = (
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:principalarn",
    "aws:principalaccount",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
)
_EQUALS = ("StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike")


def put(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    bucket = bucket_of(tx, caller, params)
    checked_document(tx, caller, bucket.name, params["Policy"])
    existing = tx.get(BucketPolicy, bucket=bucket.name)
    policy = BucketPolicy(bucket.name, params["Policy"])
    if existing is None:
        tx.add(policy)
    else:
        tx.save(policy)
    return {}


def get(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    return {"Policy": _existing(tx, caller, params).document}


def status(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    document = parse_policy(_existing(tx, caller, params).document, "resource")
    return {"PolicyStatus": {"IsPublic": is_public(document)}}


def delete(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Deleting what is not there is no error."""
    bucket = bucket_of(tx, caller, params)
    policy = tx.get(BucketPolicy, bucket=bucket.name)
    if policy is not None:
        tx.remove(policy)
    return {}


def checked_document(tx: Tx, caller: Caller, bucket: str, text: str) -> PolicyDocument:
    """A document that may stand on this bucket. Raises MalformedPolicy (400), or PolicyTooLarge."""
    if len(text.encode()) > MAX_SIZE:
        raise _malformed(f"Policy exceeds the maximum size of {MAX_SIZE} bytes.")
    if not text.startswith("{"):
        raise _malformed("Policies must be valid JSON and the first byte must be '{'")
    try:
        document = parse_policy(text, "resource")
        for statement in document.statements:
            for principals in (statement.principals, statement.not_principals):
                check_principals(tx, caller, principals)
    except ServiceError as error:
        raise _malformed(error.message) from error
    for statement in document.statements:
        _check_statement(statement, bucket)
    return document


def is_public(document: PolicyDocument) -> bool:
    """Whether a policy lets in everybody, by the S3 user guide's "The meaning of public".

    A statement for everybody is not public where a condition ties it to fixed values of who or where the caller is.
    """
    return any(
        statement.allows
        and (statement.principals is None or "*" in statement.principals.aws)
        and not any(_ties_down(condition) for condition in statement.conditions)
        for statement in document.statements
    )


def _existing(tx: Tx, caller: Caller, params: Any) -> BucketPolicy:
    bucket = bucket_of(tx, caller, params)
    policy = tx.get(BucketPolicy, bucket=bucket.name)
    if policy is None:
        raise ServiceError("NoSuchBucketPolicy", "The bucket policy does not exist", status=404, BucketName=bucket.name)
    return policy


def _check_statement(statement: Statement, bucket: str) -> None:
    for principals in (statement.principals, statement.not_principals):
        _check_kinds(principals)
    for action in (*(statement.actions or ()), *(statement.not_actions or ())):
        if _text(action) != "*" and not _text(action).startswith("s3:"):
            raise _malformed(f"Policy has invalid action: {_text(action)}")
    own = bucket_arn(bucket)
    for resource in (*(statement.resources or ()), *(statement.not_resources or ())):
        if _text(resource) != own and not _text(resource).startswith((f"{own}/", f"{own}*")) and _text(resource) != "*":
            raise _malformed(f"Policy has invalid resource: {_text(resource)} is not in the bucket {bucket}")


def _check_kinds(principals: Principals | None) -> None:
    if principals is not None and principals.others:
        raise _malformed(
            f"Invalid principal in policy: {principals.others[0]}. This cloud has no federated and canonical users; "
            "name users and roles by their ARNs."
        )


def _ties_down(condition: Condition) -> bool:
    if condition.if_exists or condition.quantifier == "ForAllValues":
        return False
    if condition.key == "aws:sourceip" and condition.operator == "IpAddress":
        return not any(_widest(_text(value)) for value in condition.values)
    fixed = all(not re.search(r"[*?]|\$\{", _text(value)) for value in condition.values)
    return condition.key in _FIXED_KEYS and condition.operator in _EQUALS and fixed


def _widest(block: str) -> bool:
    """AWS calls address ranges wider than /8 (IPv4) or /32 (IPv6) public."""
    address, slash, length = block.partition("/")
    if not slash:
        return False
    return not length.isdigit() or int(length) < (32 if ":" in address else 8)


def _text(pattern: Pattern) -> str:
    """A pattern as its policy spells it."""
    return "".join(piece if isinstance(piece, str) else f"${{{piece.key}}}" for piece in pattern.pieces)


def _malformed(message: str) -> ServiceError:
    return ServiceError("MalformedPolicy", message, status=400)
