"""Images of environments: which one is found, which are nobody's, and which are too many."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.client.errors import Refused
from skylift.client.launch.environment_image import (
    MOST,
    OLDEST,
    EnvironmentImage,
    environment_images,
    find_environment_image,
    image_key,
    make_request,
    remove_image,
    to_be_removed,
)
from skylift.client.remote.api import Api
from skylift.client.ship.prebuilt import EnvironmentPlace

ACCOUNT = "123456789012"
ENVIRONMENT = EnvironmentPlace("envs/recipe/ami-1/me-0001", "a" * 64)
KEY = image_key(ENVIRONMENT, "ami-1")


class Ec2:
    retry, retry_concurrent = Api.retry, Api.retry_concurrent

    """Answers DescribeImages with these images, and refuses to deregister."""

    def __init__(self, *images: dict[str, Any], refusal: str = "") -> None:
        self._images, self._refusal = images, refusal
        self.asked: list[dict[str, Any]] = []

    def call(self, service: str, operation: str, **params: Any) -> Any:
        self.asked.append(params)
        if operation == "deregister_image" and self._refusal:
            raise Refused(self._refusal, "no", operation)
        return {"Images": list(self._images)}


def image(**other: Any) -> dict[str, Any]:
    return {
        "ImageId": "ami-0123456789abcdef0",
        "Name": f"skylift-environment-{KEY}",
        "OwnerId": ACCOUNT,
        "Public": False,
        "State": "available",
        "Architecture": "x86_64",
        "CreationDate": "2026-01-31T12:00:00.000Z",
        "Tags": [{"Key": "skylift:environment", "Value": KEY}],
        **other,
    }


def found(*images: dict[str, Any]) -> str | None:
    one = find_environment_image(Ec2(*images), ACCOUNT, KEY, "x86_64")  # type: ignore[arg-type]
    return None if one is None else one.id


def test_the_newest_that_servers_can_start_from_is_found() -> None:
    older = image(ImageId="ami-00000001", CreationDate="2026-01-30T12:00:00.000Z")
    assert found(older, image()) == "ami-0123456789abcdef0"
    ec2 = Ec2(image())
    find_environment_image(ec2, ACCOUNT, KEY, "x86_64")  # type: ignore[arg-type]
    assert ec2.asked == [{"Owners": ["self"], "Filters": [{"Name": "name", "Values": [f"skylift-environment-{KEY}"]}]}]


@pytest.mark.parametrize(
    "other",
    [
        {"State": "pending"},
        {"State": "failed"},
        {"Architecture": "arm64"},
        {"OwnerId": "999999999999"},
        {"OwnerId": None},
        {"Public": True},
        {"Name": "skylift-environment-" + "b" * 40},
        {"Name": f"skylift-environment-{KEY}\n"},
        {"Name": None},
        {"Tags": []},
        {"Tags": [{"Key": "skylift:environment", "Value": "b" * 40}]},
        {"Tags": [{"Key": "skylift:environment"}]},
        {"ImageId": "ami-1; rm -rf /"},
        {"ImageId": None},
        {"CreationDate": "yesterday"},
        {"CreationDate": "2026-99-31T12:00:00.000Z"},
    ],
)
def test_what_is_half_made_or_another_ones_is_not(other: dict[str, Any]) -> None:
    assert found(image(**other)) is None


def test_an_image_is_of_one_environment_on_one_image() -> None:
    others = [
        (EnvironmentPlace("envs/other/ami-1/0001", "a" * 64), "ami-1"),
        (EnvironmentPlace("envs/recipe/ami-1/0001", "b" * 64), "ami-1"),
        (ENVIRONMENT, "ami-2"),
    ]
    assert len({KEY, *(image_key(*each) for each in others)}) == 4


def test_what_is_made_is_what_is_found() -> None:
    request = make_request("i-1", KEY, "ami-1")
    specified = request["TagSpecifications"]
    assert [each["ResourceType"] for each in specified] == ["image", "snapshot"]
    assert found(image(Name=request["Name"], Tags=specified[0]["Tags"])) is not None
    assert (request["InstanceId"], request["NoReboot"]) == ("i-1", True)


def test_there_are_few_and_none_is_old() -> None:
    def one(number: int, state: str = "available", age: float = 0) -> EnvironmentImage:
        return EnvironmentImage(f"ami-{number:08}", KEY, state, "x86_64", OLDEST + 1000 - age)

    now = OLDEST + 1000.0
    some = [one(number) for number in range(MOST)]
    assert to_be_removed([*some, one(100, "pending")], now) == {}
    too_many, failed = one(98), one(99, "failed")
    told = to_be_removed([*some, too_many, failed], now)
    assert told == {too_many: f"there are {MOST} newer ones", failed: "it could not be made"}
    old = one(1, age=OLDEST + 1)
    assert to_be_removed([old], now) == {old: "it was made long ago"}


def test_an_image_that_is_gone_is_removed() -> None:
    (one,) = environment_images(Ec2(image()), ACCOUNT)  # type: ignore[arg-type]
    remove_image(Ec2(refusal="InvalidAMIID.Unavailable"), one)  # type: ignore[arg-type]
    with pytest.raises(Refused):
        remove_image(Ec2(refusal="UnauthorizedOperation"), one)  # type: ignore[arg-type]
