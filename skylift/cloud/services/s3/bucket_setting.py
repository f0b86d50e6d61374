"""A bucket's settings: versioning, ownership, public access, encryption; and its owner.

This cloud has one account, so every object is the account's, no matter who writes it. The three kinds of object
ownership differ only in whether there may be ACLs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import ENFORCED, ObjectVersion, PublicAccess
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.s3 import object as objects
from skylift.cloud.services.s3.acl import acl_of, acls_disabled, shown
from skylift.cloud.services.s3.error import malformed_xml, not_implemented
from skylift.cloud.services.s3.object_version import find, find_unmarked
from skylift.cloud.services.s3.operation import GRANTS, PAYER, check_bucket, on_bucket, on_object, sets
from skylift.cloud.services.s3.rules import bucket_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

OWNERSHIPS = (ENFORCED, "BucketOwnerPreferred", "ObjectWriter")


def put_versioning(tx: Tx, caller: Caller, params: s3.PutBucketVersioningRequest) -> Nothing:
    bucket = bucket_of(tx, caller, params)
    status = params["VersioningConfiguration"].get("Status")
    if status is None:
        raise ServiceError(
            "IllegalVersioningConfigurationException", "The Versioning element must be specified", status=400
        )
    if status not in ("Enabled", "Suspended"):
        raise malformed_xml()
    tx.save(replace(bucket, versioning=status))
    return {}


def get_versioning(tx: Tx, caller: Caller, params: s3.GetBucketVersioningRequest) -> s3.GetBucketVersioningOutput:
    """Without a status where versioning was never configured."""
    bucket = bucket_of(tx, caller, params)
    return {} if bucket.versioning is None else {"Status": bucket.versioning}


def put_ownership(tx: Tx, caller: Caller, params: s3.PutBucketOwnershipControlsRequest) -> Nothing:
    bucket = bucket_of(tx, caller, params)
    rules = params["OwnershipControls"]["Rules"]
    if len(rules) != 1:
        raise malformed_xml()
    ownership = rules[0]["ObjectOwnership"]
    if ownership not in OWNERSHIPS:
        raise malformed_xml()
    if ownership == ENFORCED and bucket.acl is not None:
        raise acls_disabled()
    tx.save(replace(bucket, ownership=ownership))
    return {}


def get_ownership(
    tx: Tx, caller: Caller, params: s3.GetBucketOwnershipControlsRequest
) -> s3.GetBucketOwnershipControlsOutput:
    bucket = bucket_of(tx, caller, params)
    if bucket.ownership is None:
        raise ServiceError(
            "OwnershipControlsNotFoundError",
            "The bucket ownership controls were not found",
            status=404,
            BucketName=bucket.name,
        )
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": bucket.ownership}]}}


def delete_ownership(tx: Tx, caller: Caller, params: s3.DeleteBucketOwnershipControlsRequest) -> Nothing:
    tx.save(replace(bucket_of(tx, caller, params), ownership=None))
    return {}


def checked_ownership(ownership: str) -> str:
    if ownership not in OWNERSHIPS:
        raise ServiceError(
            "InvalidArgument",
            f"Invalid x-amz-object-ownership header: {ownership}",
            status=400,
            ArgumentName="x-amz-object-ownership",
        )
    return ownership


def put_public_access(tx: Tx, caller: Caller, params: s3.PutPublicAccessBlockRequest) -> Nothing:
    """A setting that is not named is false."""
    bucket = bucket_of(tx, caller, params)
    asked = params["PublicAccessBlockConfiguration"]
    blocked = PublicAccess(
        block_acls=asked.get("BlockPublicAcls", False),
        ignore_acls=asked.get("IgnorePublicAcls", False),
        block_policy=asked.get("BlockPublicPolicy", False),
        restrict_buckets=asked.get("RestrictPublicBuckets", False),
    )
    tx.save(replace(bucket, public_access=blocked))
    return {}


def get_public_access(tx: Tx, caller: Caller, params: s3.GetPublicAccessBlockRequest) -> s3.GetPublicAccessBlockOutput:
    bucket = bucket_of(tx, caller, params)
    if bucket.public_access is None:
        raise ServiceError(
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
            status=404,
            BucketName=bucket.name,
        )
    blocked = bucket.public_access
    return {
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": blocked.block_acls,
            "IgnorePublicAcls": blocked.ignore_acls,
            "BlockPublicPolicy": blocked.block_policy,
            "RestrictPublicBuckets": blocked.restrict_buckets,
        }
    }


def delete_public_access(tx: Tx, caller: Caller, params: s3.DeletePublicAccessBlockRequest) -> Nothing:
    tx.save(replace(bucket_of(tx, caller, params), public_access=None))
    return {}


def put_encryption(tx: Tx, caller: Caller, params: s3.PutBucketEncryptionRequest) -> Nothing:
    """AES256, which every bucket has, is the only encryption here."""
    bucket = bucket_of(tx, caller, params)
    rules = params["ServerSideEncryptionConfiguration"]["Rules"]
    if len(rules) != 1:
        raise malformed_xml()
    default = rules[0].get("ApplyServerSideEncryptionByDefault", {"SSEAlgorithm": "AES256"})
    if default["SSEAlgorithm"] != "AES256":
        raise not_implemented("SSEAlgorithm", default["SSEAlgorithm"])
    tx.save(replace(bucket, bucket_key=rules[0].get("BucketKeyEnabled", False), encryption_put=True))
    return {}


def get_encryption(tx: Tx, caller: Caller, params: s3.GetBucketEncryptionRequest) -> s3.GetBucketEncryptionOutput:
    bucket = bucket_of(tx, caller, params)
    rule: s3.ServerSideEncryptionRule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
        "BucketKeyEnabled": bucket.bucket_key,
    }
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


def delete_encryption(tx: Tx, caller: Caller, params: s3.DeleteBucketEncryptionRequest) -> Nothing:
    """Back to what a new bucket has."""
    tx.save(replace(bucket_of(tx, caller, params), bucket_key=False, encryption_put=False))
    return {}


def get_acl(tx: Tx, caller: Caller, params: s3.GetBucketAclRequest) -> s3.GetBucketAclOutput:
    bucket = bucket_of(tx, caller, params)
    return {**shown(bucket, bucket.acl)}


def get_object_acl(tx: Tx, caller: Caller, params: s3.GetObjectAclRequest) -> s3.GetObjectAclOutput:
    bucket = bucket_of(tx, caller, params)
    return {**shown(bucket, find(tx, ObjectVersion, bucket, params).acl)}


def put_acl(tx: Tx, caller: Caller, params: s3.PutBucketAclRequest) -> Nothing:
    bucket = bucket_of(tx, caller, params)
    tx.save(replace(bucket, acl=acl_of(caller, bucket, params, new=False)))
    return {}


def put_object_acl(tx: Tx, caller: Caller, params: s3.PutObjectAclRequest) -> s3.PutObjectAclOutput:
    bucket = bucket_of(tx, caller, params)
    found = find_unmarked(tx, bucket, params)
    tx.save(replace(found, acl=acl_of(caller, bucket, params, new=False)))
    return {}


OPERATIONS = (
    on_object("GetObjectAcl", get_object_acl, objects.check_acl("Get"), f"VersionId {PAYER}"),
    on_object(
        "PutObjectAcl",
        put_object_acl,
        objects.check_acl("Put"),
        f"VersionId ACL AccessControlPolicy {GRANTS} GrantWrite ContentMD5 ChecksumAlgorithm {PAYER}",
        writes=True,
    ),
    sets("PutBucketVersioning", put_versioning, "VersioningConfiguration.Status"),
    on_bucket("GetBucketVersioning", get_versioning, check_bucket("GetBucketVersioning")),
    sets("PutBucketOwnershipControls", put_ownership, "OwnershipControls"),
    on_bucket("GetBucketOwnershipControls", get_ownership, check_bucket("GetBucketOwnershipControls")),
    sets("DeleteBucketOwnershipControls", delete_ownership, "", "PutBucketOwnershipControls"),
    sets("PutPublicAccessBlock", put_public_access, "PublicAccessBlockConfiguration", "PutBucketPublicAccessBlock"),
    on_bucket("GetPublicAccessBlock", get_public_access, check_bucket("GetBucketPublicAccessBlock")),
    sets("DeletePublicAccessBlock", delete_public_access, "", "PutBucketPublicAccessBlock"),
    sets(
        "PutBucketEncryption",
        put_encryption,
        "ServerSideEncryptionConfiguration.Rules.ApplyServerSideEncryptionByDefault.SSEAlgorithm "
        "ServerSideEncryptionConfiguration.Rules.BucketKeyEnabled",
        "PutEncryptionConfiguration",
    ),
    on_bucket("GetBucketEncryption", get_encryption, check_bucket("GetEncryptionConfiguration")),
    sets("DeleteBucketEncryption", delete_encryption, "", "PutEncryptionConfiguration"),
    sets("PutBucketAcl", put_acl, f"ACL AccessControlPolicy {GRANTS} GrantWrite"),
    on_bucket("GetBucketAcl", get_acl, check_bucket("GetBucketAcl")),
)
