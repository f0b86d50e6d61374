"""How long a writer waits beside the largest request to EC2 of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from ec2_fixtures import Cloud
from fleet_scene import SPEC, alive, make, make_template, step
from write_watch import MOST, Watch

from skylift import catalogue
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import FleetMember
from skylift.cloud.domain.instance import Instance, State
from skylift.cloud.domain.market import VcpuQuota
from skylift.cloud.domain.network import NetworkInterface, Rule, SecurityGroup
from skylift.cloud.domain.volume import Volume
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.database import Database
from skylift.cloud.store.fleet import instances_left

HUNDRED = 100
"""Of what takes its time by its bytes: as many as show that they do not add up."""
TAGS = [{"Key": f"{number:03}" + "é" * 125, "Value": "\N{SNOWMAN}" * 256} for number in range(50)]
"""The most that a resource may have, the longest that they may be."""


@pytest.fixture(name="watch")
def watch_fixture(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(cloud.database, monkeypatch)


def add(cloud: Cloud, *nouns: Any) -> None:
    """Unwatched."""
    with Database.write(cloud.database) as tx:
        for noun in nouns:
            tx.add(noun)


def hexed(prefix: str, number: int) -> str:
    return f"{prefix}-{number:017x}"


def volumes(cloud: Cloud) -> list[str]:
    made = [
        Volume(hexed("vol", number), 1, "us-east-1a", cloud.clock(), state="available") for number in range(2 * HUNDRED)
    ]
    add(cloud, *made)
    return [one.id for one in made]


def servers(cloud: Cloud, state: State = "running", begin: int = 0) -> list[str]:
    """As RunInstances makes them, but for their number."""
    first = cloud.row(cloud.run()["InstanceId"])
    user_data = "A" * 21_000
    made = [
        replace(first, id=hexed("i", number), state=state, uid_base=number, booted=True, user_data=user_data)
        for number in range(begin, begin + HUNDRED)
    ]
    add(cloud, *made)
    return [one.id for one in made]


def groups(cloud: Cloud) -> list[str]:
    """Groups of sixty rules each; answers the ids of these."""
    vpc = cloud.default("vpc")["VpcId"]
    numbers = iter(range(120))
    found: list[str] = []
    for group in range(2):
        rules = tuple(
            Rule(hexed("sgr", next(numbers)), False, "tcp", port, port, cidr="10.0.0.0/8") for port in range(60)
        )
        add(cloud, SecurityGroup(hexed("sg", group), vpc, f"group-{group}", "of sixty rules", rules))
        found += [rule.id for rule in rules]
    return found


def tag_volumes(cloud: Cloud) -> None:
    cloud.call("CreateTags", Resources=volumes(cloud), Tags=TAGS)


def tag_servers(cloud: Cloud) -> None:
    cloud.call("CreateTags", Resources=servers(cloud), Tags=TAGS)


def tag_rules(cloud: Cloud) -> None:
    """Each by itself, too, so that no two have the same tags from there on."""
    ids = groups(cloud)
    cloud.call("CreateTags", Resources=ids, Tags=TAGS)
    for number, rule in enumerate(ids):
        cloud.call("CreateTags", Resources=[rule], Tags=[{**TAGS[0], "Value": str(number)}])
    shown = cloud.call("DescribeSecurityGroupRules", SecurityGroupRuleIds=ids)["SecurityGroupRules"]
    assert [(len(one["Tags"]), one["Tags"][0]["Value"]) for one in shown] == [(50, str(at)) for at in range(120)]
    cloud.call("DeleteTags", Resources=ids, Tags=[{"Key": tag["Key"]} for tag in TAGS[1:]])


def untag_volumes(cloud: Cloud) -> None:
    ids = volumes(cloud)
    with Database.write(cloud.database) as tx:
        for volume in tx.find(Volume):
            tx.save(replace(volume, tags={tag["Key"]: tag["Value"] for tag in TAGS}))
    cloud.call("DeleteTags", Resources=ids)


def terminate_servers(cloud: Cloud) -> None:
    ids = servers(cloud)
    changes = cloud.call("TerminateInstances", InstanceIds=ids)["TerminatingInstances"]
    assert [change["InstanceId"] for change in changes] == ids
    assert {change["CurrentState"]["Name"] for change in changes} == {"shutting-down"}


def stop_servers(cloud: Cloud) -> None:
    assert len(cloud.call("StopInstances", InstanceIds=servers(cloud))["StoppingInstances"]) == HUNDRED


def start_servers(cloud: Cloud) -> None:
    changes = cloud.call("StartInstances", InstanceIds=servers(cloud, "stopped"))["StartingInstances"]
    assert len(changes) == HUNDRED


def reboot_servers(cloud: Cloud) -> None:
    ids = servers(cloud)
    cloud.call("RebootInstances", InstanceIds=ids)
    assert all(cloud.row(server).rebooting for server in ids)


def monitor_servers(cloud: Cloud) -> None:
    ids = servers(cloud)
    assert len(cloud.call("MonitorInstances", InstanceIds=ids)["InstanceMonitorings"]) == HUNDRED
    assert all(cloud.row(server).detailed_monitoring for server in ids)


def run_servers(cloud: Cloud) -> None:
    """Some by their number, and some by what is written for each."""
    whole = cloud.call("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=60, MaxCount=60)
    assert [one["AmiLaunchIndex"] for one in whole["Instances"]] == list(range(60))
    assert len(cloud.call("DescribeInstances")["Reservations"]) == 1
    tags = [{"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume", "network-interface")]
    cloud.run(MinCount=8, MaxCount=8, UserData="A" * 21_000, TagSpecifications=tags)


def allocate_hosts(cloud: Cloud) -> None:
    tags = [{"ResourceType": "dedicated-host", "Tags": TAGS}]
    zone = {"AvailabilityZone": "us-east-1a", "InstanceFamily": "m5"}
    ids = cloud.call("AllocateHosts", **zone, Quantity=HUNDRED, TagSpecifications=tags)["HostIds"]
    assert len({host["HostId"] for host in cloud.call("DescribeHosts", HostIds=ids)["Hosts"]}) == HUNDRED
    assert cloud.call("ModifyHosts", HostIds=ids, AutoPlacement="off")["Successful"] == ids
    assert cloud.call("ReleaseHosts", HostIds=ids)["Successful"] == ids


def request_spot(cloud: Cloud) -> None:
    tags = [{"ResourceType": "spot-instances-request", "Tags": TAGS}]
    launch = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "UserData": "A" * 21_000}
    asked = {"LaunchSpecification": launch, "InstanceCount": HUNDRED, "TagSpecifications": tags, "ClientToken": "t"}
    made = cloud.call("RequestSpotInstances", **asked)["SpotInstanceRequests"]
    assert len(made) == HUNDRED
    assert cloud.call("RequestSpotInstances", **asked)["SpotInstanceRequests"] == made
    ids = [one["SpotInstanceRequestId"] for one in made]
    assert len(cloud.call("CancelSpotInstanceRequests", SpotInstanceRequestIds=ids)["CancelledSpotInstanceRequests"])


def launch_fleets(cloud: Cloud) -> None:
    """Instant ones: of many servers, of what is heaviest for each, from many pools, and of a single zone."""
    template = make_template(cloud)
    made = cloud.call("CreateFleet", **fleet_of(60, {}))
    assert sum(len(group["InstanceIds"]) for group in made["Instances"]) == 60
    kinds = [name for name in catalogue.types() if name.startswith(("c5.", "m5.", "r5."))]
    dear = [{"InstanceType": kind, "MaxPrice": "0.001"} for kind in kinds]
    made = cloud.call("CreateFleet", **fleet_of(1, *dear, market="spot"))
    assert (len(made["Errors"]), made["Instances"]) == (len(kinds) * zones(cloud), [])
    for zone, count in (("us-east-1a", 30), ("us-east-1b", 50)):
        room = {"InstanceType": "t3.micro", "AvailabilityZone": zone, "MarketType": "spot", "InstanceCount": count}
        cloud.control("PutCapacity", **room)
    options = {"SingleAvailabilityZone": True, "MinTargetCapacity": 40}
    places = [{"AvailabilityZone": zone} for zone in ("us-east-1a", "us-east-1b")]
    (group,) = cloud.call("CreateFleet", **fleet_of(60, *places, market="spot", SpotOptions=options))["Instances"]
    assert {cloud.row(one).zone for one in group["InstanceIds"]} == {"us-east-1b"}
    assert len(group["InstanceIds"]) == 50
    heavy = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "UserData": "A" * 21_000}
    cloud.call("CreateLaunchTemplateVersion", LaunchTemplateId=template, LaunchTemplateData=heavy)
    tags = [{"ResourceType": kind, "Tags": TAGS[1:]} for kind in ("instance", "volume", "network-interface")]
    (group,) = cloud.call("CreateFleet", **fleet_of(8, {}, TagSpecifications=tags))["Instances"]
    assert len(group["InstanceIds"]) == 8


def launch_fleet_beside_many(cloud: Cloud) -> None:
    """Each launch looks at the addresses and the uids of all servers that are there."""
    make_template(cloud)
    first = cloud.row(cloud.run()["InstanceId"])
    with Database.read(cloud.database) as tx:
        (interface,) = tx.find(NetworkInterface, instance_id=first.id)
    others: list[Any] = []
    for number in range(2_000):
        uid_base, address = first.uid_base + 65536 * (number + 1), str(ip_address(interface.private_ip) + number + 1)
        server = replace(first, id=hexed("i", number), uid_base=uid_base)
        others += [
            server,
            replace(
                interface,
                id=hexed("eni", number),
                private_ip=address,
                public_ip=None,
                mac=hexed("mac", number),
                instance_id=server.id,
            ),
        ]
    add(cloud, *others)
    cloud.call("CreateFleet", **fleet_of(20, {"AvailabilityZone": first.zone}))


def make_fleets_of_many_pools(cloud: Cloud) -> None:
    """By their names, and by what they have."""
    make_template(cloud)
    kinds = [name for name in catalogue.types() if name.startswith(("c5", "m5", "r5", "c6", "m6", "r6"))]
    named = [{"InstanceType": kind, "AvailabilityZone": f"us-east-1{zone}"} for kind in kinds for zone in "ab"]
    made = [cloud.call("CreateFleet", **fleet_of(1, *named))["FleetId"] for _ in range(3)]
    answer = cloud.call("DeleteFleets", FleetIds=made, TerminateInstances=True)
    assert len(answer["SuccessfulFleetDeletions"]) == 3
    anything = {"VCpuCount": {"Min": 0}, "MemoryMiB": {"Min": 0}}
    overrides = [{"InstanceRequirements": {**anything, "AllowedInstanceTypes": [kind]}} for kind in kinds[:100]]
    fleet_id = make(cloud, 1, *overrides)
    step(cloud)
    assert len(alive(cloud)) == 4
    asked = {"FleetId": fleet_id, "LaunchTemplateConfigs": fleet_of(1, *overrides)["LaunchTemplateConfigs"]}
    cloud.call("ModifyFleet", **asked)
    cloud.control("PutQuota", InstanceClass="standard", MarketType="on-demand", VCpus=0)
    make(cloud, 1, {"InstanceRequirements": {**anything, "AllowedInstanceTypes": ["c5*", "m5*", "r5*"]}})
    step(cloud)


def fleet_of(total: int, *overrides: dict[str, Any], market: str = "on-demand", **params: Any) -> dict[str, Any]:
    """What asks for an instant fleet of the scene's template."""
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": SPEC, "Overrides": list(overrides)}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": total, "DefaultTargetCapacityType": market},
        **params,
    }


def zones(cloud: Cloud) -> int:
    return len(cloud.call("DescribeAvailabilityZones")["AvailabilityZones"])


def delete_fleets(cloud: Cloud) -> None:
    """One at once, and one that ends by itself."""
    make_template(cloud)
    deleted = make(cloud, 1, Type="instant")
    expired = make(cloud, 0, ValidUntil=cloud.clock.now + timedelta(days=1), TerminateInstancesWithExpiration=True)
    for begin, fleet_id in ((0, deleted), (HUNDRED, expired)):
        for row in [cloud.row(one) for one in servers(cloud, begin=begin)]:
            add(cloud, FleetMember(row.id, fleet_id, "on-demand", 1.0, row.type, row.zone, {}, cloud.clock.now))
    cloud.call("DeleteFleets", FleetIds=[deleted], TerminateInstances=True)
    cloud.clock.forward(days=2)
    step(cloud)
    with cloud.database.read() as tx:
        left = [one.state for fleet_id in (deleted, expired) for one in instances_left(tx, fleet_id).values()]
    assert (set(left), len(left)) == ({"shutting-down"}, 2 * HUNDRED + 1)


def add_rules(cloud: Cloud) -> None:
    """A thousand are counted before they are looked at."""
    vpc = cloud.default("vpc")["VpcId"]
    group = cloud.call("CreateSecurityGroup", GroupName="many", Description="many", VpcId=vpc)["GroupId"]
    for operation in ("AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"):
        ranges = [{"CidrIp": f"10.{number // 256}.{number % 256}.0/24"} for number in range(1000)]
        peers = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges} for port in range(20)]
        with pytest.raises(ServiceError, match="RulesPerSecurityGroupLimitExceeded"):
            cloud.call(operation, GroupId=group, IpPermissions=peers)


def add_tagged_rules(cloud: Cloud) -> None:
    vpc = cloud.default("vpc")["VpcId"]
    group = {"GroupId": cloud.call("CreateSecurityGroup", GroupName="g", Description="d", VpcId=vpc)["GroupId"]}
    tags = [{"ResourceType": "security-group-rule", "Tags": TAGS}]
    ports = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port} for port in range(60)]
    asked = [{**port, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]} for port in ports]
    made = cloud.call("AuthorizeSecurityGroupIngress", **group, IpPermissions=asked, TagSpecifications=tags)
    assert len(cloud.call("DescribeTags", MaxResults=1000)["Tags"]) == 1000
    ids = [one["SecurityGroupRuleId"] for one in made["SecurityGroupRules"]]
    texts = [{"SecurityGroupRuleId": one, "Description": "d"} for one in ids]
    update = "UpdateSecurityGroupRuleDescriptionsIngress"
    cloud.call(update, **group, SecurityGroupRuleDescriptions=texts)
    cloud.call("RevokeSecurityGroupIngress", **group, SecurityGroupRuleIds=ids[1:])
    (left,) = cloud.call("DescribeTags", Filters=[{"Name": "key", "Values": [TAGS[0]["Key"]]}])["Tags"]
    assert left["ResourceId"] == ids[0]
    cloud.call("RevokeSecurityGroupIngress", **group, SecurityGroupRuleIds=ids[:1])
    with cloud.database.read() as tx:
        assert tx.execute("SELECT * FROM rule_tags").fetchall() == []


def change_prefix_list(cloud: Cloud) -> None:
    """One of a thousand entries, which has been changed before."""
    made = cloud.call("CreateManagedPrefixList", PrefixListName="many", MaxEntries=1000, AddressFamily="IPv4")
    named = {"PrefixListId": made["PrefixList"]["PrefixListId"]}
    for number in range(10):
        entries = [{"Cidr": f"10.{number}.{one}.0/24", "Description": "x" * 255} for one in range(100)]
        cloud.call("ModifyManagedPrefixList", **named, AddEntries=entries)
    for number in range(5):
        entry = {"Cidr": "10.0.0.0/24", "Description": str(number)}
        cloud.call("ModifyManagedPrefixList", **named, AddEntries=[entry])
    cloud.call("RestoreManagedPrefixListVersion", **named, PreviousVersion=12, CurrentVersion=16)


LARGEST: tuple[Callable[[Cloud], None], ...] = (
    tag_volumes,
    tag_servers,
    tag_rules,
    untag_volumes,
    terminate_servers,
    stop_servers,
    start_servers,
    reboot_servers,
    monitor_servers,
    run_servers,
    allocate_hosts,
    request_spot,
    launch_fleets,
    launch_fleet_beside_many,
    make_fleets_of_many_pools,
    delete_fleets,
    add_rules,
    add_tagged_rules,
    change_prefix_list,
)


@pytest.mark.parametrize("ask", LARGEST, ids=lambda ask: ask.__name__)
def test_the_largest_request_to_ec2_keeps_other_writers_for_a_moment(
    cloud: Cloud, watch: Watch, ask: Callable[[Cloud], None]
) -> None:
    ask(cloud)
    assert watch.transactions and watch.most.within(MOST), watch.most


def test_of_servers_that_are_changed_some_at_a_time_none_is_where_one_cannot_be(cloud: Cloud) -> None:
    ids = servers(cloud)
    with cloud.database.write() as tx:
        tx.save(replace(cloud.row(ids[-1]), termination_protected=True))
    with pytest.raises(ServiceError, match="OperationNotPermitted"):
        cloud.call("TerminateInstances", InstanceIds=ids)
    assert {cloud.row(server).state for server in ids} == {"running"}


def in_turns(cloud: Cloud, least: int) -> Iterator[Any]:
    """What a launch of sixty servers does, one transaction after the other; after the first, others take the room."""
    params = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": least, "MaxCount": 60}
    with cloud.database.read() as tx:
        handlers = TABLE["ec2", "RunInstances"].prepared(tx, cloud.caller, params)
    for number, handler in enumerate(handlers):
        with cloud.database.write() as tx:
            if number == 1:
                tx.add(VcpuQuota("standard", "on-demand", 0))
            answer = handler(tx, cloud.caller, params)
        yield answer


def test_of_a_launch_that_others_overtake_what_there_is_is_the_answer(cloud: Cloud) -> None:
    *_, answer = in_turns(cloud, least=1)
    with cloud.database.read() as tx:
        assert 0 < len(tx.find(Instance)) == len(answer["Instances"]) < 60


def test_a_launch_that_is_asked_for_again_before_it_is_over_has_to_wait(cloud: Cloud) -> None:
    params = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 60, "MaxCount": 60, "ClientToken": "1"}
    with cloud.database.read() as tx:
        handlers = TABLE["ec2", "RunInstances"].prepared(tx, cloud.caller, params)
    for number, handler in enumerate(handlers):
        if number:
            assert cloud.code("RunInstances", **params) == "PriorRequestNotComplete"
        with cloud.database.write() as tx:
            handler(tx, cloud.caller, params)
    assert len(cloud.call("RunInstances", **params)["Instances"]) == 60


def test_of_a_launch_that_others_overtake_nothing_stays_if_it_is_too_little(cloud: Cloud) -> None:
    with pytest.raises(ServiceError, match="VcpuLimitExceeded"):
        list(in_turns(cloud, least=60))
    with cloud.database.read() as tx:
        assert {one.state for one in tx.find(Instance)} == {"shutting-down"}


def test_a_launch_in_turns_goes_on_with_the_template_and_the_image_that_were_asked_about(cloud: Cloud) -> None:
    """Its caller may not use what others, or itself, let these names mean between two turns."""
    template = make_template(cloud)
    image = {"Name": "/image", "Value": cloud.image_id, "Type": "String", "DataType": "aws:ec2:image"}
    with cloud.database.write() as tx:
        TABLE["ssm", "PutParameter"].handler(tx, cloud.caller, image)
    params = {
        "ImageId": "resolve:ssm:/image",
        "LaunchTemplate": {"LaunchTemplateId": template, "Version": "$Latest"},
        "MinCount": 60,
        "MaxCount": 60,
    }
    with cloud.database.read() as tx:
        handlers = TABLE["ec2", "RunInstances"].prepared(tx, cloud.caller, params)
    for number, handler in enumerate(handlers):
        if number == 1:
            other = {"InstanceType": "t3.large"}
            cloud.call("CreateLaunchTemplateVersion", LaunchTemplateId=template, LaunchTemplateData=other)
            with cloud.database.write() as tx:
                tx.execute("UPDATE parameter_versions SET value = ?", cloud.arm_image_id)
        with cloud.database.write() as tx:
            handler(tx, cloud.caller, params)
    with cloud.database.read() as tx:
        made = tx.find(Instance)
    assert {(one.type, one.image_id) for one in made} == {("t3.micro", cloud.image_id)}
    assert len(made) == 60
