"""Fleets, as tests ask for them and look at them; their loop does a step when it is told to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ec2_fixtures import Cloud, tagged

from skylift.cloud.domain.instance import Instance
from skylift.cloud.loops.market.fleet import FleetLoop
from skylift.cloud.services.market import fleet_upkeep
from skylift.cloud.store.database import Database

SPEC = {"LaunchTemplateName": "servers", "Version": "$Latest"}


def make_template(cloud: Cloud) -> str:
    """The one that all fleets here are of."""
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "TagSpecifications": tagged("instance", job="count")}
    made = cloud.call("CreateLaunchTemplate", LaunchTemplateName="servers", LaunchTemplateData=data)
    template_id: str = made["LaunchTemplate"]["LaunchTemplateId"]
    return template_id


def make(cloud: Cloud, total: int = 1, *overrides: dict[str, Any], **params: Any) -> str:
    asked: dict[str, Any] = {
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": SPEC, "Overrides": list(overrides)}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": total, "DefaultTargetCapacityType": "on-demand"},
        **params,
    }
    made: str = cloud.call("CreateFleet", **asked)["FleetId"]
    return made


def resize(cloud: Cloud, fleet_id: str, total: int, **params: Any) -> None:
    cloud.call("ModifyFleet", FleetId=fleet_id, TargetCapacitySpecification={"TotalTargetCapacity": total}, **params)


def step(cloud: Cloud, database: Database | None = None) -> list[float]:
    """What a newly started loop does; answers when it wants to be called again."""
    alarms: list[float] = []
    FleetLoop(
        database or cloud.database, fleet_upkeep.keep, fleet_upkeep.survey, fleet_upkeep.mark, alarms.append
    ).step()
    return alarms


def described(cloud: Cloud, fleet_id: str) -> dict[str, Any]:
    fleet: dict[str, Any] = cloud.call("DescribeFleets", FleetIds=[fleet_id])["Fleets"][0]
    return fleet


def active(cloud: Cloud, fleet_id: str) -> list[str]:
    found = cloud.call("DescribeFleetInstances", FleetId=fleet_id)["ActiveInstances"]
    return [one["InstanceId"] for one in found]


def alive(cloud: Cloud) -> list[str]:
    """All that is on the machine, whatever a fleet knows of it."""
    with cloud.database.read() as tx:
        return [row.id for row in tx.find(Instance) if row.state != "terminated"]


def history(cloud: Cloud, fleet_id: str) -> list[str]:
    start = cloud.clock.now - timedelta(days=1)
    records = cloud.call("DescribeFleetHistory", FleetId=fleet_id, StartTime=start)["HistoryRecords"]
    return [record["EventInformation"]["EventSubType"] for record in records]
