"""Which image a job starts from: by name, by a publisher's parameter, by id."""

from __future__ import annotations

import pytest

from skylift.client.errors import LaunchFailed, UsageError
from skylift.client.job.image_choice import PUBLISHED, read_image
from skylift.client.job.settings import NewestImage, OneImage, PublishedImage
from skylift.client.launch.image import find_images, pick_image
from skylift.client.remote.api import Api


def images(api: Api, pattern: str) -> list[dict[str, str]]:
    filters = [{"Name": "name", "Values": [pattern]}]
    found: list[dict[str, str]] = api.call("ec2", "describe_images", Owners=["amazon"], Filters=filters)["Images"]
    return found


def test_newest_image(api: Api) -> None:
    found = find_images(api, NewestImage("amzn2-ami-hvm-*", ("amazon",)))["x86_64"]
    (chosen,) = [image for image in images(api, "amzn2-ami-hvm-*") if image["ImageId"] == found]
    assert chosen["CreationDate"] == max(image["CreationDate"] for image in images(api, "amzn2-ami-hvm-*"))


def test_published_image_of_each_processor(api: Api) -> None:
    """moto has Amazon's parameters as AWS had them one day."""
    found = find_images(api, PUBLISHED["amazon-linux-2023"])
    assert set(found) == {"x86_64", "arm64"}
    assert all(image.startswith("ami-") for image in found.values())
    assert pick_image(found, ("i386", "x86_64"), "t2.micro") == ("x86_64", found["x86_64"])
    assert pick_image(found, ("arm64",), "t4g.small") == ("arm64", found["arm64"])


def test_image_that_is_not_published_here(api: Api) -> None:
    with pytest.raises(LaunchFailed, match="no image templeos"):
        find_images(api, PublishedImage("templeos", {"x86_64": "/aws/service/templeos"}))


def test_given_image_and_its_processor(api: Api) -> None:
    image = images(api, "amzn2-ami-hvm-*")[0]["ImageId"]
    assert find_images(api, OneImage(id=image)) == {"x86_64": image}
    api.call("ssm", "put_parameter", Name="/golden/ami", Value=image, Type="String")
    assert find_images(api, read_image("resolve:ssm:/golden/ami")) == {"x86_64": image}


def test_image_and_parameter_that_are_not_there(api: Api) -> None:
    with pytest.raises(UsageError, match="ami-0123456789abcdef0"):
        find_images(api, OneImage(id="ami-0123456789abcdef0"))
    with pytest.raises(UsageError, match="/not/there"):
        find_images(api, OneImage(parameter="/not/there"))


def test_image_of_another_processor_than_the_types() -> None:
    with pytest.raises(UsageError, match=r"t4g\.small is for arm64, and the image for x86_64"):
        pick_image({"x86_64": "ami-1"}, ("arm64",), "t4g.small")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("debian-13", PUBLISHED["debian-13"]),
        ("ami-0abcdef12", OneImage(id="ami-0abcdef12")),
        ("/golden/ami", OneImage(parameter="/golden/ami")),
        ("resolve:ssm:/golden/ami:3", OneImage(parameter="/golden/ami:3")),
    ],
)
def test_what_an_image_is_called(text: str, choice: object) -> None:
    assert read_image(text) == choice


@pytest.mark.parametrize("text", ["debian", "", "ami-", "windows 11"])
def test_what_is_no_image(text: str) -> None:
    with pytest.raises(UsageError, match="--image") as caught:
        read_image(text)
    assert "ubuntu-24.04" in caught.value.advice
