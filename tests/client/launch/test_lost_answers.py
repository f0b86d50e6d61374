"""Calls that AWS has carried out, and whose answer was lost: what they have made is found again, or removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine
from support.weather import LOST, Weather
from support.whole_run import Seen, host, order, run

from skylift.client.errors import LaunchFailed, LaunchUnclear, Refused, Unreachable
from skylift.client.job.job import Program, Spot
from skylift.client.job.settings import Access, Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.network import Network, ensure_network, find_network, open_network, open_ssh, route_table_of
from skylift.client.launch.server import live_servers
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.api import Api

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


class Late:
    """EC2's answers by which what was made a moment ago is not there yet: the first few, by operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: list[Any]) -> None:
        call, self.left = Api.call, answers

        def late(api: Api, service: str, operation: str, **params: Any) -> Any:
            if not self.left.get(operation):
                return call(api, service, operation, **params)
            answer = self.left[operation].pop(0)
            if isinstance(answer, str):
                raise Refused(answer, "It does not exist", operation)
            return answer

        monkeypatch.setattr(Api, "call", late)


@pytest.fixture
def network(prepared: None, api: Api) -> Network:
    found = find_network(api)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("operation", "key"), [("describe_subnets", "Subnets"), ("describe_security_groups", "SecurityGroups")]
)
def test_a_network_whose_parts_ec2_lists_late_is_not_lost(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch, operation: str, key: str
) -> None:
    late = Late(monkeypatch, **{operation: [{key: []} for _ in range(5)]})
    assert find_network(api) == network
    assert late.left == {operation: []}


def test_a_network_that_has_lost_its_parts_is_told_at_last(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skylift.client.launch.network._SETTLING", 0.5)
    Late(monkeypatch, describe_subnets=[{"Subnets": []} for _ in range(99)])
    with pytest.raises(LaunchFailed, match=f"skylift's network {network.vpc} has lost its subnets") as caught:
        find_network(api)
    assert caught.value.advice.startswith(f"Delete the VPC {network.vpc}")


def test_a_subnet_that_ec2_does_not_know_yet_is_waited_for(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, subnet), *_ = network.subnets
    late = Late(monkeypatch, describe_subnets=["InvalidSubnetID.NotFound"] * 3)
    found = find_network(api, Access(subnet=subnet))
    assert found is not None
    assert (found.vpc, late.left) == (network.vpc, {"describe_subnets": []})


def test_a_private_servers_way_to_s3_is_in_the_table_that_ec2_lists_late(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway endpoint without a route table leads nowhere, and no later run mends it."""
    late = Late(monkeypatch, describe_route_tables=[{"RouteTables": []} for _ in range(3)])
    open_network(api, network, Access(private=True), None)
    (made,) = api.call("ec2", "describe_vpc_endpoints")["VpcEndpoints"]
    assert made["RouteTableIds"] == [route_table_of(api, network.vpc, network.subnets[0][1])["RouteTableId"]]
    assert late.left == {"describe_route_tables": []}


def test_a_subnet_whose_main_table_ec2_lists_late_has_its_routes(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is that the subnet has no table of its own."""
    (_, subnet), *_ = network.subnets
    table = route_table_of(api, network.vpc, subnet)
    Late(monkeypatch, describe_route_tables=[{"RouteTables": []} for _ in range(4)])
    assert route_table_of(api, network.vpc, subnet) == table


def test_ssh_is_let_in_by_a_group_that_ec2_does_not_describe_yet(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Late(monkeypatch, describe_security_groups=["InvalidGroup.NotFound"] * 2)
    assert "203.0.113.9/32" in open_ssh(api, network, "203.0.113.9/32").callers
    assert late.left == {"describe_security_groups": []}


def test_a_run_whose_new_parts_each_service_learns_of_late(
    settings: Settings, api: Api, machine: Machine, tmp_path: Path, prepared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = ["InvalidSubnetID.NotFound", "InvalidGroup.NotFound", "InvalidKeyPair.NotFound"]
    late, seen = Late(monkeypatch, run_instances=unknown), Seen()
    with host(api, machine):
        outcome = run(order(tmp_path, "print('ran')"), settings, seen)
    machine.wait()
    assert (outcome.state, late.left) == ("succeeded", {"run_instances": []})


def test_a_group_that_the_user_has_misspelled_is_told(
    settings: Settings, tmp_path: Path, prepared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skylift.client.launch.server._LISTED", 0.3)
    late = Late(monkeypatch, run_instances=["InvalidGroup.NotFound"] * 20)
    with pytest.raises(LaunchFailed, match=r"InvalidGroup\.NotFound"):
        run(order(tmp_path, "print('ran')"), settings, Seen())
    assert len(late.left["run_instances"]) > 10


def test_a_fleet_whose_template_ec2_does_not_know_yet_is_started(
    settings: Settings, api: Api, tmp_path: Path, prepared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Late(monkeypatch, create_fleet=["InvalidLaunchTemplateId.NotFound", "NoMore"])
    (tmp_path / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py"), spot=Spot(types=("t3.small",))), tmp_path, {})
    with pytest.raises(Refused, match="NoMore"):
        run(job, settings, Seen())
    assert late.left == {"create_fleet": []}


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
