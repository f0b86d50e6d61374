"""A group of real servers: it heals, it tells a server what becomes of it, and it takes all of them with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, ending, until

pytestmark = pytest.mark.real

TOLD = (
    "curl -s -H \"X-aws-ec2-metadata-token: $(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "
    'http://169.254.169.254/latest/api/token)" '
    "http://169.254.169.254/latest/meta-data/autoscaling/target-lifecycle-state"
)


class Group:
    def __init__(self, cloud: RealCloud, name: str) -> None:
        self.cloud = cloud
        self.name = name
        self.api = cloud.client("autoscaling")
        data = {name: value for name, value in cloud.request().items() if name not in ("MinCount", "MaxCount")}
        made = cloud.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        self.template = made["LaunchTemplate"]["LaunchTemplateId"]
        zones = cloud.ec2.describe_availability_zones()["AvailabilityZones"]
        self.api.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateId": self.template},
            MinSize=0,
            MaxSize=2,
            DesiredCapacity=2,
            AvailabilityZones=[zone["ZoneName"] for zone in zones[:2]],
        )

    def describe(self) -> list[dict[str, Any]]:
        """The group, as long as it is there."""
        found: list[dict[str, Any]] = self.api.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])[
            "AutoScalingGroups"
        ]
        return found

    def in_service(self, count: int) -> list[Server]:
        """All of them, as soon as there are exactly so many, and none on its way in or out."""

        def there() -> list[Server]:
            members = self.describe()[0]["Instances"]
            ready = [one for one in members if one["LifecycleState"] == "InService"]
            assert len([one for one in members if not one["LifecycleState"].startswith("Terminating")]) <= 2
            if not len(members) == len(ready) == count:
                return []
            return [Server(self.cloud, one["InstanceId"]) for one in ready]

        return until(there, f"{count} servers of {self.name}", facts=self.describe)

    def delete(self) -> None:
        if self.describe():
            self.api.delete_auto_scaling_group(AutoScalingGroupName=self.name, ForceDelete=True)
        until(lambda: not self.describe(), f"the end of {self.name}", facts=self.describe)


@pytest.fixture
def group(cloud: RealCloud) -> Iterator[Group]:
    made = Group(cloud, "web")
    yield made
    made.delete()
    cloud.ec2.delete_launch_template(LaunchTemplateId=made.template)


def test_a_group_heals_and_takes_all_with_it(group: Group) -> None:
    first, second = group.in_service(2)
    assert first.describe()["Placement"] != second.describe()["Placement"]
    first.await_ssh()
    assert first.says(TOLD) == "InService"
    with ending(second.init) as descriptor:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    second.await_state("terminated")
    # It lived for less than a minute: its successor is launched after five seconds.
    servers = {server.id for server in group.in_service(2)}
    assert first.id in servers and second.id not in servers
    launched = group.api.describe_scaling_activities(AutoScalingGroupName=group.name)["Activities"][0]
    assert launched["Cause"].endswith("in response to an unhealthy instance needing to be replaced.")
    pages = group.api.get_paginator("describe_scaling_activities").paginate(
        AutoScalingGroupName=group.name, PaginationConfig={"PageSize": 1}
    )
    told = [one["Description"] for page in pages for one in page["Activities"]]
    assert sorted(line.partition(":")[0] for line in told) == [
        *["Launching a new EC2 instance"] * 3,
        "Terminating EC2 instance",
    ]
    group.delete()
    assert {Server(group.cloud, one).state for one in servers} == {"terminated"}
