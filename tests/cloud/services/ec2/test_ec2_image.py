from __future__ import annotations

from dataclasses import replace

from ec2_fixtures import ACCOUNT, IMAGE_NAME, Cloud, filters

from skylift.cloud.domain.instance import Image
from skylift.cloud.services.ec2.image import image_id, register_image


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


def test_provided_images_are_found_by_the_names_that_courses_look_for(cloud: Cloud) -> None:
    def found(name: str, *owners: str) -> list[str]:
        images = cloud.call("DescribeImages", Owners=list(owners) or ["amazon"], Filters=filters(name=name))["Images"]
        return [image["Name"] for image in images if image["ImageId"] == cloud.image_id]

    for name in (
        "al2023-ami-2023*-x86_64",
        "al2023-ami-2023.*.*.*-kernel-6.1-x86_64",
        "amzn2-ami-hvm-*-x86_64-gp2",
        "amzn2-ami-kernel-5.10-hvm-2.0.????????.?-x86_64-gp2",
    ):
        assert found(name) == [IMAGE_NAME], name
    assert found("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*", "099720109477") == [IMAGE_NAME]
    assert found("debian-13-amd64-*", "136693071363") == [IMAGE_NAME]
    assert found("al2023-ami-2023*-arm64") == found("Windows_Server-*") == found("al2023-ami-2023*", "self") == []
    # What it is called is in the answer, and every filter has to let it through.
    both = filters(name="al2023-ami-*,nothing") + filters(name="skylift-*", architecture="x86_64")
    assert cloud.image_id in {image["ImageId"] for image in cloud.call("DescribeImages", Filters=both)["Images"]}
    assert cloud.call("DescribeImages", Filters=both + filters(name="ubuntu"))["Images"] == []
    assert cloud.code("DescribeImages", Filters=[{"Name": "name", "Values": []}]) == "MissingParameter"


def test_an_image_of_ones_own_has_only_its_own_name(cloud: Cloud) -> None:
    mine = Image(image_id("mine"), "mine", "a copy", "/x", 9, cloud.clock.now, "x86_64", owner="self", public=False)
    with cloud.database.write() as tx:
        register_image(tx, mine)
    found = cloud.call("DescribeImages", Filters=filters(name="al2023-ami-*"))["Images"]
    assert found and mine.id not in {image["ImageId"] for image in found}
    (shown,) = cloud.call("DescribeImages", Filters=filters(name="mine"))["Images"]
    assert shown["ImageId"] == mine.id


def test_unknown_ids(cloud: Cloud) -> None:
    refusal = cloud.refusal("DescribeImages", ImageIds=["ami-00000000"])
    assert (refusal.code, refusal.message) == ("InvalidAMIID.NotFound", "The image id '[ami-00000000]' does not exist")
    assert cloud.code("DescribeImages", ImageIds=["debian"]) == "InvalidAMIID.Malformed"


def test_registering_again_keeps_tags(cloud: Cloud) -> None:
    cloud.call("CreateTags", Resources=[cloud.image_id], Tags=[{"Key": "a", "Value": "b"}])
    with cloud.database.write() as tx:
        image = tx.get(Image, id=cloud.image_id)
        assert image is not None
        register_image(tx, replace(image, description="newer", tags={}))
    (shown,) = cloud.call("DescribeImages", ImageIds=[cloud.image_id])["Images"]
    assert (shown["Description"], shown["Tags"]) == ("newer", [{"Key": "a", "Value": "b"}])


def test_all_images_that_are_not_there_are_named(cloud: Cloud) -> None:
    """cloud-custodian's ErrorHandler.extract_bad_ami reads `'[ami-1, ami-2]'` from EC2's message."""
    one, two = "ami-0123456789abcdef0", "ami-0123456789abcdef1"
    error = cloud.refusal("DescribeImages", ImageIds=[one, cloud.image_id, two])
    assert (error.code, error.message) == ("InvalidAMIID.NotFound", f"The image ids '[{one}, {two}]' do not exist")
    assert cloud.refusal("DescribeImages", ImageIds=[two]).message == f"The image id '[{two}]' does not exist"
