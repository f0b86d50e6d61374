"""Run Command as its callers see it.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from command_scene import CORE, Scene
from ec2_fixtures import ACCOUNT, Cloud
from identity_fixtures import allow, policy, refused, trust

from skylift.cloud.services.ssm.command_view import together

SHELL = "AWS-RunShellScript"


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


def test_what_is_sent_is_told(scene: Scene) -> None:
    server = scene.server(Name="web")
    sent = scene.ssm(
        "SendCommand",
        DocumentName=SHELL,
        InstanceIds=[server],
        Parameters={"commands": ["date"], "executionTimeout": ["60"]},
        TimeoutSeconds=600,
        Comment="when",
    )["Command"]
    now = scene.cloud.clock()
    assert (sent["Status"], sent["TargetCount"], sent["CompletedCount"]) == ("Pending", 1, 0)
    # "Total timeout": https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
    assert sent["ExpiresAfter"] == now + timedelta(seconds=660)
    assert (sent["MaxConcurrency"], sent["MaxErrors"], sent["TimeoutSeconds"]) == ("50", "0", 600)
    assert scene.command(sent["CommandId"]) == sent
    (listed,) = scene.ssm("ListCommandInvocations", CommandId=sent["CommandId"], Details=True)["CommandInvocations"]
    assert (listed["InstanceId"], listed["InstanceName"], listed["Status"]) == (server, "web", "Pending")
    assert listed["CommandPlugins"][0]["Name"] == "aws:runShellScript"
    told = scene.invocation(sent["CommandId"], server)
    # "If the response code is -1, then the command hasn't started running": API_GetCommandInvocation.
    assert (told["Status"], told["ResponseCode"], told["ExecutionStartDateTime"]) == ("Pending", -1, "")


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (None, "no role"),
        ("without", "a role that may not"),
        ("half", "a role whose agent could not hear"),
        ("distrusting", "a role that EC2 may not take"),
    ],
)
def test_a_server_whose_role_does_not_allow_it_is_not_managed(scene: Scene, profile: str | None, why: str) -> None:
    """The words were recorded on AWS: gravitational/teleport pull request 25257."""
    scene.profile("without")
    scene.profile("half")
    half = policy(allow("ssm:UpdateInstanceInformation"))
    scene.iam("PutRolePolicy", RoleName="half", PolicyName="own", PolicyDocument=half)
    scene.profile("distrusting", CORE, trust=trust({"AWS": ACCOUNT}))
    server = scene.server(profile)
    with refused("InvalidInstanceId", f"Instances [[{server}]] not in a valid state for account {ACCOUNT}"):
        scene.send(server)
    assert scene.ssm("DescribeInstanceInformation")["InstanceInformationList"] == [], why
    assert scene.ssm("ListCommands")["Commands"] == []


def test_managed_servers_are_described(scene: Scene) -> None:
    on, off = scene.server(stage="prod"), scene.server(state="stopped")
    scene.server(state="terminated")
    found = scene.ssm("DescribeInstanceInformation")["InstanceInformationList"]
    assert {each["InstanceId"]: each["PingStatus"] for each in found} == {on: "Online", off: "ConnectionLost"}

    def ids(**filters: list[str]) -> list[str]:
        given = [{"Key": key.replace("_", ":"), "Values": values} for key, values in filters.items()]
        answer = scene.ssm("DescribeInstanceInformation", Filters=given)
        return [each["InstanceId"] for each in answer["InstanceInformationList"]]

    assert ids(PingStatus=["Online"]) == ids(tag_stage=["prod", "test"]) == ids(InstanceIds=[on]) == [on]
    assert ids(PlatformTypes=["Windows"]) == []
    older = [{"key": "PingStatus", "valueSet": ["ConnectionLost"]}]
    answer = scene.ssm("DescribeInstanceInformation", InstanceInformationFilterList=older)
    assert [each["InstanceId"] for each in answer["InstanceInformationList"]] == [off]
    with refused("InvalidFilterKey", "AgentVersion"):
        ids(AgentVersion=["3"])


def test_targets(scene: Scene) -> None:
    web, db = scene.server(role="web", stage="prod"), scene.server(role="db", stage="prod")
    scene.server(None, role="web")

    def meant(*targets: tuple[str, list[str]]) -> set[str]:
        command = scene.send(Targets=[{"Key": key, "Values": values} for key, values in targets])
        listed = scene.ssm("ListCommandInvocations", CommandId=command)["CommandInvocations"]
        return {each["InstanceId"] for each in listed}

    assert meant(("tag:role", ["web"])) == {web}
    assert meant(("tag:role", ["web", "db"])) == {web, db}
    assert meant(("tag:stage", ["prod"]), ("tag:role", ["db"])) == {db}
    assert meant(("tag-key", ["stage"])) == {web, db}
    assert meant(("InstanceIds", [web])) == meant(("instanceids", [web])) == {web}
    with refused("InvalidInstanceId", "i-0123456789abcdef0"):
        meant(("instanceids", ["i-0123456789abcdef0"]))
    nobody = scene.send(Targets=[{"Key": "tag:role", "Values": ["none"]}])
    # "No Instances In Tag ... This is a terminal state": API_Command, StatusDetails.
    assert scene.command(nobody)["StatusDetails"] == "NoInstancesInTag"


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"DocumentName": "AWS-RunPowerShellScript"}, "InvalidDocument", "AWS-RunPowerShellScript does not exist"),
        ({"DocumentVersion": "7"}, "InvalidDocumentVersion", "7"),
        ({"Parameters": {}}, "InvalidParameters", "commands"),
        ({"Parameters": {"commands": []}}, "InvalidParameters", "commands"),
        ({"Parameters": {"commands": ["a"], "command": ["b"]}}, "InvalidParameters", "command"),
        ({"Parameters": {"commands": ["a"], "executionTimeout": ["0"]}}, "InvalidParameters", "executionTimeout"),
        ({"Parameters": {"commands": ["a"], "executionTimeout": ["172801"]}}, "InvalidParameters", "executionTimeout"),
        ({"Parameters": {"commands": ["a"], "executionTimeout": ["1", "2"]}}, "InvalidParameters", "one value"),
        ({"Parameters": {"commands": ["echo {{ssm:a}}"]}}, "InvalidParameters", "{{ssm:NAME}}"),
        ({"Parameters": {"commands": ["x" * 50_000]}}, "MaxDocumentSizeExceeded", "48 KiB"),
        ({"OutputS3BucketName": "nowhere"}, "InvalidOutputFolder", "nowhere"),
        ({"InstanceIds": []}, "ValidationException", "InstanceIds"),
        ({"Targets": [{"Key": "tag:a", "Values": ["b"]}]}, "ValidationException", "either"),
        (
            {"InstanceIds": [], "Targets": [{"Key": "resource-groups:Name", "Values": ["g"]}]},
            "ValidationException",
            "group",
        ),
    ],
)
def test_what_cannot_be_sent(scene: Scene, params: dict[str, Any], code: str, words: str) -> None:
    server = scene.server()
    given = {"DocumentName": SHELL, "InstanceIds": [server], "Parameters": {"commands": ["true"]}, **params}
    with refused(code, words):
        scene.ssm("SendCommand", **given)
    assert scene.ssm("ListCommands")["Commands"] == []
    with refused("DuplicateInstanceId"):
        scene.send(server, server)


def test_the_document_may_be_named_by_its_arn(scene: Scene) -> None:
    name = f"arn:aws:ssm:us-east-1::document/{SHELL}"
    server = scene.server()
    sent = scene.ssm("SendCommand", DocumentName=name, InstanceIds=[server], Parameters={"commands": ["a"]})
    assert sent["Command"]["DocumentName"] == SHELL


def test_cancelling_what_has_not_begun(scene: Scene) -> None:
    one, other = scene.server(), scene.server()
    command = scene.send(one, other)
    scene.ssm("CancelCommand", CommandId=command, InstanceIds=[one])
    assert scene.invocation(command, one)["Status"] == "Cancelled"
    assert scene.invocation(command, other)["Status"] == "Pending"
    scene.ssm("CancelCommand", CommandId=command)
    assert scene.command(command)["Status"] == "Cancelled"
    with refused("InvalidCommandId"):
        scene.ssm("CancelCommand", CommandId="01234567-89ab-cdef-0123-456789abcdef")
    with refused("InvalidInstanceId", "i-0123456789abcdef0"):
        scene.ssm("CancelCommand", CommandId=command, InstanceIds=["i-0123456789abcdef0"])


def test_lists(scene: Scene) -> None:
    one, other = scene.server(), scene.server()
    sent = []
    for number in range(5):
        sent.append(scene.send(one if number % 2 else other))
        scene.cloud.clock.forward(hours=1)
    newest = list(reversed(sent))

    def listed(**params: Any) -> list[str]:
        return [each["CommandId"] for each in scene.ssm("ListCommands", **params)["Commands"]]

    first = scene.ssm("ListCommands", MaxResults=2)
    assert [each["CommandId"] for each in first["Commands"]] == newest[:2]
    scene.send(one)
    assert listed(NextToken=first["NextToken"]) == newest[2:]
    assert listed(InstanceId=other) == [sent[4], sent[2], sent[0]]
    before = [{"key": "InvokedBefore", "value": "2026-11-25T14:00:00Z"}]
    assert listed(Filters=before) == [sent[1], sent[0]]
    after = [{"key": "InvokedAfter", "value": "2026-11-25T16:00:00Z"}, {"key": "Status", "value": "Pending"}]
    assert listed(Filters=after)[-1] == sent[4]
    assert listed(Filters=[{"key": "ExecutionStage", "value": "Complete"}]) == []
    assert len(listed(Filters=[{"key": "DocumentName", "value": SHELL}])) == 6
    with refused("ValidationException", "'soon'"):
        listed(Filters=[{"key": "InvokedAfter", "value": "soon"}])
    with refused("InvalidNextToken"):
        listed(NextToken="nonsense")
    with refused("InvocationDoesNotExist"):
        scene.invocation(sent[0], one)
    with refused("InvalidPluginName"):
        scene.ssm("GetCommandInvocation", CommandId=sent[1], InstanceId=one, PluginName="aws:other")


def test_permission_is_for_the_document_and_each_server(scene: Scene) -> None:
    """https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html"""
    web, db = scene.server(role="web"), scene.server(role="db")
    document = f"arn:aws:ssm:us-east-1::document/{SHELL}"
    tagged = {"StringEquals": {"ssm:resourceTag/role": "web"}}
    caller = scene.role(
        "operator",
        allow("ssm:SendCommand", document),
        allow("ssm:SendCommand", "arn:aws:ec2:*:*:instance/*", Condition=tagged),
    )

    def send(**to: Any) -> None:
        scene.ssm("SendCommand", caller, DocumentName=SHELL, Parameters={"commands": ["a"]}, **to)

    send(InstanceIds=[web])
    send(Targets=[{"Key": "tag:role", "Values": ["web"]}])
    with refused("AccessDenied", db):
        send(InstanceIds=[web, db])
    with refused("AccessDenied", db):
        send(Targets=[{"Key": "tag-key", "Values": ["role"]}])
    with refused("AccessDenied", "ssm:ListCommands"):
        scene.ssm("ListCommands", caller)


def test_both_outputs_in_a_list() -> None:
    """TruncateOutput of the agent, whose own tests have these shapes:
    https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/framework/processor/executer/iohandler/iohandler.go
    """
    title = "\n----------ERROR-------\n"
    assert together("out", "") == "out"
    assert together("out", "err") == f"out{title}err"
    for stdout, stderr in (("o" * 5000, "e"), ("o", "e" * 5000), ("o" * 5000, "e" * 5000), ("o" * 5000, "")):
        told = together(stdout, stderr)
        assert 2490 <= len(told) <= 2500
        assert ("---Output truncated---" in told, "---Error truncated----" in told) == (
            len(stdout) > 1,
            len(stderr) > 1,
        )
