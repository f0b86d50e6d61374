"""A fleet of real servers, as a test has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.real_cloud import RealCloud
from support.real_server import Server, until


class Fleet:
    """A fleet of type maintain, of servers that nobody needs to log in to."""

    def __init__(self, cloud: RealCloud, size: int, market: str) -> None:
        self.cloud = cloud
        self.size = size
        self.template = cloud.ec2.create_launch_template(
            LaunchTemplateName=f"{market}-fleet-of-{size}",
            LaunchTemplateData={
                "ImageId": cloud.image,
                "InstanceType": "t3.nano",
                "InstanceInitiatedShutdownBehavior": "terminate",
            },
        )["LaunchTemplate"]["LaunchTemplateId"]
        overrides = [{"InstanceType": "t3.nano"}, {"InstanceType": "t3.micro"}]
        self.id: str = cloud.ec2.create_fleet(
            LaunchTemplateConfigs=[
                {
                    "LaunchTemplateSpecification": {"LaunchTemplateId": self.template, "Version": "$Default"},
                    "Overrides": overrides,
                }
            ],
            TargetCapacitySpecification={"TotalTargetCapacity": size, "DefaultTargetCapacityType": market},
        )["FleetId"]

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.ec2.describe_fleets(FleetIds=[self.id])["Fleets"][0]
        return found

    @property
    def states(self) -> dict[str, str]:
        """Of every instance that the fleet ever had."""
        asked = [{"Name": "tag:aws:ec2:fleet-id", "Values": [self.id]}]
        found = self.cloud.ec2.describe_instances(Filters=asked)["Reservations"]
        states = {one["InstanceId"]: one["State"]["Name"] for each in found for one in each["Instances"]}
        assert sum(state != "terminated" for state in states.values()) <= self.size, states
        return states

    def running(self) -> list[Server]:
        """All of them, as soon as there are as many as there are to be."""

        def there() -> list[Server]:
            found = [Server(self.cloud, name) for name, state in self.states.items() if state == "running"]
            return found if len(found) == self.size else []

        return until(there, f"{self.size} servers of {self.id}", facts=self.describe)

    def delete(self) -> None:
        self.cloud.ec2.delete_fleets(FleetIds=[self.id], TerminateInstances=True)
        until(lambda: self.describe()["FleetState"] == "deleted", f"the end of {self.id}", facts=self.describe)
        assert set(self.states.values()) <= {"terminated"}
        self.cloud.ec2.delete_launch_template(LaunchTemplateId=self.template)


@contextmanager
def fleet_of(cloud: RealCloud, size: int, market: str = "on-demand") -> Iterator[Fleet]:
    made = Fleet(cloud, size, market)
    try:
        yield made
    finally:
        made.delete()
