"""The ledger of what ran: whatever changes a row, the spans that are paid for follow it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from ec2_fixtures import Cloud

from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.usage import Usage
from skylift.cloud.domain.volume import Volume
from skylift.cloud.services.ec2.instance import forget_terminated
from skylift.cloud.store.usage import end_at, forget_usages, usages_between


def spans(cloud: Cloud, **where: Any) -> list[Usage]:
    with cloud.database.read() as tx:
        return tx.find(Usage, **where)


def seconds(cloud: Cloud, **where: Any) -> list[float | None]:
    return [(one.ended - one.started).total_seconds() if one.ended else None for one in spans(cloud, **where)]


def test_an_instance_is_paid_for_while_it_runs(cloud: Cloud) -> None:
    made = cloud.run()["InstanceId"]
    cloud.clock.forward(seconds=5)
    assert spans(cloud, kind="instance") == []
    cloud.observe(made, "running")
    cloud.clock.forward(seconds=100)
    cloud.call("RebootInstances", InstanceIds=[made])
    cloud.clock.forward(seconds=20)
    cloud.call("StopInstances", InstanceIds=[made])
    cloud.clock.forward(seconds=7)
    cloud.observe(made, "stopped")
    cloud.clock.forward(seconds=1000)
    cloud.call("StartInstances", InstanceIds=[made])
    cloud.observe(made, "running")
    cloud.clock.forward(seconds=3)
    cloud.call("TerminateInstances", InstanceIds=[made])
    cloud.observe(made, "terminated")
    assert seconds(cloud, kind="instance") == [120, 3]
    first, _ = spans(cloud, kind="instance")
    assert (first.resource_id, first.type, first.zone, first.reason) == (
        made,
        "t3.micro",
        "us-east-1a",
        "Client.UserInitiatedShutdown",
    )
    cloud.clock.forward(hours=2)
    with cloud.database.write() as tx:
        forget_terminated(tx)
        assert tx.find(Instance) == []
    assert seconds(cloud, kind="instance") == [120, 3], "what is no longer described has been paid for all the same"


def test_a_stopped_server_costs_its_disk_only(cloud: Cloud) -> None:
    made = cloud.run()["InstanceId"]
    cloud.observe(made, "running")
    assert [one.kind for one in spans(cloud, ended=None)] == ["address", "volume", "instance"]
    cloud.clock.forward(seconds=60)
    cloud.call("StopInstances", InstanceIds=[made])
    cloud.observe(made, "stopped")
    (disk,) = spans(cloud, ended=None)
    assert (disk.kind, disk.type, disk.quantity, disk.instance_id) == ("volume", "gp3", 8, made)


def test_an_elastic_ip_counts_once_and_by_itself(cloud: Cloud) -> None:
    made = cloud.run()["InstanceId"]
    cloud.observe(made, "running")
    cloud.clock.forward(seconds=60)
    address = cloud.call("AllocateAddress", Domain="vpc")["AllocationId"]
    cloud.call("AssociateAddress", AllocationId=address, InstanceId=made)
    (held,) = spans(cloud, kind="address", ended=None)
    assert (held.resource_id, held.instance_id) == (address, made)
    cloud.clock.forward(seconds=60)
    (associated,) = cloud.call("DescribeAddresses")["Addresses"]
    cloud.call("DisassociateAddress", AssociationId=associated["AssociationId"])
    cloud.call("ReleaseAddress", AllocationId=address)
    assert spans(cloud, resource_id=address, ended=None) == []


def test_a_volume_that_is_changed_goes_on_in_another_span(cloud: Cloud) -> None:
    volume = cloud.call("CreateVolume", AvailabilityZone="us-east-1a", Size=10)["VolumeId"]
    cloud.clock.forward(seconds=30)
    with cloud.database.write() as tx:
        (row,) = tx.find(Volume, id=volume)
        tx.save(replace(row, size_gib=20, state="available"))
    cloud.call("CreateTags", Resources=[volume], Tags=[{"Key": "team", "Value": "net"}])
    cloud.clock.forward(seconds=30)
    with cloud.database.write() as tx:
        tx.remove(tx.find(Volume, id=volume)[0])
    before, after = spans(cloud, resource_id=volume)
    assert (before.quantity, after.quantity) == (10, 20)
    assert before.ended == after.started and before.began == after.began
    assert after.tags == {"team": "net"}
    assert seconds(cloud, resource_id=volume) == [30, 30]


def test_a_clock_that_was_set_back_makes_no_negative_span(cloud: Cloud) -> None:
    made = cloud.run()["InstanceId"]
    cloud.observe(made, "running")
    cloud.clock.forward(seconds=-50)
    cloud.observe(made, "stopped")
    assert seconds(cloud, kind="instance") == [0]


def test_spans_are_found_by_time_and_forgotten_in_the_end(cloud: Cloud) -> None:
    start = cloud.clock.now
    made = cloud.run()["InstanceId"]
    cloud.observe(made, "running")
    cloud.clock.forward(hours=1)
    cloud.observe(made, "stopped")
    hour = timedelta(hours=1)
    with cloud.database.write() as tx:
        assert [one.kind for one in usages_between(tx, start, start + hour)] == ["address", "volume", "instance"]
        assert [one.kind for one in usages_between(tx, start + hour, start + 2 * hour)] == ["volume"]
        assert usages_between(tx, start - hour, start) == []
    cloud.clock.forward(days=401)
    with cloud.database.write() as tx:
        forget_usages(tx)
        assert [one.kind for one in tx.find(Usage)] == ["volume"]


def test_what_comes_to_nothing_leaves_no_span(cloud: Cloud) -> None:
    made = cloud.run()["InstanceId"]
    cloud.code("TerminateInstances", InstanceIds=[made], DryRun=True)
    cloud.observe(made, "terminated")
    assert spans(cloud, kind="instance") == []


def test_the_end_of_an_instance_ends_its_volumes_or_frees_them(cloud: Cloud) -> None:
    """It is a trigger of the database that does so."""
    made = cloud.run(
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}},
            {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 2, "DeleteOnTermination": False}},
        ]
    )["InstanceId"]
    with cloud.database.write() as tx:
        for volume in tx.find(Volume, root=False):
            tx.save(replace(volume, state="in-use", attachment="attached"))
    cloud.observe(made, "running")
    cloud.clock.forward(seconds=100)
    cloud.call("TerminateInstances", InstanceIds=[made])
    assert len(spans(cloud, kind="volume", ended=None)) == 3
    cloud.observe(made, "terminated")
    (kept,) = spans(cloud, kind="volume", ended=None)
    assert (kept.quantity, kept.instance_id) == (2, None)
    assert sorted(one.quantity for one in spans(cloud, kind="volume") if one.ended) == [1, 2, 8]


def test_an_instance_whose_end_nobody_saw_ends_with_its_address(cloud: Cloud) -> None:
    made = cloud.run()["InstanceId"]
    other = cloud.run()["InstanceId"]
    for one in (made, other):
        cloud.observe(one, "running")
    seen = cloud.clock.now + timedelta(minutes=5)
    cloud.clock.forward(hours=60)
    with cloud.database.write() as tx:
        end_at(tx, made, seen)
    cloud.observe(made, "stopped")
    assert [one.kind for one in spans(cloud, instance_id=made, ended=None)] == ["volume"]
    assert {one.ended for one in spans(cloud, instance_id=made) if one.kind != "volume"} == {seen}
    assert len(spans(cloud, instance_id=other, ended=None)) == 3
