"""EventBridge Scheduler, as boto3 speaks to it: paths, query strings, documents, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import Cloud

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@pytest.fixture
def request_of(cloud: Cloud) -> dict[str, Any]:
    made = cloud.client("iam").create_role(RoleName="runs", AssumeRolePolicyDocument=json.dumps(TRUST))
    arn = "arn:aws:scheduler:::aws-sdk:ec2:runInstances"
    return {
        "Name": "a.b-c_d",
        "ScheduleExpression": "cron(0 2 * * ? *)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": arn, "RoleArn": made["Role"]["Arn"], "Input": '{"MinCount": 1}'},
    }


def test_a_schedule_is_made_shown_changed_listed_and_removed(cloud: Cloud, request_of: dict[str, Any]) -> None:
    scheduler = cloud.client("scheduler")
    group = scheduler.create_schedule_group(Name="batch", Tags=[{"Key": "a", "Value": "1 & 2"}])["ScheduleGroupArn"]
    end = datetime(2199, 1, 1, 12, 30, tzinfo=UTC)
    made = scheduler.create_schedule(GroupName="batch", EndDate=end, **request_of)
    assert made["ScheduleArn"].endswith(":schedule/batch/a.b-c_d")
    found = scheduler.get_schedule(Name="a.b-c_d", GroupName="batch")
    assert (found["EndDate"], found["Target"]["Input"]) == (end, '{"MinCount": 1}')
    scheduler.update_schedule(GroupName="batch", State="DISABLED", **request_of)
    pages = scheduler.get_paginator("list_schedules").paginate(GroupName="batch", PaginationConfig={"PageSize": 1})
    assert [one["State"] for one in pages.build_full_result()["Schedules"]] == ["DISABLED"]
    scheduler.tag_resource(ResourceArn=group, Tags=[{"Key": "b c", "Value": "2"}])
    scheduler.untag_resource(ResourceArn=group, TagKeys=["a", "none"])
    assert scheduler.list_tags_for_resource(ResourceArn=group)["Tags"] == [{"Key": "b c", "Value": "2"}]
    scheduler.delete_schedule(Name="a.b-c_d", GroupName="batch")
    scheduler.delete_schedule_group(Name="batch")
    assert [one["Name"] for one in scheduler.list_schedule_groups()["ScheduleGroups"]] == ["default"]


def test_errors_are_those_that_boto3_has_classes_for(cloud: Cloud, request_of: dict[str, Any]) -> None:
    scheduler = cloud.client("scheduler")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException, match="Schedule none does not exist") as gone:
        scheduler.get_schedule(Name="none")
    assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    scheduler.create_schedule(**request_of)
    with pytest.raises(scheduler.exceptions.ConflictException) as taken:
        scheduler.create_schedule(**request_of)
    assert taken.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    wrong = {**request_of, "Name": "no spaces", "ScheduleExpression": "hourly"}
    with pytest.raises(scheduler.exceptions.ValidationException, match="regular expression pattern"):
        scheduler.create_schedule(**wrong)
    with pytest.raises(scheduler.exceptions.ValidationException, match="Invalid Schedule Expression hourly"):
        scheduler.create_schedule(**{**wrong, "Name": "hourly"})


def test_others_are_refused(cloud: Cloud, request_of: dict[str, Any]) -> None:
    cloud.client("iam").create_user(UserName="somebody")
    key = cloud.client("iam").create_access_key(UserName="somebody")["AccessKey"]
    poor = replace(cloud, key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    for caller, code in (
        (poor, "AccessDeniedException"),
        (replace(cloud, secret="wrong"), "InvalidSignatureException"),
        (replace(cloud, key="AKIANOBODY"), "UnrecognizedClientException"),
    ):
        with pytest.raises(ClientError) as caught:
            caller.client("scheduler").create_schedule(**request_of)
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
