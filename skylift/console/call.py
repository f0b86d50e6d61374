"""One API call as a value: it is made, and it is shown as the command of the AWS CLI that does the same."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CLI_SERVICES = {"s3": "s3api"}
_CLI_NAMES = {"MinCount": "Count", "MaxCount": ""}
"""What the CLI calls otherwise. Of instances, it is asked for a number."""
_CLI_NO = {"Egress": "--ingress"}
"""What the CLI calls the opposite of a flag, where that is not the flag's name with `no-` before it."""
_ODD = ("-", "@", "file:", "fileb:", "http:", "https:")
_ODD_IN_LISTS = (*_ODD, "[", "{")
"""A list that begins like JSON would be read as JSON; a text is a text."""


@dataclass(frozen=True)
class Call:
    """`operation` is boto3's name for it (`stop_instances`), and `params` are boto3's."""

    service: str
    operation: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """For a shell. Whatever a value has in it is quoted, and is not taken for an option, a file or an address."""
        service = _CLI_SERVICES.get(self.service, self.service)
        words = ["aws", service, self.operation.replace("_", "-")]
        if any(_is_odd(value) for value in self.params.values()):
            return shlex.join([*words, "--cli-input-json", json.dumps(self.params)])
        for name, value in self.params.items():
            words += _option(_CLI_NAMES.get(name, name), value)
        return shlex.join(words)


def _is_odd(value: Any) -> bool:
    """Whether the CLI would take a value of this kind, or a part of it, for something else."""
    if isinstance(value, str):
        return value.startswith(_ODD)
    return isinstance(value, list) and any(isinstance(each, str) and each.startswith(_ODD_IN_LISTS) for each in value)


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + _WORD.sub("-", name).lower()
    if not name:
        return []
    if isinstance(value, bool):
        return [flag] if value else [_CLI_NO.get(name, f"--no-{flag.removeprefix('--')}")]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [flag, *value]
    return [flag, json.dumps(value) if isinstance(value, dict | list) else str(value)]


def list_volumes(instance: str) -> Call:
    return Call("ec2", "describe_volumes", {"Filters": [{"Name": "attachment.instance-id", "Values": [instance]}]})


def read_console(instance: str) -> Call:
    return Call("ec2", "get_console_output", {"InstanceId": instance, "Latest": True})


def read_user_data(instance: str) -> Call:
    return Call("ec2", "describe_instance_attribute", {"InstanceId": instance, "Attribute": "userData"})


def send_key(instance: str, user: str, public_key: str) -> Call:
    return Call(
        "ec2-instance-connect",
        "send_ssh_public_key",
        {"InstanceId": instance, "InstanceOSUser": user, "SSHPublicKey": public_key},
    )


def create_tags(resources: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Call:
    tags = [{"Key": key, "Value": value} for key, value in pairs]
    return Call("ec2", "create_tags", {"Resources": list(resources), "Tags": tags})


def delete_tags(resources: Sequence[str], keys: Sequence[str]) -> Call:
    return Call("ec2", "delete_tags", {"Resources": list(resources), "Tags": [{"Key": key} for key in keys]})


def list_tags(resource: str) -> Call:
    return Call("ec2", "describe_tags", {"Filters": [{"Name": "resource-id", "Values": [resource]}]})


def list_rules(groups: Sequence[str]) -> Call:
    return Call("ec2", "describe_security_group_rules", {"Filters": [{"Name": "group-id", "Values": list(groups)}]})


def create_security_group(name: str, description: str, vpc: str) -> Call:
    return Call("ec2", "create_security_group", {"GroupName": name, "Description": description, "VpcId": vpc})


def authorize_rules(group: str, permissions: Sequence[Mapping[str, Any]], *, outbound: bool) -> Call:
    operation = f"authorize_security_group_{'egress' if outbound else 'ingress'}"
    return Call("ec2", operation, {"GroupId": group, "IpPermissions": [dict(each) for each in permissions]})


def modify_rule(group: str, rule: str, wanted: Mapping[str, Any]) -> Call:
    """The rule is given whole, and keeps its id, its direction and its tags."""
    change = {"SecurityGroupRuleId": rule, "SecurityGroupRule": dict(wanted)}
    return Call("ec2", "modify_security_group_rules", {"GroupId": group, "SecurityGroupRules": [change]})


def describe_rule(group: str, rule: str, words: str, *, outbound: bool) -> Call:
    """Without words, it has no description afterwards."""
    operation = f"update_security_group_rule_descriptions_{'egress' if outbound else 'ingress'}"
    change = {"SecurityGroupRuleId": rule, **({"Description": words} if words else {})}
    return Call("ec2", operation, {"GroupId": group, "SecurityGroupRuleDescriptions": [change]})


def revoke_rule(group: str, rule: str, *, outbound: bool) -> Call:
    operation = f"revoke_security_group_{'egress' if outbound else 'ingress'}"
    return Call("ec2", operation, {"GroupId": group, "SecurityGroupRuleIds": [rule]})


def list_vpcs() -> Call:
    return Call("ec2", "describe_vpcs", {})


def create_bucket(name: str, region: str) -> Call:
    # S3 refuses the name of the region that it takes for the default.
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
    return Call("s3", "create_bucket", {"Bucket": name, **place})


def list_objects(bucket: str, prefix: str, after: str = "") -> Call:
    """`after` is the token of the answer before."""
    more = {"ContinuationToken": after} if after else {}
    return Call("s3", "list_objects_v2", {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/", "MaxKeys": 200, **more})
