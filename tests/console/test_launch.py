"""What is chosen on the page of a launch, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from test_call import HOSTILE, made_by_the_cli

from skylift.client.errors import UsageError
from skylift.client.job.settings import Settings
from skylift.console.call import Call
from skylift.console.pages.launch import Disk, Wish
from skylift.console.pages.security_groups import read_rule
from skylift.console.pages.type_picker import Need
from skylift.console.port import Port, PricedType

KINDS = {
    "t3.micro": PricedType("t3.micro", "t3.micro: 2 vCPU, 1 GiB", 0.0104, 0.004, 2, 1.0, "x86_64", True, True),
    "t4g.large": PricedType("t4g.large", "t4g.large: 2 vCPU, 8 GiB", 0.0672, 0.02, 2, 8.0, "arm64", False, True),
    "m7i.large": PricedType("m7i.large", "m7i.large: 2 vCPU, 8 GiB", 0.1008, 0.015, 2, 8.0, "x86_64", False, False),
    "u9.huge": PricedType("u9.huge", "u9.huge: 96 vCPU, 900 GiB", None, None, 96, 900.0, "x86_64", False, False),
}
PLAIN = Wish("", "ami-1", "t3.micro", "", "", "", "", "", "/dev/xvda", "", "", "", "1")
WHOLE = Wish(
    "web", "ami-1", "t3.micro", "k", "subnet-1", "yes", "sg-1", "20", "/dev/xvda", "r", "spot", "#!/bin/sh\n", "2"
)
FULL = replace(
    WHOLE,
    public="",
    tags=(("team", "c4"), ("", "")),
    root_kind="gp2",
    disks=(Disk("8", "gp3", stays=True), Disk("125", "st1", stays=False)),
)


def test_the_least_is_an_image_and_a_type() -> None:
    assert PLAIN.missing(KINDS) == []
    assert replace(PLAIN, tags=(("", ""),)).call() == PLAIN.call()
    assert PLAIN.call().command == "aws ec2 run-instances --image-id ami-1 --instance-type t3.micro --count 1"


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"image": ""}, "Choose an image."),
        ({"kind": ""}, "Choose a type."),
        ({"kind": "t9.huge"}, "There is no type 't9.huge'."),
        *[({"number": each}, "The number is from 1 to 100.") for each in ("", "0", "101", "-1", "x", "1.5", "²")],
        *[({"size": each}, "The size of a disk is in GiB") for each in ("0", "99999", "8G")],
    ],
)
def test_what_is_missing_is_said(different: dict[str, Any], said: str) -> None:
    (found,) = replace(PLAIN, **different).missing(KINDS)
    assert found.startswith(said)


def test_disks_and_tags_are_looked_at_too() -> None:
    (said,) = replace(PLAIN, disks=(Disk("8", "gp3", stays=True), Disk("", "gp3", stays=False))).missing(KINDS)
    assert said.startswith("The size of a disk is in GiB")
    (said,) = replace(PLAIN, name="web", tags=(("Name", "db"),)).missing(KINDS)
    assert said.startswith("There are two tags with the key 'Name'.")


def test_a_disk_that_is_added_is_none_of_the_image() -> None:
    disk, taken = Disk("8", "gp3", stays=True), frozenset({"/dev/sda1", "/dev/sdf", "/dev/xvdg", "/dev/sdh1", "sdi"})
    wish = replace(PLAIN, disks=(disk, disk), taken=taken)
    assert [each["DeviceName"] for each in wish.call().params["BlockDeviceMappings"]] == ["/dev/sdi", "/dev/sdj"]
    assert replace(wish, disks=(disk,) * 8).missing(KINDS) == []
    assert replace(wish, disks=(disk,) * 9).missing(KINDS) == ["There is room for 8 disks beside those of the image."]


class Account(Port):
    """It has an image with two disks."""

    def __init__(self) -> None:
        # All that is asked of them.
        self.settings = cast(Settings, SimpleNamespace(billed=False, region="us-east-1"))

    def pages(self, call: Call, key: str) -> list[Any]:
        mappings = [{"DeviceName": "/dev/xvda", "Ebs": {}}, {"DeviceName": "/dev/sdf", "VirtualName": "ephemeral0"}]
        return [{"ImageId": "ami-1", "BlockDeviceMappings": mappings}, {"ImageId": "ami-2"}] if key == "Images" else []

    def perform(self, call: Call) -> Any:
        return {"KeyPairs": []}


def test_the_devices_of_an_image_are_known() -> None:
    assert Account().choices().devices == {"ami-1": {"/dev/xvda", "/dev/sdf"}, "ami-2": frozenset()}


def test_an_image_and_a_type_of_two_processors_do_not_go_together() -> None:
    assert PLAIN.missing(KINDS, "x86_64") == []
    (said,) = PLAIN.missing(KINDS, "arm64")
    assert said == "The image is for arm64, and t3.micro has x86_64."


@pytest.mark.parametrize(
    ("need", "names"),
    [
        (Need(), ["t3.micro", "t4g.large", "m7i.large", "u9.huge"]),
        (Need(memory="7.5"), ["t4g.large", "m7i.large", "u9.huge"]),
        (Need(memory="8", spot=True), ["m7i.large", "t4g.large"]),
        (Need(vcpus="2", processor="arm64"), ["t4g.large"]),
        (Need(free_tier=True), ["t3.micro"]),
        (Need(vcpus="97"), []),
    ],
)
def test_the_cheapest_types_that_are_enough_come_first(need: Need, names: list[str]) -> None:
    assert [kind.name for kind in need.fitting(KINDS.values())] == names


@pytest.mark.parametrize("need", [Need(vcpus="two"), Need(vcpus="²"), Need(memory="1.x"), Need(memory="-1")])
def test_a_need_that_is_none_is_said(need: Need) -> None:
    assert need.missing()


@pytest.mark.parametrize(
    "wish",
    [
        *(PLAIN, WHOLE, FULL, replace(WHOLE, public="")),
        *(replace(WHOLE, name=name, tags=((f"{name.strip()}!", name),)) for name in HOSTILE),
    ],
)
def test_the_cli_makes_the_same_launch(wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    made, wanted = made_by_the_cli(wish.call().command, monkeypatch), dict(wish.call().params)
    if "UserData" in wanted and made["UserData"] != wanted["UserData"]:
        # The CLI encodes it in base64 itself, boto3 as it makes the call.
        assert made.pop("UserData") == "IyEvYmluL3NoCg=="
        wanted.pop("UserData")
    assert made == wanted


@pytest.mark.parametrize(("ports", "other"), [("", "10.0.0.0/8"), ("x", "10.0.0.0/8"), ("1-", "1.2.3.4"), ("22", " ")])
def test_a_rule_that_is_none_says_what_to_write(ports: str, other: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_rule("sg-1", "tcp", ports, other, outbound=False)
    assert refused.value.advice


def test_an_address_alone_is_a_range_of_one() -> None:
    call = read_rule("sg-1", "tcp", "22", "203.0.113.7", outbound=False)
    assert call.params["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "203.0.113.7/32"}]
    call = read_rule("sg-1", "-1", "", "2001:db8::/32", outbound=True)
    assert call.params["IpPermissions"] == [{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]}]
