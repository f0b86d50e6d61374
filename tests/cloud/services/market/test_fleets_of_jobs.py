"""The fleet of a spot job as the cap of its servers, with exactly the request that the client sends: nobody watches."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from ec2_fixtures import Cloud
from fleet_scene import active, alive, described, make_template, step

from skylift.client.job.job import Program, Spot
from skylift.client.launch.cap import MARGIN
from skylift.client.launch.fleet import fleet_request
from skylift.client.launch.network import Network
from skylift.client.plan.plan_job import Order, plan_job


def asked(cloud: Cloud, folder: Path, deadline: int, *, on_demand: bool) -> str:
    """The fleet of a job, as the client makes it."""
    subnet = cloud.default("subnet")
    network = Network(subnet["VpcId"], ((subnet["AvailabilityZone"], subnet["SubnetId"]),), (), frozenset())
    spot = Spot(types=("t3.small",))
    (folder / "x.py").write_text("")
    job = plan_job(Order(Program("script", "x.py"), name="x", spot=spot), folder, {})
    request = fleet_request(job, spot, make_template(cloud), network, "token", deadline, on_demand=on_demand)
    return str(cloud.call("CreateFleet", **request)["FleetId"])


@pytest.mark.parametrize("on_demand", [False, True])
def test_a_later_server_that_does_not_end_itself_is_ended_after_the_deadline(
    cloud: Cloud, tmp_path: Path, *, on_demand: bool
) -> None:
    deadline = cloud.clock.now.replace(microsecond=0) + timedelta(hours=1)
    fleet = asked(cloud, tmp_path, int(deadline.timestamp()), on_demand=on_demand)
    step(cloud)
    (first,) = active(cloud, fleet)
    cloud.observe(first, "running")
    cloud.call("TerminateInstances", InstanceIds=[first])
    cloud.observe(first, "terminated")
    step(cloud)
    (second,) = active(cloud, fleet)
    cloud.observe(second, "running")
    cloud.clock.forward(seconds=(deadline - cloud.clock.now).total_seconds() + MARGIN - 1)
    step(cloud)
    assert cloud.row(second).state == "running", "the server's own end has its time"
    cloud.clock.forward(seconds=1)
    step(cloud)
    assert cloud.row(second).state == "shutting-down"
    cloud.observe(second, "terminated")
    step(cloud)
    assert (alive(cloud), described(cloud, fleet)["FleetState"]) == ([], "deleted")
