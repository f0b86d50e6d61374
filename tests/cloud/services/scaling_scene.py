"""Auto Scaling without compute: its operations and its loop over a real database, and servers that a test boots."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters
from ec2_fixtures import ACCOUNT, REGION, Cloud, departures

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.scaling_group import GROUP_TAG, ScalingGroup, ScalingMember, Wanted, units
from skylift.cloud.loops.autoscaling.scaling_group import ScalingGroupLoop
from skylift.cloud.services.autoscaling import scaling_launch, scaling_mixed
from skylift.cloud.services.autoscaling.recurrence import next_time
from skylift.cloud.services.ec2.instance import end
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.database import Tx

MANY = 30


@cache
def model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("autoscaling", "service-2"), "autoscaling")


class Scene:
    """One cloud with a launch template `web`; the group of a test is called `web`, too."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.database = cloud.database
        self.wakes: list[float] = []
        self._counted = 0
        self.launch: Callable[..., Instance] = scaling_launch.by(ACCOUNT, REGION)
        data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
        made = cloud.call("CreateLaunchTemplate", LaunchTemplateName="web", LaunchTemplateData=data)
        self.template: str = made["LaunchTemplate"]["LaunchTemplateId"]
        subnets = cloud.call("DescribeSubnets")["Subnets"]
        self.subnets = [subnet["SubnetId"] for subnet in sorted(subnets, key=lambda one: one["AvailabilityZone"])]
        self.loop = self.new_loop()

    def new_loop(self, database: Any = None) -> ScalingGroupLoop:
        return ScalingGroupLoop(
            database=database or self.database,
            pools=partial(scaling_mixed.pools, region=REGION),
            launch=self._launch,
            end=end,
            resolved=scaling_launch.resolved,
            next_time=next_time,
            wake_in=self.wakes.append,
        )

    def _launch(self, tx: Tx, group: ScalingGroup, wanted: Wanted) -> Instance:
        """As a test may have it at this moment."""
        return self.launch(tx, group, wanted)

    def call(self, name: str, /, **params: Any) -> Any:
        operation, shapes = TABLE["autoscaling", name], model().operation_model(name)
        if shapes.input_shape:
            validate_parameters(params, shapes.input_shape)
        refused = operation.unsupported(params)
        if refused:
            raise ServiceError("InvalidAction", f"not taken: {', '.join(refused)}")
        with self.database.read() as tx:
            assert list(operation.checks(tx, self.cloud.caller, params)), "an operation that takes no permission"
        with self.database.write() if operation.writes else self.database.read() as tx:
            result = operation.handler(tx, self.cloud.caller, params)
        if shapes.output_shape is None:
            assert result == {}
        else:
            assert list(departures(result, shapes.output_shape, name)) == []
        return result

    def refusal(self, name: str, /, **params: Any) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            self.call(name, **params)
        return caught.value

    def create(self, least: int, most: int, desired: int | None = None, **more: Any) -> None:
        request = {
            "AutoScalingGroupName": "web",
            "LaunchTemplate": {"LaunchTemplateId": self.template, "Version": "$Latest"},
            "MinSize": least,
            "MaxSize": most,
            **({"DesiredCapacity": desired} if desired is not None else {}),
            "VPCZoneIdentifier": ",".join(self.subnets[:2]),
            **more,
        }
        self.call("CreateAutoScalingGroup", **{name: value for name, value in request.items() if value is not None})

    def on(self, name: str, /, **params: Any) -> Any:
        """An operation on the group `web`."""
        return self.call(name, AutoScalingGroupName="web", **params)

    @property
    def group(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("DescribeAutoScalingGroups", AutoScalingGroupNames=["web"])[
            "AutoScalingGroups"
        ][0]
        return found

    @property
    def states(self) -> list[str]:
        return sorted(one["LifecycleState"] for one in self.group["Instances"])

    @property
    def ids(self) -> list[str]:
        """Those in service, in the order of their launches."""
        return [one["InstanceId"] for one in self.group["Instances"] if one["LifecycleState"] == "InService"]

    @property
    def activities(self) -> list[dict[str, Any]]:
        """The latest first."""
        found: list[dict[str, Any]] = self.on("DescribeScalingActivities")["Activities"]
        return found

    def boot(self) -> bool:
        """What the loop of instances would do; whether there was anything to do."""
        with self.database.read() as tx:
            todo = [*tx.find(Instance, state="pending"), *tx.find(Instance, state="shutting-down")]
        for row in todo:
            self.cloud.observe(row.id, "running" if row.state == "pending" else "terminated")
        return bool(todo)

    def settle(self, loop: ScalingGroupLoop | None = None) -> None:
        """Until neither loop has anything left to do at this moment."""
        for _ in range(MANY):
            (loop or self.loop).step()
            if not self.boot():
                (loop or self.loop).step()
                return
        raise AssertionError("the group does not come to rest")

    def die(self, instance_id: str) -> None:
        """A server that shuts itself down, or whose init is killed."""
        self.cloud.observe(instance_id, "stopped")

    def check(self) -> None:
        """What is so after each commit, whatever happened: never more than the most, and nothing that nobody has."""
        with self.database.read() as tx:
            self._counted = self.check_in(tx)

    def check_in(self, tx: Tx) -> int:
        """As `check`, before the commit. How large the capacity is."""
        members = {one.instance_id: one for one in tx.find(ScalingMember)}
        going = {one.instance_id for one in members.values() if one.state.startswith("Terminating")}
        aside = {
            one.instance_id for one in members.values() if one.state in ("Standby", "EnteringStandby", "Detaching")
        }
        alive = [
            one for one in tx.find(Instance) if one.tags.get(GROUP_TAG) == "web" and one.state in ("pending", "running")
        ]
        group = tx.get(ScalingGroup, name="web")
        assert {one.id for one in alive} <= members.keys(), "a server that its group does not know"
        counting = units(members[one.id] for one in alive if one.id not in going and one.id not in aside)
        # Who lowers the most makes it less than there are; they become no more from there. With weights the last
        # launch may lead above it, as on AWS.
        above = max(group.weights.values(), default=1) - 1 if group else 0
        assert group is None or counting <= max(group.max_size + above, self._counted), "more than the most"
        return counting
