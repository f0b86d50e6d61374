"""Operations that are answered without a worker: as strictly as all others, and also when all workers are busy."""

from __future__ import annotations

import gzip
import json
import threading
import urllib.error
import urllib.request
from asyncio import events
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from serverless_cloud import REGION, Cloud, serverless_cloud

from skylift.cloud.domain.bucket import LARGEST_IN_ROW
from skylift.cloud.services.s3 import upload_completion
from skylift.cloud.wire import exchange
from skylift.cloud.wire.body import inflated
from skylift.cloud.wire.endpoint import OF_SENDER

PATIENCE = 60
FORM = b"Action=GetCallerIdentity&Version=2011-06-15"


class Hold:
    """Keeps who lists buckets in its worker, and knows which operations were carried out in the event loop's thread."""

    def __init__(self) -> None:
        self.held = threading.Semaphore(0)
        self.release = threading.Event()
        self.in_loop: list[tuple[str, bool]] = []

    def __call__(self, operation: str) -> None:
        self.in_loop.append((operation, in_loop()))
        if operation == "ListBuckets":
            self.held.release()
            self.release.wait(PATIENCE)


@pytest.fixture(name="hold")
def hold_fixture() -> Hold:
    return Hold()


@pytest.fixture(name="cloud")
def cloud_fixture(tmp_path: Path, hold: Hold) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path, hold) as cloud:
        yield cloud


def in_loop() -> bool:
    """Whether this is the event loop's thread."""
    return events._get_running_loop() is not None


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


def test_they_are_answered_while_all_workers_of_their_sender_are_busy(cloud: Cloud, hold: Hold) -> None:
    put(cloud)
    s3, sts = cloud.client(max_pool_connections=OF_SENDER + 1), cloud.client("sts")
    with ThreadPoolExecutor(OF_SENDER) as pool:
        try:
            busy = [pool.submit(s3.list_buckets) for _ in range(OF_SENDER)]
            assert all(hold.held.acquire(timeout=PATIENCE) for _ in range(OF_SENDER))
            assert sts.get_caller_identity()["Account"]
            assert s3.get_object(Bucket="bucket", Key="small")["Body"].read() == b"a few bytes"
            assert s3.head_object(Bucket="bucket", Key="small")["ContentLength"] == 11
            assert not any(one.done() for one in busy)
        finally:
            hold.release.set()
        assert [one.result()["Buckets"][0]["Name"] for one in busy] == ["bucket"] * OF_SENDER


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
def inflating_fixture(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each body that is decompressed, whether it happens in the event loop's thread."""
    seen: list[bool] = []

    def watched(body: bytes) -> bytes:
        seen.append(in_loop())
        return inflated(body)

    monkeypatch.setattr(exchange, "inflated", watched)
    return seen


def test_a_compressed_form_is_decoded_by_a_worker(cloud: Cloud, hold: Hold, inflating: list[bool]) -> None:
    assert asked(cloud, FORM, signed=True)[0] == 200
    status, answer = asked(cloud, gzip.compress(FORM), signed=True, Content_Encoding="gzip")
    assert (status, b"<Account>" in answer) == (200, True)
    assert inflating == [False]
    assert hold.in_loop == [("GetCallerIdentity", True), ("GetCallerIdentity", False)]


def test_a_strangers_compressed_form_is_refused_as_it_is(cloud: Cloud, inflating: list[bool]) -> None:
    body = gzip.compress(FORM + b"&x=" + b"%41" * 1_000_000)
    status, answer = asked(cloud, body, signed=False, Content_Encoding="gzip")
    assert (status, b"MissingAuthenticationToken" in answer) == (403, True)
    assert inflating == []


def test_a_body_in_a_file_is_opened_by_a_worker(cloud: Cloud, hold: Hold) -> None:
    put(cloud)
    s3 = cloud.client()
    s3.put_object(Bucket="bucket", Key="large", Body=bytes(LARGEST_IN_ROW + 1))
    hold.in_loop.clear()
    for key in ("small", "large"):
        s3.head_object(Bucket="bucket", Key=key)
        s3.get_object(Bucket="bucket", Key=key)["Body"].read()
    assert s3.get_object(Bucket="bucket", Key="large", Range="bytes=0-0")["Body"].read() == b"\0"
    assert hold.in_loop == [
        ("HeadObject", True),
        ("GetObject", True),
        ("HeadObject", True),
        ("GetObject", False),
        ("GetObject", False),
    ]


def test_an_object_of_many_parts_is_read_by_a_worker(cloud: Cloud, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_completion, "SMALLEST_PART", 1)
    put(cloud)
    s3 = cloud.client()
    named = {"Bucket": "bucket", "Key": "parts"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**named, PartNumber=number, Body=b"x")["ETag"]}
        for number in range(1, 101)
    ]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    hold.in_loop.clear()
    assert s3.head_object(Bucket="bucket", Key="parts")["ContentLength"] == 100
    assert s3.get_object(Bucket="bucket", Key="parts")["Body"].read() == b"x" * 100
    assert hold.in_loop == [("HeadObject", False), ("GetObject", False)]


def test_a_version_that_is_named_is_found_by_a_worker(cloud: Cloud, hold: Hold) -> None:
    put(cloud)
    s3 = cloud.client()
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    hold.in_loop.clear()
    assert s3.head_object(Bucket="bucket", Key="small", VersionId="null")["ContentLength"] == 11
    assert s3.get_object(Bucket="bucket", Key="small", VersionId="null")["Body"].read() == b"a few bytes"
    assert hold.in_loop == [("HeadObject", False), ("GetObject", False)]


def test_a_use_of_a_key_that_is_written_down_is_so_by_a_worker(cloud: Cloud, hold: Hold) -> None:
    put(cloud)
    _, session = made_user(cloud)
    hold.in_loop.clear()
    cloud.client_of(session, "s3").get_object(Bucket="bucket", Key="small")
    assert hold.in_loop == [("GetObject", False)]
