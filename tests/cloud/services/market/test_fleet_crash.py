"""Whatever happens to a fleet's instances, and wherever its loop is cut off: it never has more than were asked for, and
comes to have as many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ec2_fixtures import Cloud, open_cloud
from hypothesis import given, settings
from hypothesis import strategies as st
from market_scene import Scene
from support.fresh_state import quick_directory

from skylift.cloud.domain.instance import Instance
from skylift.cloud.loops.market.fleet import FleetLoop
from skylift.cloud.services.market import fleet_upkeep
from skylift.cloud.store.database import Tx


class CutOff(BaseException):
    """The process ends here."""


@dataclass
class Mortal:
    """A loop whose process ends before or after the commit of its n-th look, if it is told so."""

    cloud: Cloud
    before: int | None = None
    after: int | None = None
    looks: int = 0

    def step(self) -> None:
        FleetLoop(self.cloud.database, self._keep, fleet_upkeep.survey, fleet_upkeep.mark, lambda _: None).step()

    def _keep(self, tx: Tx, fleet_id: str, found: Any) -> datetime | None:
        self.looks += 1
        due = fleet_upkeep.keep(tx, fleet_id, found)
        if self.looks == self.before:
            raise CutOff
        if self.looks == self.after:
            tx.when_unseen(self._end)
        return due

    def _end(self) -> None:
        raise CutOff


def holding(cloud: Cloud) -> list[Instance]:
    with cloud.database.read() as tx:
        return [row for row in tx.find(Instance) if row.state not in ("stopped", "terminated")]


EVENTS = st.one_of(
    st.tuples(st.just("step"), st.sampled_from(["whole", "cut off before", "cut off after"])),
    st.tuples(st.sampled_from(["run", "end", "stop", "terminate", "interrupt"]), st.integers(0, 5)),
    st.tuples(st.just("resize"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.integers(1, 90)),
    st.tuples(st.just("market"), st.none()),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(EVENTS, max_size=25), st.sampled_from(["on-demand", "spot"]))
def test_never_more_and_at_last_as_many(events: list[tuple[str, object]], market: str) -> None:
    with quick_directory() as directory:
        cloud = open_cloud(directory)
        try:
            _go_through(cloud, events, market)
        finally:
            cloud.database.close()


def _go_through(cloud: Cloud, events: list[tuple[str, object]], market: str) -> None:
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.nano"}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="fleet", LaunchTemplateData=data)
    target = most = 3
    fleet_id = cloud.call(
        "CreateFleet",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": {"LaunchTemplateName": "fleet", "Version": "$Latest"}}],
        TargetCapacitySpecification={"TotalTargetCapacity": target, "DefaultTargetCapacityType": market},
    )["FleetId"]
    for what, argument in events:
        if what == "resize":
            assert isinstance(argument, int)
            target = argument
            cloud.call("ModifyFleet", FleetId=fleet_id, TargetCapacitySpecification={"TotalTargetCapacity": target})
        elif what == "wait":
            assert isinstance(argument, int)
            cloud.clock.forward(seconds=argument)
        elif what == "market":
            Scene(cloud).settle()
        elif what == "step":
            _step(cloud, str(argument))
        else:
            assert isinstance(argument, int)
            _happens(cloud, what, argument)
        # What is too much after a change goes by and by; what is launched never comes on top.
        most = max(target, min(most, len(holding(cloud))))
        assert len(holding(cloud)) <= most
    for _ in range(4):
        cloud.clock.forward(minutes=2)
        Scene(cloud).settle()
        _step(cloud, "whole")
        for row in holding(cloud):
            cloud.observe(row.id, "terminated" if row.state == "shutting-down" else "running")
    assert len(holding(cloud)) == target
    active = cloud.call("DescribeFleetInstances", FleetId=fleet_id)["ActiveInstances"]
    assert {one["InstanceId"] for one in active} == {row.id for row in holding(cloud)}
    assert cloud.call("DescribeFleets", FleetIds=[fleet_id])["Fleets"][0]["ActivityStatus"] == "fulfilled"


def _step(cloud: Cloud, how: str) -> None:
    loop = Mortal(cloud, before=1 if how == "cut off before" else None, after=1 if how == "cut off after" else None)
    try:
        loop.step()
    except CutOff:
        assert how != "whole"


def _happens(cloud: Cloud, what: str, index: int) -> None:
    rows = holding(cloud)
    if index >= len(rows):
        return
    row = rows[index]
    if what == "terminate":
        cloud.call("TerminateInstances", InstanceIds=[row.id])
    elif what == "run" and row.state == "pending":
        cloud.observe(row.id, "running")
    elif what == "stop" and row.state == "running" and not row.spot_request_id:
        cloud.observe(row.id, "stopped")
    elif what == "end":
        with cloud.database.write() as tx:
            tx.save(replace(row, state_reason_code="Server.InternalError", state_reason="died"))
        cloud.observe(row.id, "terminated")
    elif what == "interrupt" and row.spot_request_id and row.state in ("pending", "running"):
        cloud.control("InterruptInstance", InstanceId=row.id, Seconds=30)
