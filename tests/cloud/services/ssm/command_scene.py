"""A cloud with servers that Systems Manager manages, and one that is not."""

from __future__ import annotations

import json
from typing import Any

from ec2_fixtures import ACCOUNT, Cloud
from identity_fixtures import EC2_TRUST, assert_input, assert_output

from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.authorize import authorize
from skylift.cloud.services.table import TABLE

CORE = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"


def ask(cloud: Cloud, service: str, name: str, caller: Caller | None = None, **params: Any) -> dict[str, Any]:
    """As the dispatcher does it."""
    operation = TABLE[service, name]
    assert_input(service, name, params)
    assert operation.unsupported(params) == []
    who = caller or cloud.caller
    with cloud.database.read() as tx:
        authorize(tx, who, operation.checks(tx, who, params), service=service)
    with cloud.database.write() if operation.writes else cloud.database.read() as tx:
        answer = dict(operation.handler(tx, who, params))
    assert_output(service, name, answer)
    return answer


class Scene:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.profile("managed", CORE)

    def ssm(self, name: str, caller: Caller | None = None, **params: Any) -> dict[str, Any]:
        return ask(self.cloud, "ssm", name, caller, **params)

    def iam(self, name: str, **params: Any) -> dict[str, Any]:
        return ask(self.cloud, "iam", name, **params)

    def profile(self, name: str, *policies: str, trust: str = EC2_TRUST) -> None:
        self.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust)
        for policy in policies:
            self.iam("AttachRolePolicy", RoleName=name, PolicyArn=policy)
        self.iam("CreateInstanceProfile", InstanceProfileName=name)
        self.iam("AddRoleToInstanceProfile", InstanceProfileName=name, RoleName=name)

    def server(self, profile: str | None = "managed", state: str = "running", **tags: str) -> str:
        """One that has been on, and is in this state now."""
        more: dict[str, Any] = {"IamInstanceProfile": {"Name": profile}} if profile else {}
        if tags:
            pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
            more["TagSpecifications"] = [{"ResourceType": "instance", "Tags": pairs}]
        instance_id: str = self.cloud.run(**more)["InstanceId"]
        with self.cloud.database.write() as tx:
            tx.execute("UPDATE instances SET booted = 1 WHERE id = ?", instance_id)
        self.cloud.observe(instance_id, state)
        return instance_id

    def send(self, *ids: str, commands: list[str] | None = None, **more: Any) -> str:
        """The command's id."""
        to: dict[str, Any] = {"InstanceIds": list(ids)} if ids else {}
        parameters = {"commands": commands or ["true"], **more.pop("Parameters", {})}
        sent = self.ssm("SendCommand", DocumentName="AWS-RunShellScript", Parameters=parameters, **to, **more)
        return str(sent["Command"]["CommandId"])

    def invocation(self, command_id: str, instance_id: str) -> dict[str, Any]:
        return self.ssm("GetCommandInvocation", CommandId=command_id, InstanceId=instance_id)

    def command(self, command_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ssm("ListCommands", CommandId=command_id)["Commands"][0]
        return found

    def role(self, name: str, *statements: dict[str, Any]) -> Caller:
        """A caller with these permissions and no others."""
        self.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=EC2_TRUST)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.iam("PutRolePolicy", RoleName=name, PolicyName="own", PolicyDocument=document)
        return Caller(
            kind="role",
            account=ACCOUNT,
            region="us-east-1",
            arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/test",
            user_id="AROA:test",
            access_key_id="",
            source_ip="127.0.0.1",
            request_id="request",
            role=name,
            issued=self.cloud.clock(),
        )
