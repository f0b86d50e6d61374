"""Tags of buckets by S3 Control: who may, what is refused, and that there is one set of them."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import ACCOUNT, Account, allow, policy, refused

from skylift.cloud.domain.identity import Caller

ARN = "arn:aws:s3:::bucket"
ONE = [{"Key": "team", "Value": "one"}]


@pytest.fixture(autouse=True)
def bucket_fixture(account: Account) -> None:
    account.s3("CreateBucket", Bucket="bucket")


def ask(account: Account, operation: str, arn: str = ARN, caller: Caller | None = None, **params: Any) -> Any:
    return account.call("s3control", operation, caller=caller, **{"AccountId": ACCOUNT, "ResourceArn": arn, **params})


def tags(account: Account) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in ask(account, "ListTagsForResource")["Tags"]}


def test_a_tag_is_given_changed_and_taken(account: Account) -> None:
    assert tags(account) == {}
    ask(account, "TagResource", Tags=[*ONE, {"Key": "job", "Value": ""}])
    ask(account, "TagResource", Tags=[{"Key": "team", "Value": "two"}])
    assert tags(account) == {"team": "two", "job": ""}
    ask(account, "UntagResource", TagKeys=["team", "nothing"])
    assert tags(account) == {"job": ""}
    assert account.s3("GetBucketTagging", Bucket="bucket")["TagSet"] == [{"Key": "job", "Value": ""}]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:s3:::other",
        "arn:aws:s3:::bucket/key",
        "arn:aws:s3:::",
        f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/bucket",
        "bucket",
        "arn:aws:s3:::*",
    ],
)
@pytest.mark.parametrize("operation", ["ListTagsForResource", "TagResource", "UntagResource"])
def test_what_is_no_bucket_has_no_tags(account: Account, operation: str, arn: str) -> None:
    more = {"TagResource": {"Tags": ONE}, "UntagResource": {"TagKeys": ["team"]}}.get(operation, {})
    with refused("NoSuchResource", "doesn't exist", status=404):
        ask(account, operation, arn, **more)


def test_another_account_is_not_here(account: Account) -> None:
    with refused("AccessDenied", status=403):
        ask(account, "ListTagsForResource", AccountId="111111111111")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([{"Key": "aws:own", "Value": ""}], "InvalidTag"),
        ([{"Key": "k" * 129, "Value": ""}], "InvalidTag"),
        ([{"Key": "k", "Value": "a\nb"}], "InvalidTag"),
        ([*ONE, *ONE], "InvalidTag"),
        ([{"Key": f"k{number}", "Value": ""} for number in range(51)], "BadRequest"),
    ],
)
def test_tags_that_are_none(account: Account, given: list[dict[str, str]], code: str) -> None:
    with refused(code, status=400):
        ask(account, "TagResource", Tags=given)
    assert tags(account) == {}


def test_words_of_refused_tags(account: Account) -> None:
    """Recorded on AWS: `test_tag_resource_validation` in LocalStack's test_s3control.snapshot.json."""
    with refused("InvalidTag", 'User-defined tag keys can\'t start with "aws:".'):
        ask(account, "TagResource", Tags=[{"Key": "aws:own", "Value": ""}])
    with refused("InvalidTag", "There are duplicate tag keys in your request."):
        ask(account, "TagResource", Tags=[*ONE, *ONE])


def test_fifty_tags_and_no_more(account: Account) -> None:
    ask(account, "TagResource", Tags=[{"Key": f"k{number}", "Value": ""} for number in range(50)])
    ask(account, "TagResource", Tags=[{"Key": "k0", "Value": "again"}])
    with refused("BadRequest", "greater than 50", status=400):
        ask(account, "TagResource", Tags=ONE)
    assert tags(account)["k0"] == "again" and len(tags(account)) == 50


def test_each_takes_its_permission_with_its_keys(account: Account) -> None:
    only = {"StringEquals": {"aws:RequestTag/team": "one"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    careful = account.role("careful", allow("s3:TagResource", ARN, Condition=only))
    ask(account, "TagResource", caller=careful, Tags=ONE)
    for given in ([{"Key": "team", "Value": "two"}], [*ONE, {"Key": "job", "Value": "1"}]):
        with refused("AccessDenied", "s3:TagResource", status=403):
            ask(account, "TagResource", caller=careful, Tags=given)
    for operation, more in (("ListTagsForResource", {}), ("UntagResource", {"TagKeys": ["team"]})):
        with refused("AccessDenied", f"s3:{operation}", status=403):
            ask(account, operation, caller=careful, **more)


def test_a_buckets_policy_counts(account: Account) -> None:
    stranger = account.user("stranger")
    statement = allow("s3:ListTagsForResource", ARN, Principal={"AWS": stranger.arn})
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=policy(statement))
    assert ask(account, "ListTagsForResource", caller=stranger)["Tags"] == []
    with refused("AccessDenied", status=403):
        ask(account, "ListTagsForResource", "arn:aws:s3:::other", caller=stranger)
