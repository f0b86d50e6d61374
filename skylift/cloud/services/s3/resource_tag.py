"""Tags of buckets by S3 Control: one at a time, by the bucket's ARN. Terraform reads and writes them so since
release 6.23 of its AWS provider.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_TagResource.html; words of refusals by
https://github.com/localstack/localstack/blob/main/tests/aws/services/s3control/test_s3control.snapshot.json
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.iam_rules import request_tags
from skylift.cloud.services.api.operation import Check, Checks, Handler, Nothing, Operation
from skylift.cloud.services.s3.condition import with_request_keys
from skylift.cloud.services.s3.error import access_denied
from skylift.cloud.services.s3.rules import RESOURCE_TAGS, checked_tags
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3control

_BUCKETS = "arn:aws:s3:::"


class OfResource(TypedDict):
    """The members of every request about a resource's tags."""

    AccountId: str
    ResourceArn: str


def tag(tx: Tx, caller: Caller, params: s3control.TagResourceRequest) -> Nothing:
    bucket = _bucket_of(tx, caller, params)
    given = checked_tags(params["Tags"], RESOURCE_TAGS)
    tags = {**bucket.tags, **given}
    if len(tags) > RESOURCE_TAGS.most:
        raise ServiceError("BadRequest", f"Bucket tag count cannot be greater than {RESOURCE_TAGS.most}", status=400)
    tx.save(replace(bucket, tags=tags))
    return {}


def untag(tx: Tx, caller: Caller, params: s3control.UntagResourceRequest) -> Nothing:
    """A key that the bucket does not have is no error."""
    bucket = _bucket_of(tx, caller, params)
    gone = frozenset(params["TagKeys"])
    tx.save(replace(bucket, tags={key: value for key, value in bucket.tags.items() if key not in gone}))
    return {}


def list_tags(
    tx: Tx, caller: Caller, params: s3control.ListTagsForResourceRequest
) -> s3control.ListTagsForResourceResult:
    bucket = _bucket_of(tx, caller, params)
    return {"Tags": [{"Key": key, "Value": value} for key, value in bucket.tags.items()]}


def _bucket_of(tx: Tx, caller: Caller, params: OfResource) -> Bucket:
    """Raises NoSuchResource also for an access point, or what else has tags on AWS: there is none here."""
    if params["AccountId"] != caller.account:
        raise access_denied()
    arn = params["ResourceArn"]
    bucket = tx.get(Bucket, name=arn.removeprefix(_BUCKETS)) if arn.startswith(_BUCKETS) else None
    if bucket is None:
        raise ServiceError("NoSuchResource", "The specified resource doesn't exist.", status=404)
    return bucket


def _check_tags(action: str) -> Checks:
    return lambda _tx, _caller, params: [Check(f"s3:{action}", params["ResourceArn"], request_tags(params))]


def _row(name: str, handler: Handler, takes: str = "", *, writes: bool = False) -> Operation:
    checks = with_request_keys(_check_tags(name))
    return Operation("s3control", name, handler, frozenset(f"AccountId ResourceArn {takes}".split()), checks, writes)


OPERATIONS = (
    _row("TagResource", tag, "Tags", writes=True),
    _row("UntagResource", untag, "TagKeys", writes=True),
    _row("ListTagsForResource", list_tags),
)
