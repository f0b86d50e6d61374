"""The whole wire, with boto3 as the client."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError
from wire_endpoint import Running, running

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import checksum

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as started:
        yield started


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_ec2_describe(cloud: Running) -> None:
    launched = datetime(2026, 11, 25, 8, 30, 1, tzinfo=UTC)
    instance = {
        "InstanceId": "i-1",
        "State": {"Code": 16, "Name": "running"},
        "LaunchTime": launched,
        "Tags": [{"Key": "Name", "Value": 'a <b> & "c"'}],
        "SecurityGroups": [],
        "EbsOptimized": False,
    }
    cloud.service.answers["DescribeInstances"] = {
        "Reservations": [{"ReservationId": "r-1", "OwnerId": "1", "Groups": [], "Instances": [instance]}]
    }
    filters = [{"Name": "instance-state-name", "Values": ["running", "pending"]}, {"Name": "tag:a", "Values": ["b c+"]}]
    answer = cloud.client("ec2").describe_instances(Filters=filters, InstanceIds=["i-1"])
    assert answer["Reservations"][0]["Instances"] == [instance]
    assert answer["ResponseMetadata"]["RequestId"] == cloud.service.calls[0].request_id
    call = cloud.service.calls[0]
    assert (call.service, call.operation) == ("ec2", "DescribeInstances")
    assert call.params == {"Filters": filters, "InstanceIds": ["i-1"]}
    assert (call.source_ip, call.credential.access_key_id) == ("127.0.0.1", "AKIAWIRETESTS0000001")


def test_ec2_action_without_output(cloud: Running) -> None:
    cloud.service.answers["DeleteVpc"] = {}
    cloud.client("ec2").delete_vpc(VpcId="vpc-1")
    assert cloud.service.calls[0].params == {"VpcId": "vpc-1"}


def test_pagination_reads_the_token(cloud: Running) -> None:
    pages = iter([{"Vpcs": [{"VpcId": "vpc-1"}], "NextToken": "more"}, {"Vpcs": []}])
    cloud.service._DescribeVpcs = lambda params, call: next(pages)  # type: ignore[attr-defined]
    assert cloud.client("ec2").get_paginator("describe_vpcs").paginate().build_full_result()["Vpcs"] == [
        {"VpcId": "vpc-1"}
    ]


def test_query_result_and_errors(cloud: Running) -> None:
    assert cloud.client("sts").get_caller_identity()["Account"] == "123456789012"
    cloud.service.answers["GetRole"] = ServiceError("NoSuchEntity", "The role with name a cannot be found.")
    iam = cloud.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException) as refused:
        iam.get_role(RoleName="a")
    assert code_of(refused) == ("NoSuchEntity", 404)
    assert refused.value.response["Error"]["Type"] == "Sender"


def test_json_result_and_errors(cloud: Running) -> None:
    modified = datetime(2026, 11, 25, 8, 30, 1, 250_000, tzinfo=UTC)
    found = {"Name": "/a/ü", "Value": "1", "Version": 2, "LastModifiedDate": modified}
    cloud.service.answers["GetParameter"] = {"Parameter": found}
    ssm = cloud.client("ssm")
    answer = ssm.get_parameter(Name="/a/ü")
    assert answer["Parameter"] == found
    assert answer["ResponseMetadata"]["RequestId"] == cloud.service.calls[0].request_id
    cloud.service.answers["GetParameter"] = ServiceError("ParameterNotFound", "It is not there.")
    with pytest.raises(ssm.exceptions.ParameterNotFound, match="not there") as refused:
        ssm.get_parameter(Name="a")
    assert code_of(refused) == ("ParameterNotFound", 400)


@pytest.mark.parametrize(
    ("service", "call", "expected"),
    [
        ("ec2", lambda client: client.describe_volumes(), ("InvalidAction", 400)),
        ("iam", lambda client: client.list_users(), ("InvalidAction", 400)),
        ("ssm", lambda client: client.list_documents(), ("UnknownOperationException", 400)),
        ("s3", lambda client: client.get_bucket_cors(Bucket="abc"), ("NotImplemented", 501)),
        ("s3", lambda client: client.get_object(Bucket="abc", Key="none"), ("NoSuchKey", 404)),
        ("s3", lambda client: client.head_object(Bucket="abc", Key="none"), ("404", 404)),
    ],
)
def test_errors(cloud: Running, service: str, call: Any, expected: tuple[str, int]) -> None:
    with pytest.raises(ClientError) as refused:
        call(cloud.client(service))
    assert code_of(refused) == expected
    assert refused.value.response["ResponseMetadata"]["RequestId"] == cloud.service.calls[0].request_id


def test_a_fault_in_a_service_is_an_internal_error(cloud: Running, caplog: pytest.LogCaptureFixture) -> None:
    cloud.service.answers["DescribeVpcs"] = ZeroDivisionError("a fault")
    with pytest.raises(ClientError) as refused:
        cloud.client("ec2").describe_vpcs()
    assert code_of(refused) == ("InternalError", 500)
    request_id = cloud.service.calls[0].request_id
    assert request_id in refused.value.response["Error"]["Message"]
    assert any(request_id in record.getMessage() and record.exc_info for record in caplog.records)
    cloud.service.answers["DescribeVpcs"] = {"Wrong": 1}
    with pytest.raises(ClientError, match="InternalError"):
        cloud.client("ec2").describe_vpcs()


def test_wrong_keys(cloud: Running) -> None:
    cases = [
        ("ec2", "describe_vpcs", {"secret": "wrong"}, ("AuthFailure", 401)),
        ("ec2", "describe_vpcs", {"key": "AKIANOBODY"}, ("AuthFailure", 401)),
        ("ec2", "describe_vpcs", {"token": "expired"}, ("RequestExpired", 400)),
        ("sts", "get_caller_identity", {"secret": "wrong"}, ("SignatureDoesNotMatch", 403)),
        ("sts", "get_caller_identity", {"key": "AKIANOBODY"}, ("InvalidClientTokenId", 403)),
        ("sts", "get_caller_identity", {"token": "expired"}, ("ExpiredToken", 403)),
        ("ssm", "describe_parameters", {"secret": "wrong"}, ("InvalidSignatureException", 400)),
        ("ssm", "describe_parameters", {"key": "AKIANOBODY"}, ("UnrecognizedClientException", 400)),
        ("ssm", "describe_parameters", {"token": "expired"}, ("ExpiredTokenException", 400)),
        ("s3", "list_buckets", {"secret": "wrong"}, ("SignatureDoesNotMatch", 403)),
        ("s3", "list_buckets", {"key": "AKIANOBODY"}, ("InvalidAccessKeyId", 403)),
        ("s3", "list_buckets", {"token": "expired"}, ("ExpiredToken", 400)),
    ]
    for service, operation, options, expected in cases:
        with pytest.raises(ClientError) as refused:
            getattr(cloud.client(service, **options), operation)()
        assert code_of(refused) == expected
    assert cloud.service.calls == []


def test_another_region_is_refused_and_s3_says_which_is_right(cloud: Running) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("ec2", region="eu-west-1").describe_vpcs()
    assert code_of(refused) == ("AuthFailure", 401)
    # boto3 reads the region from the refusal and asks again with it.
    cloud.service.answers["ListObjectsV2"] = {"Name": "abc", "KeyCount": 0}
    assert cloud.client("s3", region="eu-west-1").list_objects_v2(Bucket="abc")["KeyCount"] == 0


CHECKSUMS = ["when_supported", "when_required"]


@pytest.mark.parametrize("calculation", CHECKSUMS)
@pytest.mark.parametrize("size", [0, 1, 1024, 300_000, 3 * len(MEGABYTE) + 17])
def test_put_and_get(cloud: Running, calculation: str, size: int) -> None:
    s3 = cloud.client("s3", request_checksum_calculation=calculation)
    content = (MEGABYTE * 4)[:size]
    put = s3.put_object(Bucket="abc", Key="a/b c+ü", Body=content, Metadata={"color": "blue"}, ContentType="text/x")
    assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    algorithm = "CRC32" if calculation == "when_supported" else "CRC64NVME"
    running_checksum = checksum.start(algorithm)
    running_checksum.update(content)
    assert put[f"Checksum{algorithm}"] == checksum.encoded(running_checksum)

    got = s3.get_object(Bucket="abc", Key="a/b c+ü")
    assert got["Body"].read() == content
    assert (got["Metadata"], got["ContentType"], got["ContentLength"]) == ({"color": "blue"}, "text/x", size)
    assert got["LastModified"] == datetime(2026, 11, 25, 8, 30, tzinfo=UTC)
    head = s3.head_object(Bucket="abc", Key="a/b c+ü")
    assert (head["ContentLength"], head["ETag"]) == (size, put["ETag"])
    assert cloud.spooled == []


def test_a_file_is_sent_after_a_go_ahead(cloud: Running) -> None:
    # botocore sends `Expect: 100-continue` for files and waits.
    cloud.client("s3").put_object(Bucket="abc", Key="file", Body=io.BytesIO(MEGABYTE * 2))
    assert cloud.service.objects["abc", "file"].size == 2 * len(MEGABYTE)


def test_ranges(cloud: Running) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket="abc", Key="k", Body=MEGABYTE)
    for first, last in [(0, 0), (10, 19), (1000, 900_000)]:
        got = s3.get_object(Bucket="abc", Key="k", Range=f"bytes={first}-{last}")
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"] == f"bytes {first}-{last}/{len(MEGABYTE)}"
        assert got["Body"].read() == MEGABYTE[first : last + 1]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_chosen_checksum_is_computed_and_compared(cloud: Running, algorithm: str) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket="abc", Key="k", Body=b"content", ChecksumAlgorithm=algorithm)
    right = cloud.service.objects["abc", "k"].checksums[algorithm]
    wrong = base64.b64encode(bytes(len(base64.b64decode(right)))).decode()
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="abc", Key="k2", Body=b"content", **{f"Checksum{algorithm}": wrong})
    assert code_of(refused) == ("BadDigest", 400)
    assert cloud.spooled == []


def test_a_refused_upload_leaves_nothing_in_the_spool(cloud: Running) -> None:
    cloud.service.answers["PutObject"] = ServiceError("NoSuchBucket", "The specified bucket does not exist")
    for body in (b"small", MEGABYTE * 2):
        with pytest.raises(ClientError) as refused:
            cloud.client("s3").put_object(Bucket="abc", Key="k", Body=body)
        assert code_of(refused) == ("NoSuchBucket", 404)
    assert cloud.spooled == []


def test_not_modified_has_no_body(cloud: Running) -> None:
    cloud.service.answers["GetObject"] = ServiceError("NotModified", "Not Modified", ETag='"e"')
    with pytest.raises(ClientError) as refused:
        cloud.client("s3").get_object(Bucket="abc", Key="k", IfNoneMatch='"e"')
    assert code_of(refused) == ("304", 304)


def test_virtual_host_addresses(cloud: Running) -> None:
    url = cloud.url.replace("127.0.0.1", "localhost")
    s3 = cloud.client("s3", url=url, s3={"addressing_style": "virtual"})
    url = s3.generate_presigned_url("get_object", {"Bucket": "abc", "Key": "k/l"})
    assert url.startswith("http://abc.localhost")
    s3.meta.events.register("before-send.s3", lambda request, **_: to_loopback(request, cloud.url))
    s3.put_object(Bucket="abc", Key="k/l", Body=b"x")
    assert ("abc", "k/l") in cloud.service.objects


def to_loopback(request: Any, url: str) -> None:
    """Resolve names under localhost ourselves: not every resolver does."""
    host = request.url.split("/")[2]
    request.headers["Host"] = host
    request.url = request.url.replace(f"http://{host}", url, 1)


def test_bucket_location(cloud: Running) -> None:
    for region in ("eu-west-1", None):
        cloud.service.answers["GetBucketLocation"] = {"LocationConstraint": region}
        assert cloud.client("s3").get_bucket_location(Bucket="abc")["LocationConstraint"] == region


def test_unsigned_requests(cloud: Running) -> None:
    cloud.service.answers["ListObjectsV2"] = {"Name": "abc", "KeyCount": 0}
    cloud.client("s3", signature_version=UNSIGNED).list_objects_v2(Bucket="abc")
    assert cloud.service.calls[0].credential.access_key_id is None
    for service, operation, expected in (
        ("ec2", "describe_vpcs", ("MissingAuthenticationToken", 403)),
        ("sts", "get_caller_identity", ("MissingAuthenticationToken", 403)),
        ("ssm", "describe_parameters", ("MissingAuthenticationTokenException", 400)),
    ):
        with pytest.raises(ClientError) as refused:
            getattr(cloud.client(service, signature_version=UNSIGNED), operation)()
        assert code_of(refused) == expected
    assert len(cloud.service.calls) == 1
    cloud.service.answers["AssumeRoleWithWebIdentity"] = {}
    cloud.client("sts", signature_version=UNSIGNED).assume_role_with_web_identity(
        RoleArn="arn:aws:iam::123456789012:role/a", RoleSessionName="ab", WebIdentityToken="token"
    )


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        # query, JSON of both kinds, rest-json, rest-xml
        ("sns", "list_topics"),
        ("sqs", "list_queues"),
        ("dynamodb", "list_tables"),
        ("logs", "describe_log_groups"),
        ("lambda", "list_functions"),
        ("batch", "describe_job_queues"),
        ("route53", "list_hosted_zones"),
        ("cloudfront", "list_distributions"),
        # CBOR, and JSON under a name that others use for XML
        ("arc-region-switch", "list_plans"),
        ("s3outposts", "list_endpoints"),
    ],
)
def test_a_service_that_is_not_here(cloud: Running, service: str, operation: str) -> None:
    """A client reads code and message of its own protocol only."""
    name = cloud.client(service).meta.service_model.signing_name
    with pytest.raises(ClientError, match=f"This cloud has no service '{name}'") as refused:
        getattr(cloud.client(service), operation)()
    assert code_of(refused) == ("UnknownEndpoint", 404)


def test_sockets_come_and_go(cloud: Running) -> None:
    sock = cloud.listen()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    cloud.run(cloud.endpoint.add_socket(sock))
    assert cloud.client("sts", url=url).get_caller_identity()["Account"] == "123456789012"
    cloud.run(cloud.endpoint.remove_socket(sock))
    assert sock.fileno() == -1
    assert cloud.client("sts").get_caller_identity()["Account"] == "123456789012"
