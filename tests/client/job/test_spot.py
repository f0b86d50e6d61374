"""What is asked for of a spot server, and what EC2 is asked for then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from skylift.client.errors import Refused, UsageError
from skylift.client.job.job import Program, Spot
from skylift.client.job.record import deadline_of, encode_record
from skylift.client.job.settings import Settings
from skylift.client.job.spot import read_spot, with_types
from skylift.client.launch.fleet import JobFleet, check_price, delete_fleets, fleet_request, template_request
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole, boundary_policy, job_policy
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.plan.resolve_options import resolve_options

NETWORK = Network("vpc-1", (("us-east-1a", "subnet-a"), ("us-east-1b", "subnet-b")), ("sg-1",), frozenset())
ROLE = JobRole("skylift-count", "arn:aws:iam::123456789012:instance-profile/skylift/skylift-count")


def order(folder: Path, **more: Any) -> Order:
    (folder / "job.py").write_text("print(1)\n")
    return Order(Program("script", "job.py"), name="count", **more)


def asked(**more: Any) -> Spot | None:
    return read_spot(**{"spot": True, "max_price": None, "checkpoint": None, "or_on_demand": False, **more})


def test_what_goes_with_spot_alone_is_refused_without_it() -> None:
    for more in ({"max_price": 0.1}, {"checkpoint": "a"}, {"or_on_demand": True}):
        with pytest.raises(UsageError, match="goes with --spot"):
            asked(spot=False, **more)
    assert asked(spot=False) is None


@pytest.mark.parametrize("path", ["", ".", "/tmp/state", "../state", "~/state"])
def test_a_checkpoint_is_below_the_working_directory(path: str) -> None:
    with pytest.raises(UsageError, match="below the working directory"):
        asked(checkpoint=path)


@pytest.mark.parametrize("price", [0, -1])
def test_a_price_is_more_than_nothing(price: float) -> None:
    with pytest.raises(UsageError, match="is not a price"):
        asked(max_price=price)


@pytest.mark.parametrize("price", [0.001, 1e-9])
def test_a_price_that_ec2_would_not_take(price: float) -> None:
    """Not even where the full price is paid then: the fleet itself would be refused."""
    with pytest.raises(UsageError, match=r"0\.001 USD an hour or less"):
        asked(max_price=price, or_on_demand=True)
    assert asked(max_price=0.0011) == Spot(max_price=0.0011)


def test_a_spot_server_is_not_kept(folder: Path) -> None:
    with pytest.raises(UsageError, match="--keep and --spot"):
        plan_job(order(folder, spot=Spot(), keep=60), folder, os.environ)


def test_several_types_would_do_and_one_that_was_said_is_the_only_one(folder: Path, settings: Settings) -> None:
    several = resolve_options(plan_job(order(folder, spot=Spot()), folder, os.environ), settings)
    assert several.spot is not None
    assert {"t3.small", "t3a.small"} <= set(several.spot.types)
    only = resolve_options(
        plan_job(order(folder, spot=Spot(), instance_type="m7i.large"), folder, os.environ), settings
    )
    assert only.spot is not None
    assert only.spot.types == ("m7i.large",)


def test_types_that_cost_far_more_would_not_do() -> None:
    assert with_types(Spot(), [("a", 1.0), ("b", 1.9), ("c", 2.1)]).types == ("a", "b")


def test_the_record_says_that_another_server_may_go_on(folder: Path) -> None:
    job = plan_job(order(folder, spot=Spot(checkpoint="state")), folder, os.environ)
    record = json.loads(encode_record(job, created=0, deadline=deadline_of(job, 0), packs=[]))
    assert record["spot"] == {"checkpoint": "state"}
    assert record["deadline"] == job.max_time + 3600


def test_the_template_is_the_launch_but_for_its_place(folder: Path) -> None:
    job = plan_job(order(folder, spot=Spot()), folder, os.environ)
    key = LocalKeyPair("skylift-key", Path("key"), "ssh-ed25519 AAAA")
    data = template_request(job, NETWORK, key, ROLE, "ami-1", "#!/bin/sh\n")["LaunchTemplateData"]
    assert data["NetworkInterfaces"] == [{"DeviceIndex": 0, "Groups": ["sg-1"], "AssociatePublicIpAddress": True}]
    assert data["UserData"] == "IyEvYmluL3NoCg=="
    assert data["MetadataOptions"] == {"HttpTokens": "required", "InstanceMetadataTags": "enabled"}
    assert {each["ResourceType"] for each in data["TagSpecifications"]} == {"instance", "volume", "network-interface"}
    assert not {"MinCount", "MaxCount", "ClientToken"} & set(data)


def test_the_fleet_has_all_types_in_all_zones_and_ends_with_its_server(folder: Path) -> None:
    spot = Spot(max_price=0.05, types=("t3.small", "t3a.small"))
    job = plan_job(order(folder, spot=spot), folder, os.environ)
    request = fleet_request(job, spot, "lt-1", NETWORK, "token", 10_000)
    (config,) = request["LaunchTemplateConfigs"]
    assert [(each["InstanceType"], each["SubnetId"], each["MaxPrice"]) for each in config["Overrides"]] == [
        ("t3.small", "subnet-a", "0.050000"),
        ("t3.small", "subnet-b", "0.050000"),
        ("t3a.small", "subnet-a", "0.050000"),
        ("t3a.small", "subnet-b", "0.050000"),
    ]
    assert request["TargetCapacitySpecification"]["SpotTargetCapacity"] == 1
    assert request["ValidUntil"].timestamp() == 10_000 + 120
    assert request["TerminateInstancesWithExpiration"] is True
    full = fleet_request(job, spot, "lt-1", NETWORK, "token", 10_000, on_demand=True)
    assert "MaxPrice" not in full["LaunchTemplateConfigs"][0]["Overrides"][0]
    assert full["TargetCapacitySpecification"]["OnDemandTargetCapacity"] == 1


class Offers:
    """An EC2 that tells prices, by type."""

    def __init__(self, **prices: str) -> None:
        self._prices = prices

    def pages(self, *_: str, InstanceTypes: list[str], **__: Any) -> list[dict[str, str]]:
        return [
            {"InstanceType": name, "AvailabilityZone": "us-east-1a", "SpotPrice": self._prices[name]}
            for name in InstanceTypes
        ]


def test_a_price_below_every_offer_is_refused_with_the_lowest() -> None:
    api: Any = Offers(small="0.0071", large="0.02")
    with pytest.raises(UsageError, match=r"the lowest is 0\.0071 USD/h, small in us-east-1a"):
        check_price(api, Spot(max_price=0.005, types=("large", "small")))
    for spot in (Spot(max_price=0.0071, types=("large", "small")), Spot(types=("large",)), None):
        check_price(api, spot)
    check_price(api, Spot(max_price=0.005, types=("large",), or_on_demand=True))


def test_a_spot_jobs_role_ends_its_own_fleet_and_no_other_role_does() -> None:
    for spot in (False, True):
        found = job_policy("count", "bucket", "123456789012", "us-east-1", spot=spot)["Statement"]
        fleets = [each for each in found if "ec2:DeleteFleets" in each["Action"]]
        assert len(fleets) == spot
        if spot:
            assert fleets[0]["Condition"]["StringEquals"] == {"aws:ResourceTag/skylift:job": "count"}
    assert "ec2:DeleteFleets" in json.dumps(boundary_policy("123456789012"))


class Deletions:
    """An EC2 whose answer to DeleteFleets is that of a success, with what became of each fleet in it."""

    def __init__(self, code: str) -> None:
        self._code = code

    def call(self, *_: str, FleetIds: list[str], **__: Any) -> dict[str, Any]:
        error = {"Code": self._code, "Message": "You may not."}
        return {"UnsuccessfulFleetDeletions": [{"FleetId": each, "Error": error} for each in FleetIds]}


def test_a_fleet_that_could_not_be_deleted_is_told_and_one_that_is_gone_is_not() -> None:
    gone: Any = Deletions("fleetIdDoesNotExist")
    delete_fleets(gone, [JobFleet("fleet-1", "count")], servers_too=True)
    there: Any = Deletions("unexpectedError")
    with pytest.raises(Refused, match="fleet-1: You may not"):
        delete_fleets(there, [JobFleet("fleet-1", "count")], servers_too=True)
