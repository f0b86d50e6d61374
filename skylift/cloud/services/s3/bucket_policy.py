"""Bucket policies: what a bucket itself says about who may use it. `authorize` asks them with every request to S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import BucketPolicy
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.policy_document import PolicyDocument, Principals, Statement, parse_policy
from skylift.cloud.services.api.public_policy import is_public, spelled
from skylift.cloud.services.api.trust import check_principals
from skylift.cloud.services.s3.operation import check_bucket, on_bucket
from skylift.cloud.services.s3.rules import bucket_arn, bucket_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

MAX_SIZE = 20 * 1024


def put(tx: Tx, caller: Caller, params: s3.PutBucketPolicyRequest) -> Nothing:
    bucket = bucket_of(tx, caller, params)
    document = checked_document(tx, caller, bucket.name, params["Policy"])
    if bucket.public_access is not None and bucket.public_access.block_policy and is_public(document):
        raise ServiceError(
            "AccessDenied",
            f"User: {caller.arn} is not authorized to perform: s3:PutBucketPolicy on resource: "
            f'"{bucket_arn(bucket.name)}" because public policies are prevented by the BlockPublicPolicy setting in S3 '
            "Block Public Access.",
            status=403,
        )
    existing = tx.get(BucketPolicy, bucket=bucket.name)
    policy = BucketPolicy(bucket.name, params["Policy"])
    if existing is None:
        tx.add(policy)
    else:
        tx.save(policy)
    return {}


def get(tx: Tx, caller: Caller, params: s3.GetBucketPolicyRequest) -> s3.GetBucketPolicyOutput:
    return {"Policy": _existing(tx, caller, params).document}


def status(tx: Tx, caller: Caller, params: s3.GetBucketPolicyStatusRequest) -> s3.GetBucketPolicyStatusOutput:
    document = parse_policy(_existing(tx, caller, params).document, "resource")
    return {"PolicyStatus": {"IsPublic": is_public(document)}}


def delete(tx: Tx, caller: Caller, params: s3.DeleteBucketPolicyRequest) -> Nothing:
    """Delete the policy. Succeeds without one."""
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


def _existing(
    tx: Tx, caller: Caller, params: s3.GetBucketPolicyRequest | s3.GetBucketPolicyStatusRequest
) -> BucketPolicy:
    bucket = bucket_of(tx, caller, params)
    policy = tx.get(BucketPolicy, bucket=bucket.name)
    if policy is None:
        raise ServiceError("NoSuchBucketPolicy", "The bucket policy does not exist", status=404, BucketName=bucket.name)
    return policy


def _check_statement(statement: Statement, bucket: str) -> None:
    for principals in (statement.principals, statement.not_principals):
        _check_kinds(principals)
    for action in (*(statement.actions or ()), *(statement.not_actions or ())):
        if spelled(action) != "*" and not spelled(action).startswith("s3:"):
            raise _malformed(f"Policy has invalid action: {spelled(action)}")
    own = bucket_arn(bucket)
    for resource in (*(statement.resources or ()), *(statement.not_resources or ())):
        if (
            spelled(resource) != own
            and not spelled(resource).startswith((f"{own}/", f"{own}*"))
            and spelled(resource) != "*"
        ):
            raise _malformed(f"Policy has invalid resource: {spelled(resource)} is not in the bucket {bucket}")


def _check_kinds(principals: Principals | None) -> None:
    others = (*principals.federated, *principals.canonical) if principals is not None else ()
    if others:
        raise _malformed(
            f"Invalid principal in policy: {others[0]}. This cloud has no federated and canonical users; "
            "name users and roles by their ARNs."
        )


def _malformed(message: str) -> ServiceError:
    return ServiceError("MalformedPolicy", message, status=400)


OPERATIONS = (
    on_bucket(
        "PutBucketPolicy", put, check_bucket("PutBucketPolicy"), "Policy ContentMD5 ChecksumAlgorithm", writes=True
    ),
    on_bucket("GetBucketPolicy", get, check_bucket("GetBucketPolicy")),
    on_bucket("GetBucketPolicyStatus", status, check_bucket("GetBucketPolicyStatus")),
    on_bucket("DeleteBucketPolicy", delete, check_bucket("DeleteBucketPolicy"), writes=True),
)
