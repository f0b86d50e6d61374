from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged

from skylift.cloud.domain.instance import ClientToken, Console, FailedCheck, Instance
from skylift.cloud.domain.volume import Volume
from skylift.cloud.loops.ec2.server_spec import LaunchSpecBuilder
from skylift.cloud.services.ec2 import instance
from skylift.cloud.services.ec2.instance import REMEMBERED, forget_terminated
from skylift.cloud.store.instance import FORGET, forget_ended
from skylift.cloud.wiring.queries import Queries


def states(answer: Any, member: str) -> list[tuple[str, str]]:
    return [(one["PreviousState"]["Name"], one["CurrentState"]["Name"]) for one in answer[member]]


def ids(cloud: Cloud, **params: Any) -> set[str]:
    found = cloud.call("DescribeInstances", **params)["Reservations"]
    return {instance["InstanceId"] for one in found for instance in one["Instances"]}


def test_terminating(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    cloud.observe(instance_id, "running")
    answer = cloud.call("TerminateInstances", InstanceIds=[instance_id])
    assert states(answer, "TerminatingInstances") == [("running", "shutting-down")]
    row = cloud.row(instance_id)
    assert (row.desired, row.state) == ("terminated", "shutting-down")
    cloud.observe(instance_id, "terminated")
    answer = cloud.call("TerminateInstances", InstanceIds=[instance_id])
    assert states(answer, "TerminatingInstances") == [("terminated", "terminated")]
    shown = cloud.instance(instance_id)
    assert shown["State"] == {"Code": 48, "Name": "terminated"}
    assert shown["StateTransitionReason"] == "User initiated (2026-11-25 12:00:00 GMT)"
    assert shown["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert (shown["NetworkInterfaces"], shown["BlockDeviceMappings"], shown["SecurityGroups"]) == ([], [], [])
    assert "PrivateIpAddress" not in shown and "VpcId" not in shown
    # Until the loop has removed its file.
    assert [one["State"] for one in cloud.call("DescribeVolumes")["Volumes"]] == ["deleting"]


def test_nobody_else_operates_an_instance_or_what_is_its_own(cloud: Cloud) -> None:
    """As cloud-custodian recorded them on AWS: tests/data/placebo/**/ec2.DescribeInstances_1.json"""
    shown = cloud.instance(cloud.run()["InstanceId"])
    assert shown["MaintenanceOptions"] == {"AutoRecovery": "default", "RebootMigration": "default"}
    assert shown["NetworkPerformanceOptions"] == {"BandwidthWeighting": "default"}
    own = cloud.call("DescribeNetworkInterfaces")["NetworkInterfaces"] + cloud.call("DescribeVolumes")["Volumes"]
    assert [one["Operator"] for one in (shown, *shown["NetworkInterfaces"], *own)] == [{"Managed": False}] * 4


def test_one_that_is_not_there_ends_none(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    missing = ["i-00000000000000001", "i-00000000000000002"]
    refusal = cloud.refusal("TerminateInstances", InstanceIds=[instance_id, *missing])
    assert (refusal.code, refusal.message) == (
        "InvalidInstanceID.NotFound",
        f"The instance IDs '{', '.join(missing)}' do not exist",
    )
    assert cloud.code("TerminateInstances", InstanceIds=["me"]) == "InvalidInstanceID.Malformed"
    assert cloud.row(instance_id).desired == "running"


def test_protected_instances_stay(cloud: Cloud) -> None:
    instance_id = cloud.run(DisableApiTermination=True)["InstanceId"]
    other = cloud.run()["InstanceId"]
    assert cloud.code("TerminateInstances", InstanceIds=[other, instance_id]) == "OperationNotPermitted"
    assert cloud.row(other).state == "pending"
    cloud.call("ModifyInstanceAttribute", InstanceId=instance_id, DisableApiTermination={"Value": False})
    cloud.call("TerminateInstances", InstanceIds=[other, instance_id])


def test_stopping_and_starting(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    before = cloud.instance(instance_id)
    assert cloud.code("StopInstances", InstanceIds=[instance_id]) == "IncorrectInstanceState"
    cloud.observe(instance_id, "running")
    assert states(cloud.call("StartInstances", InstanceIds=[instance_id]), "StartingInstances") == [
        ("running", "running")
    ]
    answer = cloud.call("StopInstances", InstanceIds=[instance_id])
    assert states(answer, "StoppingInstances") == [("running", "stopping")]
    assert cloud.row(instance_id).desired == "stopped"
    assert cloud.code("StartInstances", InstanceIds=[instance_id]) == "IncorrectInstanceState"
    cloud.observe(instance_id, "stopped")
    stopped = cloud.instance(instance_id)
    assert "PublicIpAddress" not in stopped
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    cloud.clock.forward(minutes=5)
    answer = cloud.call("StartInstances", InstanceIds=[instance_id])
    assert states(answer, "StartingInstances") == [("stopped", "pending")]
    after = cloud.instance(instance_id)
    assert after["PublicIpAddress"] != before["PublicIpAddress"]
    assert after["LaunchTime"] > before["LaunchTime"]
    cloud.call("TerminateInstances", InstanceIds=[instance_id])
    assert cloud.code("StartInstances", InstanceIds=[instance_id]) == "IncorrectInstanceState"


def test_one_without_a_public_address_gets_none_by_starting(cloud: Cloud) -> None:
    interfaces = [{"DeviceIndex": 0, "AssociatePublicIpAddress": False}]
    instance_id = cloud.run(NetworkInterfaces=interfaces)["InstanceId"]
    cloud.observe(instance_id, "stopped")
    cloud.call("StartInstances", InstanceIds=[instance_id])
    assert "PublicIpAddress" not in cloud.instance(instance_id)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (filters(instance_state_name="running"), {"a"}),
        (filters(instance_state_code="0"), {"b"}),
        (filters(instance_state_name="pending,running"), {"a", "b"}),
        (filters(**{"tag:job": "a"}), {"a"}),
        (filters(tag_key="job"), {"a", "b"}),
        (filters(instance_type="m7i.*"), {"b"}),
        (filters(ip_address="127.7.1.1"), {"a"}),
        (filters(private_ip_address="172.31.0.5"), {"b"}),
        (filters(**{"network-interface.addresses.private-ip-address": "172.31.0.5"}), {"b"}),
        (filters(**{"instance.group-name": "default"}), {"a", "b"}),
        (filters(owner_id=ACCOUNT, availability_zone="us-east-1a"), {"a", "b"}),
        (filters(launch_time="2026-11-25T12:*"), {"a"}),
        (filters(**{"block-device-mapping.device-name": "/dev/xvda"}), {"a", "b"}),
        (filters(**{"metadata-options.http-tokens": "optional"}), {"b"}),
        (filters(client_token="two"), {"b"}),
    ],
)
def test_filters(cloud: Cloud, chosen: list[dict[str, Any]], expected: set[str]) -> None:
    made = {"a": cloud.run(TagSpecifications=tagged("instance", job="a"))["InstanceId"]}
    cloud.observe(made["a"], "running")
    cloud.clock.forward(hours=1)
    made["b"] = cloud.run(
        TagSpecifications=tagged("instance", job="b"),
        InstanceType="m7i.large",
        MetadataOptions={"HttpTokens": "optional"},
        ClientToken="two",
    )["InstanceId"]
    assert ids(cloud, Filters=chosen) == {made[name] for name in expected}


def test_filter_by_reservation(cloud: Cloud) -> None:
    cloud.run()
    second = cloud.call("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=2, MaxCount=2)
    assert ids(cloud, Filters=filters(reservation_id=second["ReservationId"])) == {
        one["InstanceId"] for one in second["Instances"]
    }


def test_pages(cloud: Cloud) -> None:
    made = cloud.call("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=12, MaxCount=12)
    everything = {one["InstanceId"] for one in made["Instances"]}
    seen: list[str] = []
    token: dict[str, str] = {}
    for expected in (5, 5, 2):
        answer = cloud.call("DescribeInstances", MaxResults=5, **token)
        page = [instance["InstanceId"] for one in answer["Reservations"] for instance in one["Instances"]]
        assert len(page) == expected
        seen += page
        token = {"NextToken": answer["NextToken"]} if "NextToken" in answer else {}
    assert token == {}
    assert len(seen) == 12 and set(seen) == everything
    some = seen[:1]
    assert cloud.code("DescribeInstances", MaxResults=5, InstanceIds=some) == "InvalidParameterCombination"
    assert cloud.code("DescribeInstances", MaxResults=4) == "InvalidParameterValue"
    assert cloud.code("DescribeInstances", MaxResults=1001) == "InvalidParameterValue"


def test_status_is_of_running_instances(cloud: Cloud) -> None:
    running, pending = cloud.run()["InstanceId"], cloud.run()["InstanceId"]
    cloud.observe(running, "running")
    (shown,) = cloud.call("DescribeInstanceStatus")["InstanceStatuses"]
    assert shown["InstanceId"] == running
    assert shown["InstanceStatus"]["Details"] == [{"Name": "reachability", "Status": "passed"}]
    both = cloud.call("DescribeInstanceStatus", IncludeAllInstances=True)["InstanceStatuses"]
    assert {one["InstanceId"]: one["SystemStatus"]["Status"] for one in both} == {
        running: "ok",
        pending: "not-applicable",
    }
    chosen = filters(**{"instance-status.status": "ok"})
    assert len(cloud.call("DescribeInstanceStatus", IncludeAllInstances=True, Filters=chosen)["InstanceStatuses"]) == 1
    assert cloud.call("DescribeInstanceStatus", InstanceIds=[pending])["InstanceStatuses"] == []


def test_a_check_that_fails_is_told_in_awss_words(cloud: Cloud) -> None:
    ids = [cloud.run()["InstanceId"] for _ in range(3)]
    since = datetime(2026, 1, 1, tzinfo=UTC)
    failures = {}, {"instance_check": FailedCheck(since, "sshd is stopped")}, {"system_check": FailedCheck(since, "no")}
    for each, failed in zip(ids, failures, strict=True):
        cloud.observe(each, "running")
        with cloud.database.write() as tx:
            row = tx.get(Instance, id=each)
            assert row is not None
            tx.save(replace(row, **failed))
    shown = {one["InstanceId"]: one for one in cloud.call("DescribeInstanceStatus")["InstanceStatuses"]}
    impaired = {"Status": "impaired", "Details": [{"Name": "reachability", "Status": "failed", "ImpairedSince": since}]}
    ok = {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]}
    told = [(shown[each]["InstanceStatus"], shown[each]["SystemStatus"]) for each in ids]
    assert told == [(ok, ok), (impaired, ok), (ok, impaired)]
    for name, wanted in (("instance-status.reachability", ids[1]), ("system-status.reachability", ids[2])):
        chosen = filters(**{name: "failed"})
        (found,) = cloud.call("DescribeInstanceStatus", Filters=chosen)["InstanceStatuses"]
        assert found["InstanceId"] == wanted
    (reservation,) = cloud.call("DescribeInstances", InstanceIds=[ids[1]])["Reservations"]
    message = "Client.InternalError: Status check failed: sshd is stopped"
    assert reservation["Instances"][0]["StateReason"] == {"Code": "Client.InternalError", "Message": message}


def test_console_output(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    assert "Output" not in cloud.call("GetConsoleOutput", InstanceId=instance_id)
    with cloud.database.write() as tx:
        tx.add(Console(instance_id, "grüß dich\n", cloud.clock.now))
    cloud.clock.forward(minutes=1)
    answer = cloud.call("GetConsoleOutput", InstanceId=instance_id, Latest=True)
    assert base64.b64decode(answer["Output"]).decode() == "grüß dich\n"
    assert answer["Timestamp"] < cloud.clock.now


@pytest.mark.parametrize(
    ("attribute", "member", "value"),
    [
        ("instanceType", "InstanceType", {"Value": "t3.micro"}),
        ("userData", "UserData", {"Value": "aGk="}),
        ("disableApiTermination", "DisableApiTermination", {"Value": False}),
        ("instanceInitiatedShutdownBehavior", "InstanceInitiatedShutdownBehavior", {"Value": "stop"}),
        ("rootDeviceName", "RootDeviceName", {"Value": "/dev/xvda"}),
        ("sourceDestCheck", "SourceDestCheck", {"Value": True}),
        ("kernel", "KernelId", {}),
    ],
)
def test_attributes(cloud: Cloud, attribute: str, member: str, value: dict[str, Any]) -> None:
    instance_id = cloud.run(UserData="aGk=")["InstanceId"]
    answer = cloud.call("DescribeInstanceAttribute", InstanceId=instance_id, Attribute=attribute)
    assert answer == {"InstanceId": instance_id, member: value}


def test_modifying_attributes(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]

    def modify(**params: Any) -> None:
        cloud.call("ModifyInstanceAttribute", InstanceId=instance_id, **params)

    def code(**params: Any) -> str:
        return cloud.code("ModifyInstanceAttribute", InstanceId=instance_id, **params)

    other = cloud.call("CreateSecurityGroup", GroupName="g", Description="d")["GroupId"]
    modify(Groups=[other])
    modify(SourceDestCheck={"Value": False})
    modify(InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    shown = cloud.instance(instance_id)
    assert shown["SecurityGroups"] == [{"GroupId": other, "GroupName": "g"}]
    assert shown["SourceDestCheck"] is False
    assert cloud.row(instance_id).shutdown_behavior == "terminate"
    assert code(InstanceType={"Value": "t3.small"}) == "IncorrectInstanceState"
    cloud.observe(instance_id, "stopped")
    modify(InstanceType={"Value": "t3.small"})
    modify(UserData={"Value": b"new"})
    row = cloud.row(instance_id)
    assert (row.type, row.user_data) == ("t3.small", base64.b64encode(b"new").decode())
    assert code(InstanceType={"Value": "t4g.small"}) == "InvalidParameterValue"
    assert code(Groups=[]) == "SecurityGroupsPerInterfaceLimitExceeded"
    assert code() == "MissingParameter"
    assert code(EbsOptimized={"Value": True}) == "UnsupportedOperation"
    assert code(SourceDestCheck={"Value": True}, Groups=[other]) == "InvalidParameterCombination"


def test_terminated_instances_are_forgotten_after_an_hour(cloud: Cloud) -> None:
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "ClientToken": "t"}
    instance_id = cloud.call("RunInstances", **asked)["Instances"][0]["InstanceId"]
    kept = cloud.run(ClientToken="other")["InstanceId"]
    cloud.observe(instance_id, "terminated")
    cloud.clock.forward(minutes=59)
    with cloud.database.write() as tx:
        tx.add(Console(instance_id, "bye", tx.now))
        forget_terminated(tx)
    assert ids(cloud) == {instance_id, kept}
    cloud.clock.forward(minutes=1)
    with cloud.database.write() as tx:
        forget_terminated(tx)
    assert ids(cloud) == {kept}
    with cloud.database.read() as tx:
        assert tx.find(Console) == []
        assert [volume.instance_id for volume in tx.find(Volume)] == [None, kept]
        assert [token.token for token in tx.find(ClientToken)] == ["other"]
        assert [row.id for row in tx.find(Instance)] == [kept]
    assert cloud.call("RunInstances", **asked)["Instances"][0]["InstanceId"] != instance_id


def test_many_are_forgotten_some_at_a_time_and_by_an_index(cloud: Cloud) -> None:
    ids = [cloud.run()["InstanceId"] for _ in range(7)]
    for instance_id in ids[:5]:
        cloud.observe(instance_id, "terminated")
        cloud.clock.forward(seconds=1)
    cloud.clock.forward(hours=1)
    with cloud.database.write() as tx:
        looked_at = [row[3] for row in tx.execute(f"EXPLAIN QUERY PLAN {FORGET}", "9", 2).fetchall()]
        assert any("instances_by_end (ended<?)" in each for each in looked_at), looked_at
        assert not any("SCAN instances" in each or "TEMP B-TREE" in each for each in looked_at), looked_at
        assert forget_ended(tx, tx.now - REMEMBERED, 2) == 2
        assert {row.id for row in tx.find(Instance)} == {*ids[2:]}, "those that ended first"
    written: list[int] = []
    cloud.database.when_changed(lambda: written.append(len(ids_of(cloud))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance, "FORGOTTEN_AT_ONCE", 2)
        Queries(cloud.database, cast(LaunchSpecBuilder, None), "us-east-1").forget()
    assert written[:3] == [3, 2, 2]


def ids_of(cloud: Cloud) -> list[str]:
    with cloud.database.read() as tx:
        return [row.id for row in tx.find(Instance)]


def test_permissions_of_an_instance_name_its_tags(cloud: Cloud) -> None:
    instance_id = cloud.run(TagSpecifications=tagged("instance", job="j"))["InstanceId"]
    (check,) = cloud.checks("TerminateInstances", InstanceIds=[instance_id])
    assert check.action == "ec2:TerminateInstances"
    assert check.resource == f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{instance_id}"
    assert check.context is not None
    assert check.context["aws:ResourceTag/job"] == check.context["ec2:ResourceTag/job"] == "j"
    assert check.context["ec2:InstanceType"] == "t3.micro"
    (check,) = cloud.checks("DescribeInstances")
    assert (check.action, check.resource) == ("ec2:DescribeInstances", "*")


def test_the_source_destination_check_is_reset(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    cloud.call("ModifyInstanceAttribute", InstanceId=instance_id, SourceDestCheck={"Value": False})
    assert cloud.instance(instance_id)["SourceDestCheck"] is False
    cloud.call("ResetInstanceAttribute", InstanceId=instance_id, Attribute="sourceDestCheck")
    assert cloud.instance(instance_id)["SourceDestCheck"] is True
    asked = {"InstanceId": instance_id, "Attribute": "kernel"}
    assert cloud.code("ResetInstanceAttribute", **asked) == "InvalidParameterValue"


def test_burstable_instances_have_unlimited_credits(cloud: Cloud) -> None:
    burstable, other = cloud.run()["InstanceId"], cloud.run(InstanceType="m7i.large")["InstanceId"]
    answer = cloud.call("DescribeInstanceCreditSpecifications")
    unlimited = {"InstanceId": burstable, "CpuCredits": "unlimited"}
    assert answer["InstanceCreditSpecifications"] == [unlimited]
    answer = cloud.call("DescribeInstanceCreditSpecifications", InstanceIds=[burstable, other])
    assert answer["InstanceCreditSpecifications"] == [unlimited, {"InstanceId": other, "CpuCredits": "standard"}]
    named = [{"Name": "instance-id", "Values": [other]}]
    assert cloud.call("DescribeInstanceCreditSpecifications", Filters=named)["InstanceCreditSpecifications"] == []
    assert (
        cloud.code("DescribeInstanceCreditSpecifications", InstanceIds=["i-12345678"]) == "InvalidInstanceID.NotFound"
    )


def test_who_names_a_state_costs_nothing_for_the_terminated(cloud: Cloud) -> None:
    """They are described for an hour, each with its user data: a store with a thousand of them is not read for the
    one that runs."""
    running, gone = cloud.run()["InstanceId"], cloud.run()["InstanceId"]
    cloud.observe(running, "running")
    cloud.call("TerminateInstances", InstanceIds=[gone])
    cloud.observe(gone, "terminated")
    by_state, by_type = filters(instance_state_name="running"), filters(instance_type="t3.micro")
    with cloud.database.write() as tx:
        tx.execute("UPDATE instances SET metadata = 'cannot be read' WHERE id = ?", gone)
    assert ids(cloud, Filters=by_state) == {running}
    with pytest.raises(ValueError, match="Expecting value"):
        ids(cloud, Filters=by_type)
