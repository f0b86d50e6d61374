"""How many servers `--servers auto` is, by inputs, quota and machine, and what is said of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from skylift.client.errors import NotPermitted, Refused, SkyliftError, Unreachable, UsageError
from skylift.client.job.job import Job, Program, Spot
from skylift.client.job.record import SETUP_ALLOWANCE
from skylift.client.job.settings import Machine, NewestImage, Settings
from skylift.client.map.most_servers import UNASKED, UNKNOWN, choose_servers, most_servers
from skylift.client.map.planning import AUTO, MapLimits, check_servers
from skylift.client.plan.plan_job import MOST_SERVERS, Order, plan_job
from skylift.client.plan.resolve_options import resolve_options
from skylift.client.price.price import hourly_price
from skylift.client.remote.api import Api

SETTINGS = Settings("us-east-1", Path("/nowhere"), NewestImage("x", ()), caller_address=lambda: "203.0.113.7")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "x.py").touch()
    return plan_job(Order(Program("script", "x.py"), name="x", instance_type="c7i.xlarge"), tmp_path, os.environ)


class Quotas:
    """Service Quotas with these, by their codes."""

    def __init__(self, refusal: SkyliftError | None = None, **values: float) -> None:
        self.values, self.refusal, self.asked = values, refusal, list[str]()

    def call(self, service: str, operation: str, *, ServiceCode: str, QuotaCode: str) -> Any:
        assert (service, operation, ServiceCode) == ("service-quotas", "get_service_quota", "ec2")
        self.asked.append(QuotaCode)
        if self.refusal is not None:
            raise self.refusal
        return {"Quota": {"Value": self.values[QuotaCode.replace("-", "_")]}}


def ask(quotas: Quotas, job: Job, inputs: int, per_server: int = 0, machine: Machine | None = None) -> tuple[int, str]:
    return most_servers(cast(Api, quotas), job, inputs, per_server, machine)


def test_no_more_than_the_inputs_can_use(job: Job) -> None:
    quotas = Quotas(L_1216C47A=1152.0)
    assert ask(quotas, job, 10) == (3, "at most 3 servers of type c7i.xlarge, as many as 10 inputs can use.")
    assert ask(quotas, job, 10, per_server=1)[0] == 10
    assert ask(quotas, job, 1)[0] == 1
    assert ask(quotas, job, 1_000_000)[0] == 288


def test_no_more_than_the_quota_allows(job: Job) -> None:
    number, why = ask(Quotas(L_1216C47A=32.0), job, 500)
    assert (number, why.endswith("by your quota of 32 vCPUs (L-1216C47A).")) == (8, True)
    assert ask(Quotas(L_34B43A08=8.0), replace(job, spot=Spot()), 500)[0] == 2
    assert ask(Quotas(L_DB2E81BA=8.0), replace(job, instance_type="g5.xlarge"), 500)[0] == 2
    assert ask(Quotas(L_1216C47A=0.0), job, 500)[0] == 1, "EC2 says why there is none"


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (NotPermitted("AccessDeniedException", "no", "get_service_quota"), "does not say what your quota is"),
        (Refused("NoSuchResourceException", "no", "get_service_quota"), "has no such quota"),
        (Refused("TooManyRequestsException", "no", "get_service_quota"), "does not say what your quota is"),
    ],
)
def test_a_quota_that_nobody_tells_is_replaced_by_a_sane_bound(job: Job, refusal: Refused, says: str) -> None:
    number, why = ask(Quotas(refusal), job, 500)
    assert (number, says in why) == (UNKNOWN, True)


def test_one_machine_has_no_more_than_its_processors(job: Job) -> None:
    machine = Machine("this machine", "x86_64", 2, 4096)
    number, why = ask(Quotas(L_1216C47A=1152.0), job, 500, machine=machine)
    assert (number, why.endswith("as this machine has 2 processors.")) == (1, True)


def choose(
    quotas: Quotas, job: Job, inputs: int, settings: Settings = SETTINGS, **limits: Any
) -> tuple[int, tuple[str, ...]]:
    """The number of servers, and what is said of it."""
    chosen, found = choose_servers(lambda: cast(Api, quotas), job, settings, inputs, MapLimits(**limits))
    assert found.by_work == (found.servers > 1 and limits.get("servers") in (None, AUTO))
    assert found.chosen == (found.servers > 1 and not limits.get("servers"))
    return found.servers, chosen.notes


def test_without_a_number_there_are_as_many_as_inputs_and_quota_allow(job: Job) -> None:
    said = "At most 3 servers of type c7i.xlarge, as many as 10 inputs can use. --servers N is another number."
    assert choose(Quotas(L_1216C47A=1152.0), job, 10) == (3, (said,))
    assert choose(Quotas(L_1216C47A=8.0), job, 500)[0] == 2
    assert choose(Quotas(L_1216C47A=1152.0), job, 7, per_server=1)[0] == 7


def test_a_map_that_was_asked_for_no_number_has_a_few_servers_at_most(job: Job) -> None:
    """Its first server's programs could have so many until the map's deadline, and a quota may be thousands."""
    quotas = Quotas(L_1216C47A=5000.0)
    said = (
        f"At most {UNASKED} servers of type c7i.xlarge, as it takes --servers auto to have more. "
        "--servers N is another number."
    )
    assert choose(quotas, job, 10_000) == (UNASKED, (said,))
    assert choose(quotas, job, 10_000, servers=AUTO)[0] == MOST_SERVERS


def test_a_number_that_was_given_counts(job: Job) -> None:
    quotas = Quotas(L_1216C47A=1152.0)
    assert [choose(quotas, job, 10, servers=each) for each in (1, 7)] == [(1, ()), (7, ())]
    assert quotas.asked == []


@pytest.mark.parametrize("inputs", [1, 4])
def test_a_map_that_can_use_one_server_only_asks_nobody_and_says_nothing(job: Job, inputs: int) -> None:
    quotas, machine = Quotas(), Machine("this machine", "x86_64", 4, 4096)
    assert choose(quotas, job, inputs) == (1, ())
    assert choose(quotas, job, 500, replace(SETTINGS, machine=machine)) == (1, ())
    assert quotas.asked == []


def test_what_nobody_has_asked_for_is_no_error(job: Job) -> None:
    """A name that is too long for the other servers' role, and a server that is in no other security group."""
    quotas = Quotas(L_1216C47A=1152.0)
    assert choose(quotas, replace(job, name="n" * 40), 500) == (1, ())
    access = replace(SETTINGS.access, subnet="subnet-01234567", groups=tuple(f"sg-0123456{each}" for each in range(5)))
    assert choose(quotas, job, 500, replace(SETTINGS, access=access)) == (1, ())
    assert choose(Quotas(Unreachable("It is away.")), job, 500)[0] == UNKNOWN


def test_a_sum_pays_for_as_many_as_leave_the_map_its_time(job: Job) -> None:
    """The sum is divided by their number: it must neither be exceeded nor end the map earlier than on one server."""
    quotas = Quotas(L_1216C47A=1152.0)
    hourly = hourly_price("c7i.xlarge", "us-east-1")
    assert hourly is not None
    each = (job.max_time + SETUP_ALLOWANCE) / 3600 * hourly
    for times, servers in ((0.5, 1), (1.5, 1), (3.5, 3), (50, 8)):
        limited = replace(job, max_cost=times * each)
        number, notes = choose(quotas, limited, 100)
        alone = resolve_options(limited, SETTINGS)
        assert (number, resolve_options(limited, SETTINGS, number).max_time) == (servers, alone.max_time)
        assert number == 1 or ("--max-cost" in notes[0]) == (servers == 3)
    with pytest.raises(UsageError, match="does not pay"):
        choose(quotas, replace(job, max_cost=each / 1e6), 100)


@pytest.mark.parametrize("given", ["0", "1001", "-1", "many", "AUTO", "1.5", "\u0663", "", 0, True])
def test_what_is_no_number_of_servers(given: Any) -> None:
    with pytest.raises(UsageError, match="is not a number from 1 to 1000, and not auto"):
        check_servers(given)


def test_what_is_one() -> None:
    assert [check_servers(each) for each in (None, "auto", "4", 4)] == [0, AUTO, 4, 4]
