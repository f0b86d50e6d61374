"""Values that Python reads otherwise than AWS does, or not at all."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ec2_fixtures import Cloud

TOO_LONG = "9" * 5000
"""More digits than Python makes a number of."""


@pytest.mark.parametrize("version", ["9" * 20, TOO_LONG, "٣", "-1", "1.0", ""])
def test_numbers_of_versions(cloud: Cloud, version: str) -> None:
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="lt-name", LaunchTemplateData=data)
    named: dict[str, Any] = {"LaunchTemplateName": "lt-name"}
    assert cloud.code("ModifyLaunchTemplate", **named, DefaultVersion=version) in (
        "InvalidParameterValue",
        "MissingParameter",
    )
    assert cloud.code("DeleteLaunchTemplateVersions", **named, Versions=[version]) == "InvalidParameterValue"
    assert cloud.code("DescribeLaunchTemplateVersions", **named, MinVersion=version) == "InvalidParameterValue"


@pytest.mark.parametrize("protocol", [TOO_LONG, "٣", "²", "256", "-2", "1e1"])
def test_numbers_of_protocols(cloud: Cloud, protocol: str) -> None:
    group, acl = cloud.default("group")["GroupId"], cloud.call("DescribeNetworkAcls")["NetworkAcls"][0]
    rule = {"IpProtocol": protocol, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    assert cloud.code("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[rule]) == "InvalidParameterValue"
    entry = {"RuleNumber": 7, "RuleAction": "allow", "Egress": False, "CidrBlock": "10.0.0.0/8"}
    asked = {"NetworkAclId": acl["NetworkAclId"], "Protocol": protocol, **entry}
    assert cloud.code("CreateNetworkAclEntry", **asked) == "InvalidParameterValue"


def test_a_token_that_is_nested_deeply(cloud: Cloud) -> None:
    token = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    assert cloud.code("DescribeVpcs", NextToken=token) == "InvalidPaginationToken"
