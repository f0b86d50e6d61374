"""What an account's instances have for metadata options where their launch does not say."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud


def options(cloud: Cloud, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = cloud.run(**({"MetadataOptions": asked} if asked else {}))["MetadataOptions"]
    return found


def test_without_preferences_nothing_is_shown(cloud: Cloud) -> None:
    assert cloud.call("GetInstanceMetadataDefaults") == {"AccountLevel": {}}


def test_a_launch_goes_before_the_account_and_the_account_before_the_image(cloud: Cloud) -> None:
    before = cloud.run()["InstanceId"]
    asked = {"HttpTokens": "optional", "HttpPutResponseHopLimit": 5, "InstanceMetadataTags": "enabled"}
    assert cloud.call("ModifyInstanceMetadataDefaults", **asked) == {"Return": True}
    assert cloud.call("GetInstanceMetadataDefaults")["AccountLevel"] == asked
    plain, own = options(cloud), options(cloud, HttpTokens="required", HttpEndpoint="disabled")
    assert (plain["HttpTokens"], plain["HttpPutResponseHopLimit"], plain["HttpEndpoint"]) == ("optional", 5, "enabled")
    assert (own["HttpTokens"], own["HttpPutResponseHopLimit"], own["HttpEndpoint"]) == ("required", 5, "disabled")
    assert cloud.instance(before)["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    cloud.call("ModifyInstanceMetadataDefaults", HttpTokens="no-preference", HttpPutResponseHopLimit=-1)
    assert cloud.call("GetInstanceMetadataDefaults")["AccountLevel"] == {"InstanceMetadataTags": "enabled"}
    assert options(cloud)["HttpTokens"] == "required"


def test_policies_see_what_the_launch_comes_to(cloud: Cloud) -> None:
    cloud.call("ModifyInstanceMetadataDefaults", HttpTokens="optional")
    run = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    tokens = [
        (check.context or {}).get("ec2:MetadataHttpTokens")
        for check in cloud.checks("RunInstances", **run)
        if ":instance/" in check.resource
    ]
    assert tokens == ["optional"]


def test_enforced_means_that_nothing_answers_without_a_token(cloud: Cloud) -> None:
    loose = cloud.run(MetadataOptions={"HttpTokens": "optional"})["InstanceId"]
    tight = cloud.run()["InstanceId"]
    cloud.call("ModifyInstanceMetadataDefaults", HttpTokensEnforced="enabled")
    run = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert cloud.code("RunInstances", **run, MetadataOptions={"HttpTokens": "optional"}) == "UnsupportedOperation"
    change = {"InstanceId": tight, "HttpTokens": "optional"}
    assert cloud.code("ModifyInstanceMetadataOptions", **change) == "UnsupportedOperation"
    # What was so before stays so, whatever else of it changes.
    cloud.call("ModifyInstanceMetadataOptions", InstanceId=loose, HttpPutResponseHopLimit=1)
    cloud.call("ModifyInstanceMetadataOptions", InstanceId=loose, HttpTokens="required")
    cloud.call("ModifyInstanceMetadataDefaults", HttpTokensEnforced="disabled")
    cloud.call("ModifyInstanceMetadataOptions", **change)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "MissingParameter"),
        ({"HttpTokens": "maybe"}, "InvalidParameterValue"),
        ({"HttpPutResponseHopLimit": 0}, "InvalidParameterValue"),
        ({"HttpPutResponseHopLimit": 65}, "InvalidParameterValue"),
        ({"HttpTokens": "optional", "DryRun": True}, "DryRunOperation"),
    ],
)
def test_what_is_refused_changes_nothing(cloud: Cloud, asked: dict[str, Any], code: str) -> None:
    assert cloud.code("ModifyInstanceMetadataDefaults", **asked) == code
    assert cloud.call("GetInstanceMetadataDefaults") == {"AccountLevel": {}}


def test_policies_see_what_is_changed(cloud: Cloud) -> None:
    (check,) = cloud.checks("ModifyInstanceMetadataDefaults", HttpTokens="required")
    assert (check.resource, check.context) == (
        "*",
        {"ec2:Region": "us-east-1", "ec2:Attribute": ("HttpTokens",), "ec2:Attribute/HttpTokens": "required"},
    )
