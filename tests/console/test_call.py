"""A call and the command that is shown for it are the same thing."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import Any

import awscli.clidriver
import pytest
from awscli.testutils import capture_output

from skylift.console import call as calls
from skylift.console import identity, market, networks, scaling
from skylift.console.call import Call
from skylift.console.identity import Holder
from skylift.console.pages.instances import STOP, TERMINATE
from skylift.console.pages.security_groups import read_rule
from skylift.console.vpc_plan import tagged

HOSTILE = [
    "--output",
    "file:///etc/passwd",
    "a b'c",
    "$(reboot)",
    "<img src=x onerror=alert(1)>",
    ":x",
    "[1]",
    "{1}",
    "ü\n",
]
DOCUMENT = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
INSTANCE = "i-0123456789abcdef0"
ACL_RULE = networks.AclRule(90, outbound=False, protocol="TCP", ports="22", cidr="0.0.0.0/0", allows=True, kind="6")
GROUP = scaling.GroupRow("g", desired=1, least=0, most=4, running=1, state="active", template="", zones="", tags="")


def made_by_the_cli(command: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parameters that the AWS CLI makes a call with, given this command."""
    seen: list[dict[str, Any]] = []

    def note(self: Any, service: str, operation: str, parameters: dict[str, Any], globals_: Any) -> int:
        seen.append(parameters)
        return 0

    monkeypatch.setattr("awscli.clidriver.CLIOperationCaller.invoke", note)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    words = shlex.split(command)
    assert words[0] == "aws"
    with capture_output() as captured:
        code = awscli.clidriver.create_clidriver().main(words[1:])
    assert code == 0, captured.stderr.getvalue()
    return seen[0]


@pytest.mark.parametrize(
    "call",
    [
        STOP.call([INSTANCE, INSTANCE[:-1] + "1"]),
        TERMINATE.call([INSTANCE]),
        Call("ec2", "describe_instances"),
        calls.read_console(INSTANCE),
        calls.read_user_data(INSTANCE),
        calls.send_key(INSTANCE, "ec2-user", "ssh-ed25519 AAAA"),
        calls.list_rules(["sg-1"]),
        read_rule("sg-1", "tcp", "8000-8080", "10.0.0.0/8", outbound=False),
        read_rule("sg-1", "icmp", "", "sg-2", outbound=True),
        calls.revoke_rule("sg-1", "sgr-1", outbound=False),
        networks.create_acl_rule("acl-1", "90", "in", "6", "22", "10.0.0.0/8", "deny"),
        networks.create_acl_rule("acl-1", "90", "out", "1", "", "::/0", "allow"),
        networks.delete_acl_rule("acl-1", ACL_RULE),
        networks.replace_acl_rule("acl-1", ACL_RULE, "17", "53", "10.0.0.0/8", "deny"),
        networks.create_route("rtb-1", "::/0", "igw-1"),
        networks.replace_route("rtb-1", networks.ShownRoute("0.0.0.0/0", "igw-1", "active"), "nat-1"),
        networks.create_subnet("vpc-1", "a b", "us-east-1a", "10.0.0.0/24"),
        Call("ec2", "create_route_table", {"VpcId": "vpc-1", **tagged("route-table", "")}),
        Call("ec2", "create_network_acl", {"VpcId": "vpc-1", **tagged("network-acl", "<b>")}),
        networks.allocate_address("a b"),
        Call("ec2", "associate_address", {"AllocationId": "eipalloc-1", "InstanceId": INSTANCE}),
        calls.list_tags("i-1"),
        calls.list_volumes(INSTANCE),
        Holder("role", "r").put_policy("p", DOCUMENT),
        Holder("user", "u").attach("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"),
        *identity.create_role("r", "ec2.amazonaws.com"),
        identity.put_trust("r", identity.trust_of("ec2.amazonaws.com")),
        identity.set_key("u", "AKIA", active=False),
        identity.attach_profile(INSTANCE, "p"),
        identity.attach_profile(INSTANCE, "p", "iip-assoc-1"),
        identity.simulate("arn:aws:iam::1:role/r", ["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::b/*"]),
        scaling.read_capacity(GROUP, "0", "3", "4"),
        scaling.read_capacity(GROUP, "1", "3", "9"),
        scaling.read_policy("g", "keep", "ASGAverageCPUUtilization", "60"),
        scaling.list_activities("g"),
        Call("ec2", "cancel_spot_instance_requests", {"SpotInstanceRequestIds": ["sir-1", "sir-2"]}),
        market.price_history("t3.micro", datetime(2026, 11, 21, tzinfo=UTC)),
        scaling.delete_group("g"),
        *(scaling.delete_group(name) for name in HOSTILE),
        *(scaling.describe_alarms([name]) for name in HOSTILE),
        *(Holder("role", name).put_policy(name, DOCUMENT) for name in HOSTILE),
        *(identity.simulate("arn:aws:iam::1:role/r", [name], [name]) for name in HOSTILE),
        *(Call("ec2", "create_key_pair", {"KeyName": name, "KeyType": "ed25519"}) for name in HOSTILE),
        *(STOP.call([name]) for name in HOSTILE),
    ],
    ids=lambda call: call.operation,
)
def test_the_cli_makes_the_same_call(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made_by_the_cli(call.command, monkeypatch) == json.loads(json.dumps(call.params))


def test_commands_read_as_a_person_would_write_them() -> None:
    assert STOP.call([INSTANCE]).command == f"aws ec2 stop-instances --instance-ids {INSTANCE}"
    assert calls.read_console(INSTANCE).command.endswith("--latest")
    assert Call("s3", "list_objects_v2", {"Bucket": "b"}).command == "aws s3api list-objects-v2 --bucket b"
