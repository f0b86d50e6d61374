from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged


def make(cloud: Cloud, name: str = "web", **data: Any) -> str:
    made = cloud.call(
        "CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData={"InstanceType": "t3.small", **data}
    )
    template_id: str = made["LaunchTemplate"]["LaunchTemplateId"]
    return template_id


def versions(cloud: Cloud, template_id: str, **params: Any) -> list[int]:
    found = cloud.call("DescribeLaunchTemplateVersions", LaunchTemplateId=template_id, **params)
    return [version["VersionNumber"] for version in found["LaunchTemplateVersions"]]


def launch(cloud: Cloud, template: dict[str, str], **params: Any) -> dict[str, Any]:
    answer = cloud.call("RunInstances", MinCount=1, MaxCount=1, LaunchTemplate=template, **params)
    instance: dict[str, Any] = answer["Instances"][0]
    return instance


def test_made_described_and_deleted(cloud: Cloud) -> None:
    answer = cloud.call(
        "CreateLaunchTemplate",
        LaunchTemplateName="web",
        VersionDescription="first",
        LaunchTemplateData={"InstanceType": "t3.small"},
        TagSpecifications=tagged("launch-template", job="a"),
        ClientToken="t",
    )
    template = answer["LaunchTemplate"]
    assert (template["DefaultVersionNumber"], template["LatestVersionNumber"]) == (1, 1)
    assert template["CreatedBy"] == cloud.caller.arn
    for asked in (
        {"LaunchTemplateIds": [template["LaunchTemplateId"]]},
        {"LaunchTemplateNames": ["web"]},
        {"Filters": filters(**{"tag:job": "a"})},
        {"Filters": filters(launch_template_name="w*")},
    ):
        assert cloud.call("DescribeLaunchTemplates", **asked)["LaunchTemplates"] == [template]
    (tag,) = cloud.call("DescribeTags", Filters=filters(resource_type="launch-template"))["Tags"]
    assert tag["ResourceId"] == template["LaunchTemplateId"]
    assert cloud.call("DeleteLaunchTemplate", LaunchTemplateName="web")["LaunchTemplate"] == template
    assert cloud.call("DescribeLaunchTemplates")["LaunchTemplates"] == []
    unknown = cloud.code("DescribeLaunchTemplates", LaunchTemplateIds=[template["LaunchTemplateId"]])
    assert unknown == "InvalidLaunchTemplateId.NotFound"


def test_names(cloud: Cloud) -> None:
    make(cloud)
    wanted: dict[str, Any] = {"LaunchTemplateData": {"InstanceType": "t3.small"}}
    taken = cloud.code("CreateLaunchTemplate", LaunchTemplateName="web", **wanted)
    assert taken == "InvalidLaunchTemplateName.AlreadyExistsException"
    bad = cloud.code("CreateLaunchTemplate", LaunchTemplateName="a b c", **wanted)
    assert bad == "InvalidLaunchTemplateName.MalformedException"
    nobody = cloud.code("DeleteLaunchTemplate", LaunchTemplateName="nobody")
    assert nobody == "InvalidLaunchTemplateName.NotFoundException"
    assert cloud.code("DeleteLaunchTemplate") == "MissingParameter"
    refusal = cloud.refusal("DeleteLaunchTemplate", LaunchTemplateId="lt-0123456789abcdef0")
    assert refusal.code == "InvalidLaunchTemplateId.NotFound"
    assert refusal.message == "The specified launch template, with template ID lt-0123456789abcdef0, does not exist."


def test_a_template_has_data_and_its_user_data_is_base64(cloud: Cloud) -> None:
    """LocalStack's test_raise_when_launch_template_data_missing, validated against AWS; the sentence is in issue 453 of
    awsdocs/aws-cloudformation-user-guide."""
    empty = cloud.refusal("CreateLaunchTemplate", LaunchTemplateName="empty", LaunchTemplateData={})
    assert (empty.code, empty.message) == (
        "MissingParameter",
        "No launch template data was provided. Launch template data is required to create a launch template.",
    )
    made = make(cloud, UserData="aGVsbG8=")
    for bad in ("not base64!", "a"):
        data = {"LaunchTemplateData": {"UserData": bad}}
        assert cloud.code("CreateLaunchTemplate", LaunchTemplateName="bad", **data) == "InvalidUserData.Malformed"
        code = cloud.code("CreateLaunchTemplateVersion", LaunchTemplateId=made, **data)
        assert code == "InvalidUserData.Malformed"
    cloud.call("CreateLaunchTemplateVersion", LaunchTemplateId=made, SourceVersion="1", LaunchTemplateData={})


def test_what_no_launch_could_have_is_refused_by_name(cloud: Cloud) -> None:
    asked = {"LaunchTemplateName": "web", "LaunchTemplateData": {"CpuOptions": {"CoreCount": 1}}}
    refusal = cloud.refusal("CreateLaunchTemplate", **asked)
    assert "LaunchTemplateData.CpuOptions.CoreCount" in refusal.message
    encrypted = [{"DeviceName": "/dev/sdf", "Ebs": {"Encrypted": True}}]
    sealed = {"LaunchTemplateName": "web", "LaunchTemplateData": {"BlockDeviceMappings": encrypted}}
    assert cloud.code("CreateLaunchTemplate", **sealed) == "UnsupportedOperation"


def test_versions(cloud: Cloud) -> None:
    template_id = make(cloud, KeyName="old")
    add = {"LaunchTemplateId": template_id, "LaunchTemplateData": {"InstanceType": "t3.large"}}
    second = cloud.call("CreateLaunchTemplateVersion", **add, SourceVersion="1", VersionDescription="larger")
    version = second["LaunchTemplateVersion"]
    assert (version["VersionNumber"], version["DefaultVersion"]) == (2, False)
    assert version["LaunchTemplateData"] == {"InstanceType": "t3.large", "KeyName": "old"}
    third = cloud.call("CreateLaunchTemplateVersion", **add, ClientToken="t")["LaunchTemplateVersion"]
    assert third["LaunchTemplateData"] == {"InstanceType": "t3.large"}
    assert cloud.call("CreateLaunchTemplateVersion", **add, ClientToken="t")["LaunchTemplateVersion"] == third
    assert versions(cloud, template_id) == [3, 2, 1]
    assert versions(cloud, template_id, Versions=["$Default", "2"]) == [1, 2]
    assert versions(cloud, template_id, MinVersion="2") == [3, 2]
    assert versions(cloud, template_id, MaxVersion="2") == [2, 1]
    assert versions(cloud, template_id, Filters=filters(instance_type="t3.large")) == [3, 2]
    assert versions(cloud, template_id, Filters=filters(is_default_version="true")) == [1]
    page = cloud.call("DescribeLaunchTemplateVersions", LaunchTemplateId=template_id, MaxResults=2)
    assert versions(cloud, template_id, NextToken=page["NextToken"]) == [3]
    every = cloud.call("DescribeLaunchTemplateVersions", Versions=["$Latest"])["LaunchTemplateVersions"]
    assert [one["VersionNumber"] for one in every] == [3]
    assert cloud.code("DescribeLaunchTemplateVersions") == "MissingParameter"
    missing = cloud.code("DescribeLaunchTemplateVersions", LaunchTemplateId=template_id, Versions=["9"])
    assert missing == "InvalidLaunchTemplateId.VersionNotFound"


def test_deleting_versions(cloud: Cloud) -> None:
    template_id = make(cloud)
    add = {"LaunchTemplateId": template_id, "LaunchTemplateData": {"InstanceType": "t3.large"}}
    cloud.call("CreateLaunchTemplateVersion", **add)
    answer = cloud.call("DeleteLaunchTemplateVersions", LaunchTemplateId=template_id, Versions=["1", "2", "7"])
    done = answer["SuccessfullyDeletedLaunchTemplateVersions"]
    undone = answer["UnsuccessfullyDeletedLaunchTemplateVersions"]
    assert [one["VersionNumber"] for one in done] == [2]
    assert [(one["VersionNumber"], one["ResponseError"]["Code"]) for one in undone] == [
        (1, "unexpectedError"),
        (7, "launchTemplateVersionDoesNotExist"),
    ]
    again = cloud.call("CreateLaunchTemplateVersion", **add)["LaunchTemplateVersion"]
    assert again["VersionNumber"] == 3
    (template,) = cloud.call("DescribeLaunchTemplates")["LaunchTemplates"]
    assert template["LatestVersionNumber"] == 3


def test_the_default_version(cloud: Cloud) -> None:
    template_id = make(cloud)
    add = {"LaunchTemplateId": template_id, "LaunchTemplateData": {"InstanceType": "t3.large"}}
    cloud.call("CreateLaunchTemplateVersion", **add)
    change = {"LaunchTemplateId": template_id, "DefaultVersion": "2", "ClientToken": "t"}
    assert cloud.call("ModifyLaunchTemplate", **change)["LaunchTemplate"]["DefaultVersionNumber"] == 2
    assert cloud.call("ModifyLaunchTemplate", **change)["LaunchTemplate"]["DefaultVersionNumber"] == 2
    assert cloud.code("ModifyLaunchTemplate", LaunchTemplateId=template_id) == "MissingParameter"
    unknown = cloud.code("ModifyLaunchTemplate", LaunchTemplateId=template_id, DefaultVersion="3")
    assert unknown == "InvalidLaunchTemplateId.VersionNotFound"


def test_a_launch_takes_what_the_request_does_not_say(cloud: Cloud) -> None:
    template_id = make(
        cloud,
        ImageId=cloud.image_id,
        UserData="aGVsbG8=",
        DisableApiTermination=True,
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}],
        TagSpecifications=tagged("instance", job="a", team="b"),
        MetadataOptions={"HttpTokens": "optional"},
    )
    tags = tagged("instance", job="mine") + tagged("volume", disk="c")
    instance = launch(cloud, {"LaunchTemplateName": "web"}, InstanceType="t3.large", TagSpecifications=tags)
    assert instance["InstanceType"] == "t3.large"
    assert instance["MetadataOptions"]["HttpTokens"] == "optional"
    row = cloud.row(instance["InstanceId"])
    assert (row.user_data, row.termination_protected) == ("aGVsbG8=", True)
    assert row.tags == {
        "job": "mine",
        "team": "b",
        "aws:ec2launchtemplate:id": template_id,
        "aws:ec2launchtemplate:version": "1",
    }
    (volume,) = cloud.call("DescribeVolumes")["Volumes"]
    assert volume["Tags"] == [{"Key": "disk", "Value": "c"}]


def test_the_clouds_own_tags_stay(cloud: Cloud) -> None:
    make(cloud, ImageId=cloud.image_id)
    instance_id = launch(cloud, {"LaunchTemplateName": "web"}, TagSpecifications=tagged("instance", a="b"))[
        "InstanceId"
    ]
    own = [{"Key": "aws:ec2launchtemplate:version"}]
    assert cloud.code("DeleteTags", Resources=[instance_id], Tags=own) == "InvalidParameterValue"
    cloud.call("DeleteTags", Resources=[instance_id])
    assert sorted(cloud.row(instance_id).tags) == ["aws:ec2launchtemplate:id", "aws:ec2launchtemplate:version"]


def test_a_launch_of_a_version(cloud: Cloud) -> None:
    template_id = make(cloud, ImageId=cloud.image_id)
    add = {"LaunchTemplateId": template_id, "LaunchTemplateData": {"InstanceType": "t3.large"}}
    cloud.call("CreateLaunchTemplateVersion", **add, SourceVersion="$Latest")
    for version, kind in (("1", "t3.small"), ("2", "t3.large"), ("$Latest", "t3.large"), ("$Default", "t3.small")):
        template = {"LaunchTemplateId": template_id, "Version": version}
        assert launch(cloud, template)["InstanceType"] == kind
    for version, code in (("3", "InvalidLaunchTemplateId.VersionNotFound"), ("new", "InvalidParameterValue")):
        template = {"LaunchTemplateId": template_id, "Version": version}
        assert cloud.code("RunInstances", MinCount=1, MaxCount=1, LaunchTemplate=template) == code


def test_the_same_launch_again_is_the_same_after_its_template_is_gone(cloud: Cloud) -> None:
    template_id = make(cloud, ImageId=cloud.image_id)
    template = {"LaunchTemplateId": template_id}
    first = launch(cloud, template, ClientToken="t")
    assert launch(cloud, template, ClientToken="t")["InstanceId"] == first["InstanceId"]


def test_a_launch_is_checked_for_what_its_template_says(cloud: Cloud) -> None:
    template_id = make(cloud, ImageId=cloud.image_id)
    asked: dict[str, Any] = {"MinCount": 1, "MaxCount": 1, "LaunchTemplate": {"LaunchTemplateId": template_id}}
    checks = cloud.checks("RunInstances", **asked)
    assert checks[0].resource.endswith(f"launch-template/{template_id}")
    instance = next(check for check in checks if check.resource.endswith("instance/*"))
    assert instance.context is not None
    assert instance.context["ec2:InstanceType"] == "t3.small"
    assert any(check.resource.endswith(cloud.image_id) for check in checks)


@pytest.mark.parametrize("public", [True, False])
def test_data_of_an_instance_launch_another_like_it(cloud: Cloud, public: bool) -> None:
    interfaces = [{"DeviceIndex": 0, "AssociatePublicIpAddress": public}]
    instance = cloud.run(NetworkInterfaces=interfaces, UserData="aGVsbG8=", TagSpecifications=tagged("instance", a="b"))
    data = cloud.call("GetLaunchTemplateData", InstanceId=instance["InstanceId"])["LaunchTemplateData"]
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="like-it", LaunchTemplateData=data)
    other = launch(cloud, {"LaunchTemplateName": "like-it"})
    assert other["SubnetId"] == instance["SubnetId"]
    assert ("PublicIpAddress" in other) == public
    assert cloud.row(other["InstanceId"]).user_data == "aGVsbG8="
