"""The other servers of a map: exactly what is asked of Auto Scaling, and what they and the coordinator may do."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skylift.agent.workers.worker_group import ON_DEMAND
from skylift.client.job.job import Job, Program, Spot
from skylift.client.launch import fleet, role
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole, boundary_policy
from skylift.client.launch.worker_group import coordinator_statements, group_requests, template_request, worker_policy
from skylift.client.plan.plan_job import Order, plan_job
from skylift.cloud.services.api.authorize import Policies, decide
from skylift.cloud.services.api.policy_document import parse_policy

ROLE = JobRole("skylift-x-w", "arn:aws:iam::123456789012:instance-profile/skylift/skylift-x-w")
KEY = LocalKeyPair("skylift-abc", Path("/nowhere"), "ssh-ed25519 AAAA")
NETWORK = Network("vpc-1", (("us-east-1a", "subnet-a"), ("us-east-1b", "subnet-b")), ("sg-1", "sg-2"), frozenset())
TEMPLATE = {"LaunchTemplateId": "lt-1", "Version": "1"}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "x.py").touch()
    return plan_job(Order(Program("script", "x.py"), name="x"), tmp_path, os.environ)


def test_a_group_is_made_empty_and_has_the_jobs_tags(job: Job) -> None:
    (found,) = group_requests(job, NETWORK, "lt-1", 7)
    tags = found.pop("Tags")
    assert found == {
        "AutoScalingGroupName": "skylift-workers.x",
        "MinSize": 0,
        "MaxSize": 7,
        "DesiredCapacity": 0,
        "VPCZoneIdentifier": "subnet-a,subnet-b",
        "NewInstancesProtectedFromScaleIn": True,
        "LaunchTemplate": TEMPLATE,
    }
    assert ("skylift:job", "x", False) in {(each["Key"], each["Value"], each["PropagateAtLaunch"]) for each in tags}


def test_spot_servers_are_of_any_type_that_does_and_of_no_other_kind(job: Job) -> None:
    spot = replace(job, spot=Spot(0.05, types=("t3.small", "m7i.large")))
    (found,) = group_requests(spot, NETWORK, "lt-1", 7)
    assert "LaunchTemplate" not in found
    policy = found["MixedInstancesPolicy"]
    assert policy["LaunchTemplate"] == {
        "LaunchTemplateSpecification": TEMPLATE,
        "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "m7i.large"}],
    }
    assert policy["InstancesDistribution"] == {
        "OnDemandBaseCapacity": 0,
        "OnDemandPercentageAboveBaseCapacity": 0,
        "SpotAllocationStrategy": "price-capacity-optimized",
        "SpotMaxPrice": "0.050000",
    }


def test_servers_on_demand_in_place_of_spot_are_a_second_groups(job: Job) -> None:
    either = replace(job, spot=Spot(0.05, or_on_demand=True, types=("t3.small", "m7i.large")))
    spot, on_demand = group_requests(either, NETWORK, "lt-1", 7)
    assert spot["AutoScalingGroupName"] == "skylift-workers.x"
    assert "MixedInstancesPolicy" in spot
    assert on_demand["AutoScalingGroupName"] == spot["AutoScalingGroupName"] + ON_DEMAND
    assert (on_demand["LaunchTemplate"], on_demand["MaxSize"], on_demand["DesiredCapacity"]) == (TEMPLATE, 7, 0)


def test_an_instance_is_marked_as_one_that_only_runs_inputs(job: Job) -> None:
    plain = fleet.template_request(job, NETWORK, KEY, ROLE, "ami-1", "#!data")
    found = template_request(plain, "x")
    assert (plain["LaunchTemplateName"], found["LaunchTemplateName"]) == ("skylift-x", "skylift-workers.x")
    data = found["LaunchTemplateData"]
    assert data["NetworkInterfaces"][0]["Groups"] == ["sg-1", "sg-2"]
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    marked = {
        each["ResourceType"]: {tag["Key"] for tag in each["Tags"]} >= {"skylift:worker", "skylift:job"}
        for each in data["TagSpecifications"]
    }
    assert marked == {"instance": True, "volume": False, "network-interface": False}


def test_a_server_that_only_runs_inputs_may_do_nothing_to_servers_and_reads_no_secrets() -> None:
    statements = worker_policy("x", "bucket", ["arn:aws:s3:::bucket/inputs/sha256/1"])["Statement"]
    assert all(action.startswith("s3:") for each in statements for action in listed(each["Action"]))
    written = [each["Resource"] for each in statements if "s3:PutObject" in listed(each["Action"])]
    assert written == [["arn:aws:s3:::bucket/jobs/x/server/map/runs/*"]]
    read = [place for each in statements for place in listed(each["Resource"])]
    assert not any(place.endswith(("/in/*", "/in/dask.json", "/server/*")) for place in read)


def test_the_coordinator_has_its_own_group_and_no_other(job: Job) -> None:
    own = coordinator_statements("x", "bucket", "123456789012", "eu-west-1")
    having = own[0]
    group = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/skylift-workers.x"
    assert having["Resource"] == [group, group + ON_DEMAND]
    assert having["Condition"]["StringEquals"] == {"aws:ResourceTag/skylift:job": "x"}
    allowed = {each["Sid"]: set(listed(each["Action"])) for each in boundary_policy("123456789012")["Statement"]}
    for sid in ("HaveServers", "SeeServers"):
        (mine,) = [each for each in own if each["Sid"] == sid]
        assert set(mine["Action"]) == allowed[sid], "the boundary allows what the role has"


def test_the_coordinators_programs_read_what_is_left_on_servers_and_no_key() -> None:
    """The key of another server is in the prefix while that one starts, and the coordinator puts it there."""
    bucket = "skylift-123456789012-eu-west-1"
    where = ("x", bucket, "123456789012", "eu-west-1")
    policy = parse_policy(json.dumps(role.job_policy(*where, more=coordinator_statements(*where))))
    held = Policies((policy,), parse_policy(json.dumps(boundary_policy("123456789012"))))

    def allowed(action: str, key: str) -> bool:
        return decide(held, action, f"arn:aws:s3:::{bucket}/jobs/x/server/map/{key}", {}).allowed

    assert allowed("s3:GetObject", "runs/1/stdout")
    assert allowed("s3:PutObject", "keys/i-1")
    assert not allowed("s3:GetObject", "keys/i-1")


def test_a_server_that_only_runs_inputs_reads_its_own_key_and_no_other_servers() -> None:
    bucket = "skylift-123456789012-eu-west-1"
    policy = parse_policy(json.dumps(worker_policy("x", bucket)))
    held = Policies((policy,), parse_policy(json.dumps(boundary_policy("123456789012"))))
    mine, other = (f"arn:aws:ec2:eu-west-1:123456789012:instance/i-{each}" for each in ("a", "b"))

    def allowed(action: str, key: str, source: str | None) -> bool:
        context = {} if source is None else {"ec2:SourceInstanceARN": source}
        return decide(held, action, f"arn:aws:s3:::{bucket}/jobs/x/server/map/keys/{key}", context).allowed

    for action in ("s3:GetObject", "s3:DeleteObject"):
        assert allowed(action, mine, mine)
        assert not allowed(action, other, mine)
        assert not allowed(action, f"{mine}0", mine)
        assert not allowed(action, "*", mine)
        assert not allowed(action, mine, None), "credentials that are no server's"


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
