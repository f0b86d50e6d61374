"""Small requests: what is noted of them, what they are refused with, and what is decoded for them."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from serverless_cloud import REGION, Cloud, serverless_cloud

from skylift.cloud.wire import exchange
from skylift.cloud.wire.body import inflated

PATIENCE = 60
FORM = b"Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture(name="cloud")
def cloud_fixture(tmp_path: Path) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path) as cloud:
        yield cloud


def asked(cloud: Cloud, body: bytes, *, signed: bool, **headers: str) -> tuple[int, bytes]:
    """The answer to a form with this body, as it is."""
    named = {"Content-Type": "application/x-www-form-urlencoded"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest("POST", f"{cloud.url}/", named, body)
    if signed:
        SigV4Auth(Credentials(cloud.key, cloud.secret), "sts", REGION).add_auth(request)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    sent = urllib.request.Request(request.url, body, dict(request.headers), method="POST")
    try:
        with opener.open(sent, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def made_user(cloud: Cloud) -> tuple[str, boto3.Session]:
    """A user that may read objects: its key, and a session of its own."""
    iam = cloud.client("iam")
    iam.create_user(UserName="reader")
    may_read = {"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(may_read))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    return key["AccessKeyId"], boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])


def put(cloud: Cloud) -> None:
    s3 = cloud.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="small", Body=b"a few bytes")


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_the_use_of_a_key_is_noted(cloud: Cloud) -> None:
    key, session = made_user(cloud)
    cloud.client_of(session, "sts").get_caller_identity()
    used = cloud.client("iam").get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]
    assert used["ServiceName"] == "sts"
    assert "LastUsedDate" in used


def test_a_right_that_was_taken_away_is_gone_with_the_next_request(cloud: Cloud) -> None:
    put(cloud)
    key, session = made_user(cloud)
    theirs, iam = cloud.client_of(session, "s3"), cloud.client("iam")
    for _ in range(2):
        theirs.get_object(Bucket="bucket", Key="small")
        iam.put_user_policy(
            UserName="reader",
            PolicyName="never",
            PolicyDocument='{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}',
        )
        with pytest.raises(ClientError) as refused:
            theirs.get_object(Bucket="bucket", Key="small")
        assert code_of(refused) == "AccessDenied"
        iam.delete_user_policy(UserName="reader", PolicyName="never")
    iam.delete_access_key(UserName="reader", AccessKeyId=key)
    with pytest.raises(ClientError) as unknown:
        theirs.get_object(Bucket="bucket", Key="small")
    assert code_of(unknown) == "InvalidAccessKeyId"


@pytest.fixture(name="inflating")
def inflating_fixture(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that are decompressed."""
    seen: list[bytes] = []

    def watched(body: bytes) -> bytes:
        seen.append(body)
        return inflated(body)

    monkeypatch.setattr(exchange, "inflated", watched)
    return seen


def test_a_compressed_form_is_decoded(cloud: Cloud, inflating: list[bytes]) -> None:
    assert asked(cloud, FORM, signed=True)[0] == 200
    status, answer = asked(cloud, gzip.compress(FORM, mtime=0), signed=True, Content_Encoding="gzip")
    assert (status, b"<Account>" in answer) == (200, True)
    assert inflating == [gzip.compress(FORM, mtime=0)]


def test_a_strangers_compressed_form_is_refused_as_it_is(cloud: Cloud, inflating: list[bytes]) -> None:
    body = gzip.compress(FORM + b"&x=" + b"%41" * 1_000_000)
    status, answer = asked(cloud, body, signed=False, Content_Encoding="gzip")
    assert (status, b"MissingAuthenticationToken" in answer) == (403, True)
    assert inflating == []
