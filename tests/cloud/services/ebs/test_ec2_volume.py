from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import Volume

ZONE = "us-east-1a"


def made(cloud: Cloud, **wanted: Any) -> str:
    """A volume that is available."""
    volume = cloud.call("CreateVolume", **{"AvailabilityZone": ZONE, "Size": 10, **wanted})["VolumeId"]
    change(cloud, volume, state="available")
    return str(volume)


def change(cloud: Cloud, volume: str, **changes: Any) -> None:
    """What loops write down."""
    with cloud.database.write() as tx:
        row = tx.get(Volume, id=volume)
        assert row is not None
        tx.save(replace(row, **changes))


def described(cloud: Cloud, volume: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.call("DescribeVolumes", VolumeIds=[volume])["Volumes"][0]
    return found


def server(cloud: Cloud, **wanted: Any) -> str:
    """A server in the zone of the volumes, that runs."""
    instance = cloud.run(Placement={"AvailabilityZone": ZONE}, **wanted)["InstanceId"]
    cloud.observe(instance, "running")
    return str(instance)


def test_a_volume_is_made_once_with_its_type(cloud: Cloud) -> None:
    asked = {
        "AvailabilityZone": ZONE,
        "Size": 20,
        "VolumeType": "gp3",
        "Iops": 4000,
        "ClientToken": "t",
        "TagSpecifications": tagged("volume", name="data"),
    }
    volume = cloud.call("CreateVolume", **asked)
    assert cloud.call("CreateVolume", **asked)["VolumeId"] == volume["VolumeId"]
    assert cloud.code("CreateVolume", **{**asked, "Size": 21}) == "IdempotentParameterMismatch"
    assert (volume["State"], volume["Iops"], volume["Throughput"], volume["Attachments"]) == ("creating", 4000, 125, [])
    assert described(cloud, volume["VolumeId"])["Tags"] == [{"Key": "name", "Value": "data"}]
    assert cloud.call("DescribeTags")["Tags"][0]["ResourceType"] == "volume"
    found = cloud.call("DescribeVolumes", Filters=filters(status="creating", volume_type="gp3", size="20"))["Volumes"]
    assert [one["VolumeId"] for one in found] == [volume["VolumeId"]]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"Size": None}, "MissingParameter"),
        # As AWS said it in hashicorp/terraform#6110.
        ({"AvailabilityZone": "us-east-1z"}, "InvalidZone.NotFound"),
        ({"AvailabilityZone": None}, "MissingParameter"),
        ({"Size": 0}, "InvalidParameterValue"),
        ({"Size": 65537}, "InvalidParameterValue"),
        ({"VolumeType": "st1"}, "InvalidParameterValue"),
        ({"VolumeType": "gp4"}, "InvalidParameterValue"),
        ({"VolumeType": "gp2", "Iops": 3000}, "InvalidParameterCombination"),
        ({"VolumeType": "gp2", "Throughput": 200}, "InvalidParameterCombination"),
        ({"VolumeType": "io1"}, "MissingParameter"),
        ({"VolumeType": "io1", "Iops": 1000}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Iops": 100}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Throughput": 1000}, "InvalidParameterValue"),
        ({"Encrypted": True}, "UnsupportedOperation"),
        ({"MultiAttachEnabled": True}, "UnsupportedOperation"),
        ({"KmsKeyId": "alias/aws/ebs"}, "UnsupportedOperation"),
        ({"SnapshotId": "snap-00000000000000000"}, "InvalidSnapshot.NotFound"),
        ({"SnapshotId": "snapshot"}, "InvalidSnapshotID.Malformed"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_volumes_that_cannot_be(cloud: Cloud, params: dict[str, Any], code: str) -> None:
    asked = {"AvailabilityZone": ZONE, "Size": 10, **params}
    assert cloud.code("CreateVolume", **{name: value for name, value in asked.items() if value is not None}) == code
    assert cloud.call("DescribeVolumes")["Volumes"] == []


def test_a_volume_is_attached_and_detached(cloud: Cloud) -> None:
    volume, instance = made(cloud), server(cloud)
    answer = cloud.call("AttachVolume", VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    assert (answer["State"], answer["Device"], answer["DeleteOnTermination"]) == ("attaching", "/dev/sdf", False)
    assert described(cloud, volume)["State"] == "in-use"
    assert cloud.code("AttachVolume", VolumeId=volume, InstanceId=instance, Device="/dev/sdg") == "VolumeInUse"
    assert cloud.code("DeleteVolume", VolumeId=volume) == "VolumeInUse"
    devices = cloud.instance(instance)["BlockDeviceMappings"]
    assert [(one["DeviceName"], one["Ebs"]["Status"]) for one in devices] == [
        ("/dev/xvda", "attached"),
        ("/dev/sdf", "attaching"),
    ]
    change(cloud, volume, attachment="attached")
    assert cloud.code("DetachVolume", VolumeId=volume, Device="/dev/sdg") == "InvalidAttachment.NotFound"
    assert cloud.code("DetachVolume", VolumeId=volume, InstanceId=server(cloud)) == "InvalidAttachment.NotFound"
    assert cloud.call("DetachVolume", VolumeId=volume, InstanceId=instance)["State"] == "detaching"
    change(cloud, volume, attachment="busy")
    assert cloud.call("DetachVolume", VolumeId=volume, Force=True)["State"] == "busy"
    assert cloud.instance(instance)["BlockDeviceMappings"][1]["Ebs"]["Status"] == "detaching"


def test_attachments_that_cannot_be(cloud: Cloud) -> None:
    volume, instance = made(cloud), server(cloud)
    asked = {"VolumeId": volume, "InstanceId": instance, "Device": "/dev/sdf"}
    assert cloud.code("DetachVolume", VolumeId=volume) == "IncorrectState"
    assert cloud.code("AttachVolume", **{**asked, "Device": "disk"}) == "InvalidParameterValue"
    assert cloud.code("AttachVolume", **{**asked, "Device": "/dev/xvda"}) == "InvalidParameterValue"
    elsewhere = made(cloud, AvailabilityZone="us-east-1b")
    assert cloud.code("AttachVolume", **{**asked, "VolumeId": elsewhere}) == "InvalidVolume.ZoneMismatch"
    cloud.call("AttachVolume", **asked)
    assert "already in use" in cloud.refusal("AttachVolume", **{**asked, "VolumeId": made(cloud)}).message
    cloud.observe(instance, "stopping")
    assert cloud.code("AttachVolume", **{**asked, "VolumeId": made(cloud)}) == "IncorrectState"
    root = cloud.instance(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert cloud.code("DetachVolume", VolumeId=root) == "OperationNotPermitted"
    cloud.observe(instance, "stopped")
    assert cloud.code("DetachVolume", VolumeId=root) == "UnsupportedOperation"


def test_volumes_outlive_their_instance_unless_they_were_told_otherwise(cloud: Cloud) -> None:
    mappings = [
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5}},
        {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 6, "DeleteOnTermination": False, "VolumeType": "gp3"}},
    ]
    instance = server(cloud, BlockDeviceMappings=mappings, TagSpecifications=tagged("volume", of="launch"))
    volumes = cloud.call("DescribeVolumes", Filters=filters(**{"tag:of": "launch"}))["Volumes"]
    assert [(one["Size"], one["VolumeType"], one["State"]) for one in volumes] == [
        (8, "gp3", "in-use"),
        (5, "gp2", "creating"),
        (6, "gp3", "creating"),
    ]
    for volume in volumes[1:]:
        change(cloud, volume["VolumeId"], state="in-use", attachment="attached")
    cloud.call(
        "ModifyInstanceAttribute",
        InstanceId=instance,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"DeleteOnTermination": False}}],
    )
    later = made(cloud)
    cloud.call("AttachVolume", VolumeId=later, InstanceId=instance, Device="/dev/sdd")
    cloud.call(
        "ModifyInstanceAttribute",
        InstanceId=instance,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdd", "Ebs": {"DeleteOnTermination": True}}],
    )
    asked = [{"DeviceName": "/dev/sde", "Ebs": {"DeleteOnTermination": True}}]
    code = cloud.code("ModifyInstanceAttribute", InstanceId=instance, BlockDeviceMappings=asked)
    assert code == "InvalidInstanceAttributeValue"
    cloud.observe(instance, "terminated")
    states = {one["VolumeId"]: (one["State"], one["Attachments"]) for one in cloud.call("DescribeVolumes")["Volumes"]}
    assert states == {
        volumes[0]["VolumeId"]: ("deleting", []),
        volumes[1]["VolumeId"]: ("available", []),
        volumes[2]["VolumeId"]: ("available", []),
        later: ("deleting", []),
    }
    assert cloud.instance(instance)["BlockDeviceMappings"] == []


def test_a_volume_is_modified(cloud: Cloud) -> None:
    volume = made(cloud, VolumeType="gp2")
    assert cloud.code("ModifyVolume", VolumeId=volume) == "MissingParameter"
    assert cloud.code("ModifyVolume", VolumeId=volume, Size=9) == "InvalidParameterValue"
    assert cloud.code("DescribeVolumesModifications", VolumeIds=[volume]) == "InvalidVolumeModification.NotFound"
    answer = cloud.call("ModifyVolume", VolumeId=volume, Size=20, VolumeType="gp3", Iops=6000)["VolumeModification"]
    assert (answer["ModificationState"], answer["OriginalSize"], answer["TargetSize"]) == ("modifying", 10, 20)
    assert (answer["TargetIops"], answer["OriginalIops"], answer["TargetThroughput"]) == (6000, 100, 125)
    assert cloud.code("ModifyVolume", VolumeId=volume, Size=30) == "IncorrectModificationState"
    assert described(cloud, volume)["Size"] == 10
    found = cloud.call("DescribeVolumesModifications", Filters=filters(modification_state="modifying"))
    assert [one["VolumeId"] for one in found["VolumesModifications"]] == [volume]
    root = cloud.instance(server(cloud))["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert cloud.code("ModifyVolume", VolumeId=root, Size=7) == "InvalidParameterValue"
    assert cloud.call("ModifyVolume", VolumeId=root, Iops=4000)["VolumeModification"]["TargetIops"] == 4000


def test_health_and_the_attribute(cloud: Cloud) -> None:
    volume = made(cloud)
    (status,) = cloud.call("DescribeVolumeStatus", VolumeIds=[volume])["VolumeStatuses"]
    assert status["VolumeStatus"]["Status"] == "ok"
    change(cloud, volume, state="error")
    found = cloud.call("DescribeVolumeStatus", Filters=filters(**{"volume-status.status": "impaired"}))
    assert [one["VolumeId"] for one in found["VolumeStatuses"]] == [volume]
    cloud.call("ModifyVolumeAttribute", VolumeId=volume, AutoEnableIO={"Value": True})
    shown = cloud.call("DescribeVolumeAttribute", VolumeId=volume, Attribute="autoEnableIO")
    assert shown["AutoEnableIO"] == {"Value": True}
    cloud.call("EnableVolumeIO", VolumeId=volume)
    cloud.call("DeleteVolume", VolumeId=volume)
    assert described(cloud, volume)["State"] == "deleting"


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ({"DeviceName": "/dev/sdb", "Ebs": {}}, "MissingParameter"),
        ({"Ebs": {"VolumeSize": 1}}, "MissingParameter"),
        ({"DeviceName": "/dev/xvda", "NoDevice": ""}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "sc1"}}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-00000000"}}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1, "VolumeType": "io1"}}, "InvalidParameterValue"),
        ({"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}, "UnsupportedOperation"),
    ],
)
def test_mappings_that_cannot_be(cloud: Cloud, mapping: dict[str, Any], code: str) -> None:
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert cloud.code("RunInstances", **asked, BlockDeviceMappings=[mapping]) == code


def test_a_mapping_as_dask_sends_it_makes_a_volume_beside_the_root(cloud: Cloud) -> None:
    """dask-cloudprovider's EC2Cluster always maps /dev/sda1. Where the root is /dev/xvda, as of Amazon Linux, AWS makes
    one volume more; and a VirtualName beside Ebs says nothing.

    https://github.com/loft-sh/devpod-provider-aws/issues/25 saw it there.
    """
    mapping = {"DeviceName": "/dev/sda1", "VirtualName": "sda1", "Ebs": {"VolumeSize": 40, "VolumeType": "gp2"}}
    instance = cloud.run(BlockDeviceMappings=[mapping])
    with cloud.database.read() as tx:
        volumes = {one.device: one.size_gib for one in tx.find(Volume, instance_id=instance["InstanceId"])}
    assert volumes.keys() == {"/dev/xvda", "/dev/sda1"}
    assert volumes["/dev/sda1"] == 40
    assert instance["RootDeviceName"] == "/dev/xvda"
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "BlockDeviceMappings": [mapping]}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="dask", LaunchTemplateData=data)
    version = cloud.call("DescribeLaunchTemplateVersions", LaunchTemplateName="dask")["LaunchTemplateVersions"][0]
    assert version["LaunchTemplateData"]["BlockDeviceMappings"] == [mapping]


def test_a_device_stands_once_in_a_mapping_and_an_instance_has_28_at_most(cloud: Cloud) -> None:
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    twice = [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}] * 2
    assert cloud.code("RunInstances", **asked, BlockDeviceMappings=twice) == "InvalidBlockDeviceMapping"
    many = [{"DeviceName": f"/dev/xvdb{letter}", "Ebs": {"VolumeSize": 1}} for letter in "abcdefghijklmnopqrstuvwxyz"]
    many += [{"DeviceName": f"/dev/sd{letter}", "Ebs": {"VolumeSize": 1}} for letter in "bc"]
    assert cloud.code("RunInstances", **asked, BlockDeviceMappings=many) == "AttachmentLimitExceeded"


def test_what_a_caller_must_be_allowed_to(cloud: Cloud) -> None:
    here = "arn:aws:ec2:us-east-1:123456789012:"
    (check,) = cloud.checks("CreateVolume", AvailabilityZone=ZONE, Size=7, VolumeType="gp3", Iops=3000)
    assert (check.action, check.resource) == ("ec2:CreateVolume", f"{here}volume/*")
    context = dict(check.context or {})
    assert context["ec2:VolumeSize"] == "7"
    assert (context["ec2:VolumeType"], context["ec2:VolumeIops"], context["ec2:Encrypted"]) == ("gp3", "3000", "false")
    assert context["ec2:AvailabilityZone"] == ZONE
    volume, instance = made(cloud, TagSpecifications=tagged("volume", team="a")), server(cloud)
    checks = cloud.checks("AttachVolume", VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    assert [check.resource for check in checks] == [f"{here}volume/{volume}", f"{here}instance/{instance}"]
    assert dict(checks[0].context or {})["aws:ResourceTag/team"] == "a"
    cloud.call("AttachVolume", VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    checks = cloud.checks("DetachVolume", VolumeId=volume)
    assert [check.resource for check in checks] == [f"{here}volume/{volume}", f"{here}instance/{instance}"]
    mappings = [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 9}}]
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    sizes = [
        dict(check.context or {}).get("ec2:VolumeSize")
        for check in cloud.checks("RunInstances", **asked, BlockDeviceMappings=mappings)
        if check.resource == f"{here}volume/*"
    ]
    assert sizes == ["8", "9"]


def test_a_root_volume_of_the_size_that_was_asked_for(cloud: Cloud) -> None:
    def root(instance: str) -> dict[str, Any]:
        volume_id = cloud.instance(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        found: dict[str, Any] = cloud.call("DescribeVolumes", VolumeIds=[volume_id])["Volumes"][0]
        return found

    disk = {"VolumeSize": 20, "DeleteOnTermination": False}
    instance = cloud.run(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": disk}])["InstanceId"]
    assert (root(instance)["Size"], root(instance)["Attachments"][0]["DeleteOnTermination"]) == (20, False)
    with cloud.database.read() as tx:
        (row,) = tx.find(Volume)
    assert (row.root, row.state) == (True, "in-use")
    cloud.observe(instance, "running")
    cloud.call("ModifyVolume", VolumeId=row.id, Size=30)
    # Servers of an image of it have as much.
    image = cloud.call("CreateImage", InstanceId=instance, Name="large", NoReboot=True)["ImageId"]
    with cloud.database.write() as tx:
        made = tx.get(Image, id=image)
        assert made is not None
        tx.save(replace(made, state="available", root="/mine"))
    assert root(cloud.run(ImageId=image)["InstanceId"])["Size"] == 20
    small = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 19}}]
    launch = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert cloud.code("RunInstances", **launch, BlockDeviceMappings=small) == "InvalidBlockDeviceMapping"
    ends = [{"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": True}}]
    cloud.call("ModifyInstanceAttribute", InstanceId=instance, BlockDeviceMappings=ends)
    assert root(instance)["Attachments"][0]["DeleteOnTermination"] is True


def test_volumes_when_their_instance_has_ended(cloud: Cloud) -> None:
    """A root volume waits for its file to be removed; one that was kept is a volume like others."""
    large = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20}}]
    plain, sized, kept = (cloud.run(BlockDeviceMappings=one)["InstanceId"] for one in ([], large, large))
    with cloud.database.write() as tx:
        volume = tx.get(Volume, instance_id=kept)
        assert volume is not None
        tx.save(replace(volume, root=False, delete_on_termination=False))
    for instance in (plain, sized, kept):
        cloud.observe(instance, "terminated")
    with cloud.database.read() as tx:
        left = tx.find(Volume)
    assert [(one.state, one.instance_id, one.root) for one in left] == [
        ("deleting", None, True),
        ("deleting", None, True),
        ("available", None, False),
    ]


def test_nothing_is_encrypted_by_default(cloud: Cloud) -> None:
    """API_GetEbsEncryptionByDefault: a flag, and a type of `sse-ebs`, `sse-kms` or `none`."""
    assert cloud.call("GetEbsEncryptionByDefault") == {"EbsEncryptionByDefault": False, "SseType": "none"}


def test_a_volume_without_a_size_is_refused_before_its_zone_is_looked_at(cloud: Cloud) -> None:
    """LocalStack's test_raise_create_volume_without_size, recorded on AWS."""
    refusal = cloud.refusal("CreateVolume", AvailabilityZone="eu-central-1a")
    assert (refusal.code, refusal.message) == (
        "MissingParameter",
        "The request must contain the parameter size/snapshot",
    )
