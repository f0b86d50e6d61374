"""Buckets: their names, their place, their tags."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import ENFORCED, Bucket, Upload
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.acl_policy import is_public
from skylift.cloud.services.api.iam_rules import request_tags
from skylift.cloud.services.api.operation import Check, Handler, Nothing, Outdated, in_turns, unprepared
from skylift.cloud.services.api.page_token import read_token, write_token
from skylift.cloud.services.s3.acl import Acl, acl_of, acls_disabled, is_private
from skylift.cloud.services.s3.bucket_setting import checked_ownership
from skylift.cloud.services.s3.error import invalid_argument, invalid_token
from skylift.cloud.services.s3.operation import GRANTS, check_bucket, on_bucket, operation
from skylift.cloud.services.s3.rules import BUCKET_TAGS, RESOURCE_TAGS, bucket_arn, bucket_of, checked_tags, owner
from skylift.cloud.services.s3.upload import discard_upload
from skylift.cloud.store.bucket import buckets, has_objects, uploads_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

MOST_BUCKETS = 10_000
"""The quota of general purpose buckets, and the largest page of ListBuckets."""
MOST_AT_ONCE = 10_000
"""The most parts of uploads that DeleteBucket removes before other writers have their turn."""
OF_UPLOAD = 12
"""An upload takes as long as so many parts."""

FIRST_REGION = "us-east-1"
_REGIONS = frozenset(
    """
    af-south ap-east ap-northeast ap-south ap-southeast ca-central ca-west cn-north cn-northwest eu-central eu-isoe-west
    eu-north eu-south eu-west eusc-de-east il-central me-central me-south me-west mx-central sa-east sa-west us-east
    us-gov-east us-gov-west us-iso-east us-iso-west us-isob-east us-isob-west us-isof-east us-isof-south us-west
    """.split()
)
"""AWS's regions, without their numbers: botocore 1.44's partitions.json."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def create(tx: Tx, caller: Caller, params: s3.CreateBucketRequest) -> s3.CreateBucketOutput:
    name = checked_name(params["Bucket"])
    if params.get("ObjectLockEnabledForBucket"):
        # `false`, which rclone and Terraform send, is what every bucket is.
        raise ServiceError(
            "NotImplemented", "CreateBucket does not support: ObjectLockEnabledForBucket=true.", status=501
        )
    configuration = params.get("CreateBucketConfiguration", {})
    _check_location(caller.region, configuration.get("LocationConstraint"))
    ownership = checked_ownership(params.get("ObjectOwnership", ENFORCED))
    tags = checked_tags(configuration.get("Tags", []), RESOURCE_TAGS)
    made = Bucket(name, caller.region, tx.now, caller.account, tags=tags, ownership=ownership)
    acl = _acl_of_new(caller, made, params)
    answer: s3.CreateBucketOutput = {"Location": f"/{name}", "BucketArn": bucket_arn(name)}
    if tx.get(Bucket, name=name) is not None:
        # Only the first region answers its owner's repeated request as if it were new, and none with tags:
        # `test_create_bucket_with_tags_us_east_1_idempotency`, recorded on AWS in LocalStack's
        # test_s3_api.snapshot.json.
        if caller.region == FIRST_REGION and not tags:
            return answer
        raise ServiceError(
            "BucketAlreadyOwnedByYou",
            "Your previous request to create the named bucket succeeded and you already own it.",
            status=409,
            BucketName=name,
        )
    if len(buckets(tx, "", "", MOST_BUCKETS)) == MOST_BUCKETS:
        raise ServiceError("TooManyBuckets", "You have attempted to create more buckets than allowed", status=400)
    tx.add(replace(made, acl=acl))
    return answer


def _acl_of_new(caller: Caller, bucket: Bucket, params: s3.CreateBucketRequest) -> Acl:
    """A new bucket blocks public ACLs, so that none can come with it."""
    if is_private(params):
        return None
    if bucket.ownership == ENFORCED:
        raise acls_disabled()
    acl = acl_of(caller, replace(bucket, public_access=None), params, new=True)
    if is_public(acl):
        raise ServiceError(
            "InvalidBucketAclWithBlockPublicAccessError",
            "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
            status=400,
        )
    return acl


def list_all(tx: Tx, caller: Caller, params: s3.ListBucketsRequest) -> s3.ListBucketsOutput:
    limit = params.get("MaxBuckets", MOST_BUCKETS)
    if not 1 <= limit <= MOST_BUCKETS:
        raise invalid_argument(
            "max-buckets", limit, f"Argument max-buckets must be an integer between 1 and {MOST_BUCKETS}"
        )
    prefix, token = params.get("Prefix", ""), params.get("ContinuationToken")
    # An empty token is none here, and an error in ListObjectsV2: LocalStack's test_s3_list_operations.snapshot.json.
    after = read_token(token, invalid_token(token)) if token else ""
    region = params.get("BucketRegion") or caller.region
    in_region = region == caller.region
    if not in_region and not _is_region(region):
        # `test_list_buckets_region_validation`, recorded on AWS in LocalStack's test_s3_list_operations.snapshot.json.
        raise ServiceError(
            "InvalidArgument",
            f"Argument value {region} is not a valid AWS Region",
            status=400,
            ArgumentName="bucket-region",
        )
    found = buckets(tx, prefix, after, limit + 1) if in_region else []
    answer: s3.ListBucketsOutput = {
        # First: the SDK for Java gives it to the buckets that follow (`test_response_structure`, validated on AWS in
        # LocalStack's test_s3.py).
        "Owner": owner(caller.account),
        "Buckets": [
            {
                "Name": bucket.name,
                "CreationDate": bucket.created,
                "BucketRegion": bucket.region,
                "BucketArn": bucket_arn(bucket.name),
            }
            for bucket in found[:limit]
        ],
    }
    if "Prefix" in params:
        answer["Prefix"] = prefix
    if len(found) > limit:
        answer["ContinuationToken"] = write_token(found[limit - 1].name)
    return answer


def head(tx: Tx, caller: Caller, params: s3.HeadBucketRequest) -> s3.HeadBucketOutput:
    bucket = bucket_of(tx, caller, params)
    return {"BucketArn": bucket_arn(bucket.name), "BucketRegion": bucket.region, "AccessPointAlias": False}


def location(tx: Tx, caller: Caller, params: s3.GetBucketLocationRequest) -> s3.GetBucketLocationOutput:
    """The first region is spelled as no constraint at all."""
    bucket = bucket_of(tx, caller, params)
    return {} if bucket.region == FIRST_REGION else {"LocationConstraint": bucket.region}


def prepare_delete(tx: Tx, caller: Caller, params: s3.DeleteBucketRequest) -> list[Handler]:
    """The uploads in progress go with the bucket, and before it: there may be any number; see Operation.prepare."""
    bucket = _empty(tx, caller, params)
    weighed = [(upload_id, OF_UPLOAD + count) for upload_id, count in uploads_of(tx, bucket.name)]
    return [*(partial(_end_uploads, ids=ids) for ids in in_turns(weighed, MOST_AT_ONCE)), delete]


def _end_uploads(tx: Tx, caller: Caller, params: s3.DeleteBucketRequest, ids: Iterable[str]) -> Nothing:
    _empty(tx, caller, params)
    for upload_id in ids:
        upload = tx.get(Upload, id=upload_id)
        if upload is not None:
            discard_upload(tx, upload)
    return {}


def delete(tx: Tx, caller: Caller, params: s3.DeleteBucketRequest) -> Nothing:
    bucket = _empty(tx, caller, params)
    if uploads_of(tx, bucket.name):
        # They have come since.
        raise Outdated
    tx.remove(bucket)
    return {}


def _empty(tx: Tx, caller: Caller, params: s3.DeleteBucketRequest) -> Bucket:
    """Raises BucketNotEmpty for one with objects."""
    bucket = bucket_of(tx, caller, params)
    if has_objects(tx, bucket.name):
        raise ServiceError(
            "BucketNotEmpty",
            "The bucket you tried to delete is not empty"
            + (". You must delete all versions in the bucket." if bucket.versioning else ""),
            status=409,
            BucketName=bucket.name,
        )
    return bucket


def put_tags(tx: Tx, caller: Caller, params: s3.PutBucketTaggingRequest) -> Nothing:
    bucket = bucket_of(tx, caller, params)
    tx.save(replace(bucket, tags=checked_tags(params["Tagging"]["TagSet"], BUCKET_TAGS)))
    return {}


def get_tags(tx: Tx, caller: Caller, params: s3.GetBucketTaggingRequest) -> s3.GetBucketTaggingOutput:
    bucket = bucket_of(tx, caller, params)
    if not bucket.tags:
        raise ServiceError("NoSuchTagSet", "The TagSet does not exist", status=404, BucketName=bucket.name)
    return {"TagSet": [{"Key": key, "Value": value} for key, value in bucket.tags.items()]}


def delete_tags(tx: Tx, caller: Caller, params: s3.DeleteBucketTaggingRequest) -> Nothing:
    tx.save(replace(bucket_of(tx, caller, params), tags={}))
    return {}


def checked_name(name: str) -> str:
    """The name, checked by the user guide's "General purpose bucket naming rules"."""
    reserved = name.startswith(_RESERVED_STARTS) or name.endswith(_RESERVED_ENDS)
    if not _NAME.fullmatch(name) or ".." in name or reserved or _is_address(name):
        raise ServiceError("InvalidBucketName", "The specified bucket is not valid.", status=400, BucketName=name)
    return name


def check_create(_tx: Tx, _caller: Caller, params: s3.CreateBucketRequest) -> Iterable[Check]:
    """A setting of a new bucket takes the permission that the same setting takes later.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html ("Permissions"): no ACL and `private` take
    none, `ObjectOwnership` takes one whatever its value.
    """
    configuration = params.get("CreateBucketConfiguration", {})
    arn = bucket_arn(params["Bucket"])
    tags = request_tags(configuration)
    location = {"s3:locationconstraint": configuration.get("LocationConstraint", FIRST_REGION)}
    yield Check("s3:CreateBucket", arn, tags | location)
    if not is_private(params):
        yield Check("s3:PutBucketAcl", arn)
    if "ObjectOwnership" in params:
        yield Check("s3:PutBucketOwnershipControls", arn)
    if tags:
        yield Check("s3:TagResource", arn, tags)


def check_list(_tx: Tx, _caller: Caller, _params: s3.ListBucketsRequest) -> Iterable[Check]:
    return [Check("s3:ListAllMyBuckets", "*")]


def _check_location(region: str, constraint: str | None) -> None:
    """A cloud has one region, so that its endpoint is that region's; us-east-1 takes no constraint."""
    constraint = {"EU": "eu-west-1", "": None}.get(constraint or "", constraint)
    expected = None if region == FIRST_REGION else region
    if constraint == expected:
        return
    if region == FIRST_REGION:
        raise ServiceError(
            "InvalidLocationConstraint",
            f"The specified location-constraint is not valid: this cloud's region is {region}, which takes none",
            status=400,
            LocationConstraint=str(constraint),
        )
    raise ServiceError(
        "IllegalLocationConstraintException",
        f"The {constraint or 'unspecified'} location constraint is incompatible for the region specific endpoint "
        "this request was sent to.",
        status=400,
    )


def _is_region(name: str) -> bool:
    place, _, number = name.rpartition("-")
    return place in _REGIONS and number.isdecimal()


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


OPERATIONS = (
    operation(
        "CreateBucket",
        create,
        check_create,
        f"Bucket ACL {GRANTS} GrantWrite ObjectOwnership ObjectLockEnabledForBucket "
        "CreateBucketConfiguration.LocationConstraint CreateBucketConfiguration.Tags",
        writes=True,
    ),
    operation("ListBuckets", list_all, check_list, "MaxBuckets ContinuationToken Prefix BucketRegion", writes=False),
    on_bucket("HeadBucket", head, check_bucket("ListBucket")),
    on_bucket("GetBucketLocation", location, check_bucket("GetBucketLocation")),
    on_bucket("DeleteBucket", unprepared, check_bucket("DeleteBucket"), writes=True, prepare=prepare_delete),
    on_bucket(
        "PutBucketTagging",
        put_tags,
        check_bucket("PutBucketTagging"),
        "Tagging ContentMD5 ChecksumAlgorithm",
        writes=True,
    ),
    on_bucket("GetBucketTagging", get_tags, check_bucket("GetBucketTagging")),
    on_bucket("DeleteBucketTagging", delete_tags, check_bucket("PutBucketTagging"), writes=True),
)
