"""Calls that AWS has carried out, and whose answer was lost: what they have made is found again, or removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_bench import Machine
from weather import LOST, Weather
from whole_run import Seen, host, order, run

from skylift.runner.errors import LaunchUnclear, Unreachable
from skylift.runner.job.job import Program, Spot
from skylift.runner.job.settings import Settings
from skylift.runner.launch.bucket import ensure_bucket
from skylift.runner.launch.network import ensure_network
from skylift.runner.launch.server import live_servers
from skylift.runner.plan.plan_job import Order, plan_job
from skylift.runner.remote.api import Api

pytestmark = pytest.mark.usefixtures("short_pauses")

BUCKET = "skylift-123456789012-us-east-1"
OURS = [{"Name": "tag-key", "Values": ["skylift:network"]}]


@pytest.fixture
def weather(endpoint: str) -> Iterator[Weather]:
    with Weather(endpoint) as found:
        yield found


@pytest.fixture
def outside(settings: Settings, weather: Weather) -> Settings:
    return replace(settings, endpoint_url=weather.url)


def parts(api: Api) -> dict[str, int]:
    """How many there are of each part of skylift's network."""
    kinds = {
        "Vpcs": "describe_vpcs",
        "InternetGateways": "describe_internet_gateways",
        "Subnets": "describe_subnets",
        "SecurityGroups": "describe_security_groups",
    }
    return {key: len(api.call("ec2", operation, Filters=OURS)[key]) for key, operation in kinds.items()}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "operation",
    [
        "CreateVpc",
        "CreateInternetGateway",
        "AttachInternetGateway",
        "CreateRoute",
        "CreateSubnet",
        "CreateSecurityGroup",
        "CreateTags",
    ],
)
def test_a_network_has_each_part_once(
    outside: Settings, weather: Weather, api: Api, operation: str, times: int
) -> None:
    ensure_bucket(api, BUCKET)
    weather.add(operation, LOST, done=True, times=times)
    network = ensure_network(Api(outside), BUCKET)
    assert weather.count(operation, LOST) == times
    zones = api.call("ec2", "describe_availability_zones")["AvailabilityZones"]
    assert parts(api) == {"Vpcs": 1, "InternetGateways": 1, "Subnets": len(network.subnets), "SecurityGroups": 1}
    assert len(network.subnets) == len(zones)
    (gateway,) = api.call("ec2", "describe_internet_gateways", Filters=OURS)["InternetGateways"]
    assert [each["VpcId"] for each in gateway["Attachments"]] == [network.vpc]


def test_a_part_that_ec2_lists_late_is_made_once(
    outside: Settings, weather: Weather, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of the two first, and the one of the answer later."""
    ensure_bucket(api, BUCKET)
    weather.add("CreateVpc", LOST, done=True)
    ours = Api(outside)
    call, looks = ours.call, 0

    def late(service: str, operation: str, **params: Any) -> Any:
        nonlocal looks
        answer = call(service, operation, **params)
        if operation == "describe_vpcs" and weather.count("CreateVpc") == 2:
            looks += 1
            answer["Vpcs"] = answer["Vpcs"][: looks - 1]
        return answer

    monkeypatch.setattr(ours, "call", late)
    network = ensure_network(ours, BUCKET)
    assert looks > 3
    assert [each["VpcId"] for each in api.call("ec2", "describe_vpcs", Filters=OURS)["Vpcs"]] == [network.vpc]


def test_a_run_of_which_each_answer_is_lost_once(
    outside: Settings, weather: Weather, api: Api, machine: Machine, tmp_path: Path
) -> None:
    """Of everything that it makes, in an account that has nothing yet. RunInstances has a client token, which moto does
    not know; nor does it answer as IAM where a role has left its profile."""
    lost = (
        *("CreateBucket", "CreateVpc", "CreateInternetGateway", "CreateSubnet", "CreateSecurityGroup"),
        *("AuthorizeSecurityGroupIngress", "ImportKeyPair", "CreatePolicy", "CreateRole", "PutRolePolicy"),
        *("CreateInstanceProfile", "AddRoleToInstanceProfile"),
        *("DeleteInstanceProfile", "DeleteRolePolicy", "DeleteRole"),
    )
    for operation in lost:
        weather.add(operation, LOST, done=True)
    seen = Seen()
    with host(api, machine):
        outcome = run(order(tmp_path, "print('ran')"), outside, seen)
    machine.wait()
    assert (outcome.state, seen.streams["stdout"]) == ("succeeded", b"ran\n")
    assert {each: weather.count(each, LOST) for each in lost} == dict.fromkeys(lost, 1)
    assert (parts(api)["Vpcs"], parts(api)["InternetGateways"], parts(api)["SecurityGroups"]) == (1, 1, 1)
    assert len(api.call("ec2", "describe_key_pairs")["KeyPairs"]) == 1
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/skylift-j") == []
    assert api.pages("iam", "list_instance_profiles", "InstanceProfiles", PathPrefix="/skylift/") == []


def lose_all(weather: Weather, operation: str) -> None:
    """Each answer: of the first try, which is carried out, and of the others, which do not arrive."""
    weather.add(operation, LOST, done=True)
    weather.add(operation, LOST, times=None)


def test_a_server_of_which_no_answer_tells_is_ended(
    outside: Settings, weather: Weather, api: Api, tmp_path: Path, prepared: None
) -> None:
    lose_all(weather, "RunInstances")
    seen = Seen()
    with pytest.raises(LaunchUnclear, match="Whether a server was started is not known"):
        run(order(tmp_path, "print('ran')"), outside, seen)
    assert len(api.pages("ec2", "describe_instances", "Reservations")) == 1, "it was started"
    assert live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    assert any("skylift cancel" in each for each in seen.notes), "EC2 may list it later"


def test_a_fleet_of_which_no_answer_tells_is_deleted(
    outside: Settings, weather: Weather, api: Api, tmp_path: Path, prepared: None
) -> None:
    lose_all(weather, "CreateFleet")
    (tmp_path / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py"), spot=Spot(types=("t3.small",))), tmp_path, {})
    with pytest.raises(Unreachable):
        run(job, outside, Seen())
    (fleet,) = api.call("ec2", "describe_fleets")["Fleets"]
    assert fleet["FleetState"].startswith("deleted")
    assert live_servers(api) == []
    assert api.pages("ec2", "describe_launch_templates", "LaunchTemplates") == []
