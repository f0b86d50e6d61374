"""RunInstances: exactly what is asked, and what is done about the answers that are not a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from skylift.client.errors import LaunchFailed, Refused, UsageError
from skylift.client.job.job import Job, Program
from skylift.client.launch import server as launch
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.advice import ADVICE
from skylift.client.remote.api import Api

ROLE = JobRole("skylift-x", "arn:aws:iam::123456789012:instance-profile/skylift/skylift-x")
KEY = LocalKeyPair("skylift-abc", Path("/nowhere"), "ssh-ed25519 AAAA")
NETWORK = Network("vpc-1", (("us-east-1a", "subnet-a"), ("us-east-1b", "subnet-b")), ("sg-1",), frozenset())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "x.py").touch()
    return plan_job(Order(Program("script", "x.py"), name="x"), tmp_path, os.environ)


class Answers:
    """An EC2 that gives these answers to RunInstances, one after the other."""

    retry = Api.retry

    def __init__(self, *answers: Exception | str) -> None:
        self._answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    def call(self, service: str, operation: str, **params: Any) -> Any:
        assert (service, operation) == ("ec2", "run_instances")
        self.requests.append(params)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        from datetime import UTC, datetime

        instance = {"InstanceId": answer, "State": {"Name": "pending"}, "InstanceType": "t3.small"}
        return {"Instances": [{**instance, "LaunchTime": datetime.now(UTC)}]}


def start(answers: Answers, job: Job) -> launch.Server:
    return launch.run_instance(answers, job, "token", NETWORK, KEY, ROLE, "ami-1", "#!data")  # type: ignore[arg-type]


def test_an_image_that_was_removed_meanwhile_is_replaced_by_the_one_below_it(job: Job) -> None:
    gone = refused("InvalidAMIID.Unavailable")
    answers = Answers(gone, "i-1")
    more = (NETWORK, KEY, ROLE, "ami-environment", "#!data", "", "ami-base")
    assert launch.run_instance(answers, job, "token", *more).instance == "i-1"  # type: ignore[arg-type]
    assert [each["ImageId"] for each in answers.requests] == ["ami-environment", "ami-base"]
    assert len({each["ClientToken"] for each in answers.requests}) == 2
    with pytest.raises(LaunchFailed, match="InvalidAMIID"):
        launch.run_instance(Answers(gone, gone), job, "token", *more)  # type: ignore[arg-type]


def refused(code: str, message: str = "no") -> Refused:
    return Refused(code, message, "run_instances", ADVICE.get(code, ""))


def test_request(job: Job) -> None:
    tags = [{"Key": "Name", "Value": "skylift x"}, {"Key": "skylift:job", "Value": "x"}]
    assert launch.launch_request(job, "token-0", NETWORK, "subnet-a", "skylift-abc", ROLE, "ami-1", "#!data") == {
        "ImageId": "ami-1",
        "InstanceType": "t3.small",
        "MinCount": 1,
        "MaxCount": 1,
        "KeyName": "skylift-abc",
        "ClientToken": "token-0",
        "UserData": "#!data",
        "IamInstanceProfile": {"Arn": ROLE.profile_arn},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required"},
        "NetworkInterfaces": [
            {"DeviceIndex": 0, "SubnetId": "subnet-a", "Groups": ["sg-1"], "AssociatePublicIpAddress": True}
        ],
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
        ],
    }


def test_new_profile_is_waited_for(job: Job) -> None:
    unknown = refused("InvalidParameterValue", "Value (x) for parameter iamInstanceProfile.arn is invalid.")
    answers = Answers(unknown, unknown, "i-1")
    assert start(answers, job).instance == "i-1"
    assert [request["ClientToken"] for request in answers.requests] == ["token-0"] * 3


def test_zone_without_room_is_passed_over(job: Job) -> None:
    answers = Answers(refused("InsufficientInstanceCapacity"), "i-2")
    assert start(answers, job).instance == "i-2"
    assert [request["NetworkInterfaces"][0]["SubnetId"] for request in answers.requests] == ["subnet-a", "subnet-b"]
    assert [request["ClientToken"] for request in answers.requests] == ["token-0", "token-1"]


def test_no_room_anywhere(job: Job) -> None:
    with pytest.raises(LaunchFailed, match="InsufficientInstanceCapacity") as caught:
        start(Answers(*[refused("InsufficientInstanceCapacity")] * 2), job)
    assert "Tried in us-east-1a, us-east-1b." in caught.value.message
    assert "--type" in caught.value.advice


def test_quota_is_not_tried_in_other_zones(job: Job) -> None:
    answers = Answers(refused("VcpuLimitExceeded"))
    with pytest.raises(LaunchFailed) as caught:
        start(answers, job)
    assert "quota" in caught.value.advice


def test_other_invalid_values_are_not_waited_for(job: Job) -> None:
    answers = Answers(refused("InvalidParameterValue", "Value (x) for parameter groupId is invalid."))
    with pytest.raises(LaunchFailed, match="groupId"):
        start(answers, job)


@pytest.mark.parametrize("name", ["t3.smal", "q9.none"])
def test_unknown_type(api: Api, settings: object, name: str) -> None:
    assert "x86_64" in launch.check_type(api, "t3.small")
    assert launch.check_type(api, "t4g.small") == ("arm64",)
    with pytest.raises(UsageError, match=name.replace(".", r"\.")) as caught:
        launch.check_type(api, name)
    assert "t3.small" in caught.value.advice


def test_instance_that_nobody_knows(api: Api, settings: object) -> None:
    assert launch.describe(api, "i-0123456789abcdef0") is None
    launch.terminate(api, "i-0123456789abcdef0")
