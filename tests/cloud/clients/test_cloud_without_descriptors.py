"""A cloud that has no descriptors left: clients are told to come again, and nothing is half made."""

from __future__ import annotations

import errno
import gc
import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import Cloud, serverless_cloud

from skylift.cloud.domain.instance import ClientToken, Instance
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.domain.volume import Volume
from skylift.cloud.store.database import MOST_READERS

RUN = {"ImageId": "ami-12345678", "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "ClientToken": "once"}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path) as found:
        yield found


@contextmanager
def descriptors(left: int) -> Iterator[None]:
    """This process, in which the cloud is, may open just so many files more."""
    # Connections that earlier tests left behind would be closed meanwhile, and leave room.
    gc.collect()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 512), before[1]))
    taken: list[int] = []
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError as error:
                assert error.errno == errno.EMFILE
                break
        for _ in range(left):
            os.close(taken.pop())
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def busy_readers(cloud: Cloud) -> Iterator[None]:
    """As many requests as there are connections to the database read at this moment: the next one opens another."""
    with ExitStack() as reading:
        for _ in range(MOST_READERS):
            reading.enter_context(cloud.database.read())
        yield


def refusal(call: Any, **params: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("left", range(3))
def test_a_launch_without_descriptors_may_come_again_and_leaves_nothing(cloud: Cloud, left: int) -> None:
    """With some descriptors left, the database is opened but not its log."""
    ec2 = cloud.client("ec2")
    ec2.describe_instances()
    with busy_readers(cloud), descriptors(left):
        assert refusal(ec2.run_instances, **RUN) == (503, "Unavailable")
    with cloud.database.read() as tx:
        for noun in (Instance, Volume, NetworkInterface, ClientToken):
            assert tx.find(noun) == [], noun
    (made,) = ec2.run_instances(**RUN)["Instances"]
    assert [each["InstanceId"] for each in ec2.run_instances(**RUN)["Instances"]] == [made["InstanceId"]]


@pytest.mark.parametrize(
    ("service", "operation", "params", "code"),
    [
        ("iam", "list_users", {}, "ServiceUnavailable"),
        ("sts", "get_caller_identity", {}, "ServiceUnavailable"),
        ("scheduler", "list_schedules", {}, "ServiceUnavailable"),
        ("ssm", "describe_parameters", {}, "ServiceUnavailable"),
        ("s3", "list_buckets", {}, "ServiceUnavailable"),
        ("s3", "put_object", {"Bucket": "there", "Key": "k", "Body": b"x" * (1 << 20)}, "ServiceUnavailable"),
    ],
)
def test_every_service_has_its_word_for_it(
    cloud: Cloud, service: str, operation: str, params: dict[str, Any], code: str
) -> None:
    cloud.client("s3").create_bucket(Bucket="there")
    client = cloud.client(service)
    call = getattr(client, operation)
    call(**params)
    cloud.client("s3").delete_object(Bucket="there", Key="k")
    with busy_readers(cloud), descriptors(0):
        assert refusal(call, **params) == (503, code)
    assert cloud.bodies() == [] or service != "s3"
    call(**params)
