from __future__ import annotations

from dataclasses import replace
from typing import Any

from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.domain.volume import Snapshot, Volume

ZONE = "us-east-1a"


def volume_of(cloud: Cloud) -> str:
    volume = str(cloud.call("CreateVolume", AvailabilityZone=ZONE, Size=10)["VolumeId"])
    with cloud.database.write() as tx:
        row = tx.get(Volume, id=volume)
        assert row is not None
        tx.save(replace(row, state="available"))
    return volume


def complete(cloud: Cloud, snapshot: str, **changes: Any) -> None:
    with cloud.database.write() as tx:
        row = tx.get(Snapshot, id=snapshot)
        assert row is not None
        tx.save(replace(row, state="completed", completed=tx.now, **changes))


def snapshot_of(cloud: Cloud, volume: str, **wanted: Any) -> str:
    made = str(cloud.call("CreateSnapshot", VolumeId=volume, **wanted)["SnapshotId"])
    complete(cloud, made)
    return made


def test_a_snapshot_is_made_of_a_volume_and_volumes_of_it(cloud: Cloud) -> None:
    volume = volume_of(cloud)
    asked = {"Description": "before", "TagSpecifications": tagged("snapshot", job="j")}
    answer = cloud.call("CreateSnapshot", VolumeId=volume, **asked)
    assert (answer["State"], answer["Progress"], answer["VolumeSize"]) == ("pending", "0%", 10)
    snapshot = answer["SnapshotId"]
    assert cloud.code("CreateVolume", AvailabilityZone=ZONE, SnapshotId=snapshot) == "IncorrectState"
    complete(cloud, snapshot)
    found = cloud.call("DescribeSnapshots", OwnerIds=["self"], Filters=filters(volume_id=volume, status="completed"))
    (shown,) = found["Snapshots"]
    assert (shown["SnapshotId"], shown["Progress"], shown["Tags"]) == (snapshot, "100%", [{"Key": "job", "Value": "j"}])
    assert cloud.call("DescribeSnapshots", OwnerIds=["amazon"])["Snapshots"] == []
    assert cloud.call("CreateVolume", AvailabilityZone=ZONE, SnapshotId=snapshot)["Size"] == 10
    larger = cloud.call("CreateVolume", AvailabilityZone=ZONE, SnapshotId=snapshot, Size=12)
    assert (larger["Size"], larger["SnapshotId"]) == (12, snapshot)
    code = cloud.code("CreateVolume", AvailabilityZone=ZONE, SnapshotId=snapshot, Size=9)
    assert code == "InvalidParameterValue"
    cloud.call("DeleteSnapshot", SnapshotId=snapshot)
    assert cloud.code("DescribeSnapshots", SnapshotIds=[snapshot]) == "InvalidSnapshot.NotFound"


def test_snapshots_of_all_volumes_of_an_instance(cloud: Cloud) -> None:
    mappings = [{"DeviceName": f"/dev/sd{letter}", "Ebs": {"VolumeSize": 5}} for letter in "bc"]
    tags = tagged("volume", disk="d")
    zone = {"AvailabilityZone": ZONE}
    instance = cloud.run(BlockDeviceMappings=mappings, TagSpecifications=tags, Placement=zone)["InstanceId"]
    cloud.observe(instance, "running")
    with cloud.database.write() as tx:
        for row in tx.find(Volume, state="creating"):
            tx.save(replace(row, state="in-use", attachment="attached"))
    volumes = [one["Ebs"]["VolumeId"] for one in cloud.instance(instance)["BlockDeviceMappings"]]
    made = cloud.call(
        "CreateSnapshots",
        InstanceSpecification={"InstanceId": instance, "ExcludeDataVolumeIds": [volumes[2]]},
        CopyTagsFromSource="volume",
        TagSpecifications=tagged("snapshot", set="s"),
    )["Snapshots"]
    assert [one["VolumeId"] for one in made] == volumes[:2]
    assert made[0]["Tags"] == [{"Key": "disk", "Value": "d"}, {"Key": "set", "Value": "s"}]
    data = {"InstanceId": instance, "ExcludeBootVolume": True}
    made = cloud.call("CreateSnapshots", InstanceSpecification=data)["Snapshots"]
    assert [one["VolumeId"] for one in made] == volumes[1:]
    none = {**data, "ExcludeDataVolumeIds": volumes[1:]}
    assert cloud.code("CreateSnapshots", InstanceSpecification=none) == "InvalidParameterValue"
    other = {"InstanceId": instance, "ExcludeDataVolumeIds": [volumes[0]]}
    assert cloud.code("CreateSnapshots", InstanceSpecification=other) == "InvalidParameterValue"


def test_a_copy_of_a_snapshot(cloud: Cloud) -> None:
    source = snapshot_of(cloud, volume_of(cloud), Description="first")
    # As botocore sends it.
    asked = {"SourceRegion": "us-east-1", "DestinationRegion": "us-east-1", "PresignedUrl": "http://localhost/"}
    copy = cloud.call("CopySnapshot", SourceSnapshotId=source, **asked)["SnapshotId"]
    (shown,) = cloud.call("DescribeSnapshots", SnapshotIds=[copy])["Snapshots"]
    assert shown["Description"] == f"[Copied {source} from us-east-1] first"
    assert (shown["VolumeSize"], shown["VolumeId"]) == (10, "vol-ffffffff")
    asked["SourceRegion"] = "eu-west-1"
    assert cloud.code("CopySnapshot", SourceSnapshotId=source, **asked) == "InvalidRequest"


def test_who_may_make_volumes_of_a_snapshot(cloud: Cloud) -> None:
    snapshot = snapshot_of(cloud, volume_of(cloud))
    asked = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}
    other = "111122223333"

    def permissions() -> list[dict[str, str]]:
        found: list[dict[str, str]] = cloud.call("DescribeSnapshotAttribute", **asked)["CreateVolumePermissions"]
        return found

    cloud.call("ModifySnapshotAttribute", **asked, OperationType="add", UserIds=[other])
    assert permissions() == [{"UserId": other}]
    change = {"Add": [{"Group": "all"}], "Remove": [{"UserId": other}]}
    cloud.call("ModifySnapshotAttribute", SnapshotId=snapshot, CreateVolumePermission=change)
    assert permissions() == [{"Group": "all"}]
    assert len(cloud.call("DescribeSnapshots", RestorableByUserIds=["all"])["Snapshots"]) == 1
    cloud.call("ResetSnapshotAttribute", **asked)
    assert permissions() == []
    assert cloud.call("DescribeSnapshots", RestorableByUserIds=["all"])["Snapshots"] == []
    assert cloud.code("ModifySnapshotAttribute", **asked) == "MissingParameter"
    code = cloud.code("ModifySnapshotAttribute", **asked, OperationType="add", UserIds=["me"])
    assert code == "InvalidParameterValue"


def test_what_a_caller_must_be_allowed_to(cloud: Cloud) -> None:
    volume = volume_of(cloud)
    tags = tagged("snapshot", a="b")
    checks = cloud.checks("CreateSnapshot", VolumeId=volume, TagSpecifications=tags)
    whole = "arn:aws:ec2:us-east-1:123456789012:volume/" + volume
    assert [(check.action, check.resource) for check in checks] == [
        ("ec2:CreateSnapshot", whole),
        ("ec2:CreateSnapshot", "arn:aws:ec2:us-east-1::snapshot/*"),
        ("ec2:CreateTags", "arn:aws:ec2:us-east-1::snapshot/*"),
    ]
    assert dict(checks[1].context or {})["ec2:ParentVolume"] == whole
    snapshot = snapshot_of(cloud, volume)
    (check,) = cloud.checks("DeleteSnapshot", SnapshotId=snapshot)
    assert check.resource == f"arn:aws:ec2:us-east-1::snapshot/{snapshot}"
    assert dict(check.context or {})["ec2:ParentVolume"] == whole
    checks = cloud.checks("CreateVolume", AvailabilityZone=ZONE, SnapshotId=snapshot)
    assert dict(checks[0].context or {})["ec2:ParentSnapshot"] == check.resource
    assert checks[1].resource == check.resource


def test_an_image_is_registered_of_the_snapshot_of_a_root_volume(cloud: Cloud) -> None:
    instance = cloud.run()["InstanceId"]
    cloud.observe(instance, "running")
    root = cloud.instance(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    snapshot = str(cloud.call("CreateSnapshot", VolumeId=root)["SnapshotId"])
    complete(cloud, snapshot, root="/captures/one/root")
    data = snapshot_of(cloud, volume_of(cloud))
    mappings = [
        {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}},
        {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": data, "DeleteOnTermination": False}},
    ]
    asked = {"Name": "mine", "Architecture": "x86_64", "RootDeviceName": "/dev/xvda", "VirtualizationType": "hvm"}
    image = cloud.call("RegisterImage", **asked, BlockDeviceMappings=mappings)["ImageId"]
    (shown,) = cloud.call("DescribeImages", ImageIds=[image])["Images"]
    assert [one["Ebs"]["SnapshotId"] for one in shown["BlockDeviceMappings"]] == [snapshot, data]
    assert shown["State"] == "available"
    assert cloud.code("DeleteSnapshot", SnapshotId=snapshot) == "InvalidSnapshot.InUse"
    launched = cloud.run(ImageId=image)["BlockDeviceMappings"]
    assert [one["DeviceName"] for one in launched] == ["/dev/xvda", "/dev/sdf"]
    assert launched[1]["Ebs"]["DeleteOnTermination"] is False
    nothing = [{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": data}}]
    assert cloud.code("RegisterImage", **{**asked, "Name": "two"}, BlockDeviceMappings=nothing) == "MissingParameter"
    # A root volume that was kept is a volume like others, and so are its snapshots.
    kept = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": data, "VolumeSize": 20}}]
    image = cloud.call("RegisterImage", **{**asked, "Name": "two"}, BlockDeviceMappings=kept)["ImageId"]
    (shown,) = cloud.call("DescribeImages", ImageIds=[image])["Images"]
    assert (shown["State"], shown["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"]) == ("pending", 20)
