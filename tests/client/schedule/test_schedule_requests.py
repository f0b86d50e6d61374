"""The exact requests and policies that make a schedule."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skylift.agent.job.job_record import parse_record as read_on_server
from skylift.client.errors import LaunchFailed
from skylift.client.job.job import Job, Program, Spot
from skylift.client.job.record import encode_record, parse_record, schedule_terms
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole, boundary_policy
from skylift.client.launch.scheduler import GROUP, trust_in_scheduler
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.requests import (
    run_now_request,
    runs_policy,
    schedule_request,
    scheduler_policy,
    template_request,
)

ROLE = JobRole("skylift-schedule.x", "arn:aws:iam::123456789012:instance-profile/skylift/skylift-schedule.x")
NETWORK = Network("vpc-1", (("us-east-1a", "subnet-a"), ("us-east-1b", "subnet-b")), ("sg-1",), frozenset())
TEMPLATE = "lt-0123456789abcdef0"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "x.py").touch()
    return plan_job(Order(Program("script", "x.py"), name="x"), tmp_path, os.environ)


def test_the_template_has_all_but_the_tags(job: Job) -> None:
    request = template_request(job, NETWORK, "skylift-abc", ROLE, "ami-1", "#!data")
    assert request["LaunchTemplateName"] == "skylift-schedule.x"
    data = request["LaunchTemplateData"]
    assert data["MetadataOptions"] == {"HttpTokens": "required", "InstanceMetadataTags": "enabled"}
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["NetworkInterfaces"][0]["SubnetId"] == "subnet-a"
    assert data["UserData"] == "IyFkYXRh"
    assert not {"TagSpecifications", "ClientToken", "MinCount"} & set(data)
    # It is of no job: what looks for leftovers of jobs must not find it.
    assert [each["Key"] for each in request["TagSpecifications"][0]["Tags"]] == ["Name", "skylift:schedule"]


def test_a_network_without_subnets(job: Job) -> None:
    with pytest.raises(LaunchFailed, match="has no subnet"):
        template_request(job, Network("vpc-1", (), ("sg-1",), frozenset()), "key", ROLE, "ami-1", "#!data")


def test_the_schedule_calls_run_instances_with_nothing_but_template_and_tags() -> None:
    request = schedule_request("x", Recurrence("rate(1 day)", "Asia/Tokyo"), TEMPLATE, "arn:role", "skip", "run x.py")
    assert (request["GroupName"], request["Name"]) == ("skylift", "x")
    assert (request["ScheduleExpression"], request["ScheduleExpressionTimezone"]) == ("rate(1 day)", "Asia/Tokyo")
    assert request["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:ec2:runInstances"
    told = json.loads(request["Target"]["Input"])
    assert set(told) == {"LaunchTemplate", "MinCount", "MaxCount", "ClientToken", "TagSpecifications"}
    assert told["LaunchTemplate"] == {"LaunchTemplateId": TEMPLATE, "Version": "1"}
    assert told["ClientToken"] == f"{TEMPLATE}-<aws.scheduler.scheduled-time>"
    tags = {each["Key"]: each["Value"] for each in told["TagSpecifications"][0]["Tags"]}
    assert tags == {"Name": "skylift x", "skylift:job": "x/<aws.scheduler.scheduled-time>"}


def test_a_run_that_is_started_by_hand_is_tagged_alike() -> None:
    request = run_now_request("x", TEMPLATE, datetime(2026, 11, 28, 2, 0, 7, tzinfo=UTC))
    assert request["TagSpecifications"][0]["Tags"][1] == {"Key": "skylift:job", "Value": "x/2026-11-28T02:00:07Z"}
    assert len(request["ClientToken"]) <= 64


def test_the_scheduler_may_start_runs_of_this_template_and_pass_one_role() -> None:
    statements = scheduler_policy("x", TEMPLATE, "arn:role", "1", "eu-west-1")["Statement"]
    assert {each["Action"] for each in statements} == {"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"}
    for each in statements[:2]:
        assert each["Condition"]["ArnEquals"] == {
            "ec2:LaunchTemplate": f"arn:aws:ec2:eu-west-1:1:launch-template/{TEMPLATE}"
        }
        assert each["Condition"]["Bool"] == {"ec2:IsLaunchTemplateResource": "true"}
    assert statements[0]["Condition"]["StringLike"] == {"aws:RequestTag/skylift:job": "x/*"}
    assert statements[3]["Resource"] == "arn:role"
    assert not any(each["Resource"] == "*" for each in statements)
    trust = trust_in_scheduler("1", "eu-west-1", GROUP)["Statement"][0]
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "1"},
        "ArnLike": {"aws:SourceArn": "arn:aws:scheduler:eu-west-1:1:schedule-group/skylift"},
    }


def test_a_spot_run_has_one_server_and_the_scheduler_may_ask_for_it(job: Job) -> None:
    spot = replace(job, spot=Spot(max_price=0.01))
    data = template_request(spot, NETWORK, "skylift-abc", ROLE, "ami-1", "#!data")["LaunchTemplateData"]
    assert data["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {
            "SpotInstanceType": "one-time",
            "InstanceInterruptionBehavior": "terminate",
            "MaxPrice": "0.010000",
        },
    }
    assert "InstanceMarketOptions" not in template_request(job, NETWORK, "k", ROLE, "ami-1", "")["LaunchTemplateData"]
    usual = scheduler_policy("x", TEMPLATE, "arn:role", "1", "eu-west-1")["Statement"]
    allowed = scheduler_policy("x", TEMPLATE, "arn:role", "1", "eu-west-1", spot=True)["Statement"]
    (more,) = [each for each in allowed if each not in usual]
    assert (more["Action"], more["Resource"]) == (
        "ec2:RunInstances",
        "arn:aws:ec2:eu-west-1:1:spot-instances-request/*",
    )


def test_the_record_of_a_spot_schedule_names_no_next_server(job: Job) -> None:
    """A server that reads it claims the run once, and hands it to nobody."""
    spot = replace(job, spot=Spot())
    terms = schedule_terms(spot, "skip")
    stored = encode_record(spot, created=1.0, deadline=2, packs=[], schedule=terms)
    record = read_on_server(stored)
    assert (record.spot, record.fleet, record.schedule and record.schedule.spot) == (None, False, True)
    parsed = parse_record("record.json", stored)
    assert (parsed.spot, parsed.schedule) == (None, terms)


def test_servers_write_below_their_own_runs_and_no_record() -> None:
    policy = runs_policy("x", "b", "1", "eu-west-1", ["arn:aws:s3:::b/inputs/sha256/0"])
    writing = [each for each in policy["Statement"] if {"s3:PutObject", "s3:DeleteObject"} & set(_list(each["Action"]))]
    written = [resource for each in writing for resource in each["Resource"]]
    assert all("/server/" in each or each == "arn:aws:s3:::b/schedules/x/running.json" for each in written)
    assert all(
        each.startswith(("arn:aws:s3:::b/jobs/x-20??????-????", "arn:aws:s3:::b/schedules/x/")) for each in written
    )


def test_the_boundary_lets_no_server_change_what_a_schedule_runs() -> None:
    statements = boundary_policy("1")["Statement"]
    on_schedules = [each for each in statements if "/schedules/" in json.dumps(each["Resource"])]
    may = {
        (action, resource)
        for each in on_schedules
        for action in _list(each["Action"])
        for resource in _list(each["Resource"])
    }
    assert {resource for action, resource in may if action != "s3:GetObject"} == {
        "arn:aws:s3:::skylift-1-*/schedules/*/running.json"
    }


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value
