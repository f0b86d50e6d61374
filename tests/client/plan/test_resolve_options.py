"""What of a job depends on where it runs: its type, and how long its --max-cost lasts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skylift import catalogue
from skylift.client.errors import UsageError
from skylift.client.job.job import Job, Program
from skylift.client.job.record import SETUP_ALLOWANCE, encode_record
from skylift.client.job.requirements import read_requirements
from skylift.client.job.settings import Machine, NewestImage, Settings
from skylift.client.plan.plan_job import DEFAULT_TYPE, Order, plan_job
from skylift.client.plan.resolve_options import resolve_options
from skylift.client.price.price import hourly_price

SMALL = Machine("this machine", "x86_64", 2, 8192)
ARM = Machine("this machine", "arm64", 64, 1 << 20)


@pytest.fixture
def settled(tmp_path: Path) -> Any:
    (tmp_path / "job.py").touch()
    settings = Settings("us-east-1", tmp_path / "keys", NewestImage("x", ()), caller_address=lambda: "203.0.113.7")

    def settled(region: str = "us-east-1", machine: Machine | None = None, servers: int = 1, **more: Any) -> Job:
        order = Order(Program("script", "job.py"), **more)
        where = replace(settings, region=region, machine=machine)
        return resolve_options(plan_job(order, tmp_path, {}), where, servers)

    return settled


def test_nothing_was_said(settled: Any) -> None:
    job = settled()
    assert (job.instance_type, job.choice, job.notes) == (DEFAULT_TYPE, None, ())


def test_the_cheapest_is_chosen_and_told(settled: Any) -> None:
    job = settled(wanted=read_requirements(cpu="4", memory="16GiB"))
    kind = catalogue.types()[job.instance_type]
    assert (kind.vcpus, kind.architecture) == (4, "x86_64")
    assert kind.memory_mib >= 16384
    (line,) = job.notes
    usual = catalogue.on_demand(kind.name, "us-east-1")
    assert line.startswith(f"{kind.name} is the cheapest for --cpu 4 --memory 16GiB: {usual:.4f} USD/h on demand")
    assert "us-east-1, 20" in line
    assert "; next: " in line
    assert "--arch arm64" in line
    record = json.loads(encode_record(job, created=0, deadline=1, packs=[]))
    assert record["instance_type"] == record["choice"]["type"] == kind.name
    assert record["choice"]["hourly_usd"] == usual
    assert [each["type"] for each in record["choice"]["next"]] == [name for name, _ in job.choice.next]


def test_a_type_that_was_said_wins(settled: Any) -> None:
    wanted = read_requirements(cpu="4", memory="16GiB")
    job = settled(wanted=wanted, instance_type="m7i.2xlarge")
    assert job.instance_type == "m7i.2xlarge"
    assert job.notes == ("--type m7i.2xlarge counts, not --cpu 4 --memory 16GiB.",)
    (line,) = settled(wanted=wanted, instance_type="t3.small").notes
    assert line.endswith(", which is less: t3.small: 2 vCPU, 2GiB, x86_64.")


def test_arm_only_where_it_is_asked_for_or_all_there_is(settled: Any) -> None:
    wanted = read_requirements(cpu="2")
    types = catalogue.types()
    assert types[settled(wanted=wanted).instance_type].architecture == "x86_64"
    assert types[settled(wanted=replace(wanted, arch="arm64")).instance_type].architecture == "arm64"
    assert types[settled(wanted=wanted, machine=ARM).instance_type].architecture == "arm64"


def test_what_there_is_for_arm_only(settled: Any) -> None:
    with pytest.raises(UsageError, match=r"for --arch x86_64 --gpu T4g:1") as caught:
        settled(wanted=read_requirements(gpu="T4g"))
    assert caught.value.advice.startswith("For arm64 there is g5g")


def test_types_without_a_price_are_not_forgotten(settled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = catalogue.on_demand
    wanted = read_requirements(cpu="4", memory="16GiB")
    first = settled(wanted=wanted).choice
    monkeypatch.setattr(
        catalogue, "on_demand", lambda name, region: None if name == first.type else usual(name, region)
    )
    second = settled(wanted=wanted).choice
    assert second.type == first.next[0][0]
    assert first.type in second.hint or " more, which would do" in second.hint


def test_only_what_this_machine_can_boot(settled: Any) -> None:
    with pytest.raises(UsageError, match=r"--arch arm64: servers of this machine are x86_64"):
        settled(machine=SMALL, wanted=read_requirements(arch="arm64"))
    with pytest.raises(UsageError, match=r"--gpu: servers of this machine have none") as caught:
        settled(machine=SMALL, wanted=read_requirements(gpu="1"))
    assert "--on aws" in caught.value.advice
    notes = settled(machine=SMALL, wanted=read_requirements(cpu="4", memory="16GiB")).notes
    assert notes[1].startswith("This machine has 2 processors for its 4 vCPU and 8GiB of memory for its ")
    assert "arm64" not in notes[0]
    kind = catalogue.types()[settled(machine=SMALL, wanted=read_requirements(cpu="8", memory="30GiB")).instance_type]
    assert (kind.disks, kind.accelerators) == (None, None)
    assert len(settled(machine=SMALL, wanted=read_requirements(cpu="1")).notes) == 1


@pytest.mark.parametrize("cpu", ["1", "96", "192"])
def test_no_job_is_given_bare_metal(settled: Any, cpu: str) -> None:
    assert not catalogue.types()[settled(wanted=read_requirements(cpu=cpu)).instance_type].bare_metal


def test_a_region_without_prices_goes_by_anothers(settled: Any) -> None:
    job = settled(region="sa-east-1", wanted=read_requirements(cpu="4"))
    assert job.choice.region == "us-east-1"
    assert job.notes[1] == "The catalogue has no prices of sa-east-1: these are those of us-east-1."


def test_impossible(settled: Any) -> None:
    with pytest.raises(UsageError, match=r"There is no instance type for --cpu 100000 --arch x86_64\.") as caught:
        settled(wanted=read_requirements(cpu="100000"))
    assert caught.value.exit_code == 2
    assert caught.value.advice.startswith("The nearest is ")


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "eu-central-1"])
def test_cost_is_a_cap_of_time(settled: Any, region: str) -> None:
    assert (settled(region).cap, settled(region).max_time) == ("--max-time", 3600)
    assert settled(region, max_cost=5).cap == "--max-time"
    capped = settled(region, max_cost=0.02)
    assert capped.cap == "--max-cost"
    # All that the server is there for is paid for: the boot and the results too.
    price = hourly_price(DEFAULT_TYPE, region)
    assert price is not None
    assert 0.0199 < (capped.max_time + SETUP_ALLOWANCE) / 3600 * price <= 0.02
    with pytest.raises(UsageError, match="does not pay"):
        settled(region, max_cost=0.005)
    with pytest.raises(UsageError, match="no price for x9"):
        settled(region, max_cost=1, instance_type="x9.large")


def test_several_servers_share_what_a_map_may_cost(settled: Any) -> None:
    assert settled(max_cost=0.08, servers=4).max_time == settled(max_cost=0.02).max_time
    with pytest.raises(UsageError, match=r"0.02 does not pay for 4 servers of type t3\.small to boot"):
        settled(max_cost=0.02, servers=4)


@pytest.mark.parametrize("cost", [0.0, -1.0, float("nan"), float("inf")])
def test_cost_that_is_none(settled: Any, cost: float) -> None:
    with pytest.raises(UsageError, match=f"--max-cost {cost:g} is not a sum"):
        settled(max_cost=cost)


def test_cost_in_a_region_without_prices(settled: Any) -> None:
    with pytest.raises(UsageError, match=r"--max-cost: .* no prices of sa-east-1") as caught:
        settled("sa-east-1", max_cost=1)
    assert "us-east-1" in caught.value.advice


def test_cost_of_a_type_that_was_chosen(settled: Any) -> None:
    job = settled(max_cost=0.1, wanted=read_requirements(cpu="8"))
    price = hourly_price(job.instance_type)
    assert price is not None
    assert job.cap == "--max-cost"
    assert (job.max_time + SETUP_ALLOWANCE) / 3600 * price <= 0.1


@pytest.mark.parametrize(
    ("type_", "price"), [("t3.micro", 0.0104), ("m7i.xlarge", 0.2016), ("c7i.12xlarge", 2.142), ("m7a.medium", 0.05796)]
)
def test_prices_are_awss(type_: str, price: float) -> None:
    found = hourly_price(type_)
    assert found is not None
    assert abs(found - 0.0058767 - price) < 0.00001
