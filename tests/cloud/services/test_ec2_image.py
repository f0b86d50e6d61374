from __future__ import annotations

from dataclasses import replace

from ec2_fixtures import ACCOUNT, IMAGE_NAME, Cloud, filters

from skylift.cloud.instance import Image
from skylift.cloud.services.image import image_id, register_image


def test_owners(cloud: Cloud) -> None:
    amazon = "137112412989"
    for owners, count in ((["self"], 0), (["amazon"], 2), ([ACCOUNT], 0), ([amazon, "self"], 2), (["99"], 0)):
        assert len(cloud.call("DescribeImages", Owners=owners)["Images"]) == count
    assert {image["OwnerId"] for image in cloud.call("DescribeImages")["Images"]} == {amazon}
    mine = Image(image_id("mine"), "mine", "a copy", "/x", 9, cloud.clock.now, "x86_64", owner="self", public=False)
    with cloud.database.write() as tx:
        register_image(tx, mine)
    assert len(cloud.call("DescribeImages", Owners=["amazon"])["Images"]) == 2
    (shown,) = cloud.call("DescribeImages", Owners=["self"])["Images"]
    assert "ImageOwnerAlias" not in shown
    assert shown["OwnerId"] == ACCOUNT


def test_shape_and_filters(cloud: Cloud) -> None:
    (shown,) = cloud.call(
        "DescribeImages",
        Owners=["amazon"],
        Filters=filters(name="skylift-debian-13-*-2026????", architecture="x86_64", root_device_type="ebs"),
    )["Images"]
    assert (shown["ImageId"], shown["Name"]) == (cloud.image_id, IMAGE_NAME)
    assert shown["CreationDate"] == "2026-11-25T12:00:00.000Z"
    assert shown["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is False
    assert shown["BlockDeviceMappings"][0]["DeviceName"] == shown["RootDeviceName"]
    found = cloud.call("DescribeImages", Filters=filters(**{"block-device-mapping.volume-size": "8,9"}))
    assert len(found["Images"]) == 2
    assert cloud.call("DescribeImages", Filters=filters(name="Skylift*"))["Images"] == []


def test_unknown_ids(cloud: Cloud) -> None:
    refusal = cloud.refusal("DescribeImages", ImageIds=["ami-00000000"])
    assert (refusal.code, refusal.message) == (
        "InvalidAMIID.NotFound",
        "The image id '[ami-00000000]' does not exist",
    )
    assert cloud.code("DescribeImages", ImageIds=["debian"]) == "InvalidAMIID.Malformed"


def test_registering_again_keeps_tags(cloud: Cloud) -> None:
    cloud.call("CreateTags", Resources=[cloud.image_id], Tags=[{"Key": "a", "Value": "b"}])
    with cloud.database.write() as tx:
        image = tx.get(Image, id=cloud.image_id)
        assert image is not None
        register_image(tx, replace(image, description="newer", tags={}))
    (shown,) = cloud.call("DescribeImages", ImageIds=[cloud.image_id])["Images"]
    assert (shown["Description"], shown["Tags"]) == ("newer", [{"Key": "a", "Value": "b"}])
