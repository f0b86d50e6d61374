"""What is chosen on the page of a launch, and what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_call import HOSTILE, made_by_the_cli

from skylift.console.pages.launch import Wish
from skylift.console.pages.security_groups import read_rule
from skylift.console.port import Kind
from skylift.runner.errors import UsageError

KINDS = {"t3.micro": Kind("t3.micro", "t3.micro: 2 vCPU, 1 GiB", 0.0104, 0.004)}
PLAIN = Wish("", "ami-1", "t3.micro", "", "", "", "", "", "/dev/xvda", "", "", "", "1")
WHOLE = Wish(
    "web", "ami-1", "t3.micro", "k", "subnet-1", "yes", "sg-1", "20", "/dev/xvda", "r", "spot", "#!/bin/sh\n", "2"
)


def test_the_least_is_an_image_and_a_type() -> None:
    assert PLAIN.missing(KINDS) == []
    assert PLAIN.call().command == "aws ec2 run-instances --image-id ami-1 --instance-type t3.micro --count 1"


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"image": ""}, "Choose an image."),
        ({"kind": ""}, "Choose a type."),
        ({"kind": "t9.huge"}, "There is no type 't9.huge'."),
        *[({"number": each}, "The number is from 1 to 100.") for each in ("", "0", "101", "-1", "x", "1.5", "²")],
        *[({"size": each}, "The size of the disk is in GiB") for each in ("0", "99999", "8G")],
    ],
)
def test_what_is_missing_is_said(different: dict[str, str], said: str) -> None:
    (found,) = replace(PLAIN, **different).missing(KINDS)
    assert found.startswith(said)


@pytest.mark.parametrize(
    "wish", [PLAIN, WHOLE, replace(WHOLE, public=""), *(replace(WHOLE, name=name) for name in HOSTILE)]
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
    if ports == "1-":
        assert read_rule("sg-1", "tcp", ports, other, outbound=False).params["IpPermissions"][0]["ToPort"] == 1
        return
    with pytest.raises(UsageError) as refused:
        read_rule("sg-1", "tcp", ports, other, outbound=False)
    assert refused.value.advice


def test_an_address_alone_is_a_range_of_one() -> None:
    call = read_rule("sg-1", "tcp", "22", "203.0.113.7", outbound=False)
    assert call.params["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "203.0.113.7/32"}]
    call = read_rule("sg-1", "-1", "", "2001:db8::/32", outbound=True)
    assert call.params["IpPermissions"] == [{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]}]
