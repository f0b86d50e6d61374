"""What has been spent: days, shares, and what the same hours would have cost otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skylift import catalogue
from skylift.console.cost import WAYS, Costs, beginning, by_option, days_between, hours_of, job_path, read_bill, what_if
from skylift.console.port import Port
from skylift.console.rows import JobRow, as_time

NOW = datetime(2026, 11, 3, 6, tzinfo=UTC)


def test_days_are_those_of_utc_and_the_ends_are_parts_of_one() -> None:
    found = days_between(NOW - timedelta(days=1), NOW)
    midnight = datetime(2026, 11, 3, tzinfo=UTC)
    assert found == [(NOW - timedelta(days=1), midnight), (midnight, NOW)]
    assert days_between(NOW, NOW) == []
    assert len(days_between(beginning("month", NOW), NOW)) == 3
    assert len(days_between(beginning("week", NOW), NOW)) == 8


@pytest.mark.parametrize(
    ("by", "asked", "option"),
    [("job", {"GroupBy": "tag", "TagKey": "skylift:job"}, "tag:skylift:job"), ("type", {"GroupBy": "type"}, "type")],
)
def test_the_bill_and_its_command_are_the_same(by: str, asked: dict[str, str], option: str) -> None:
    call = read_bill(NOW - timedelta(days=1), NOW, by)
    assert call.params == {"From": NOW - timedelta(days=1), "To": NOW, **asked}
    assert call.command == f"skylift cloud bill --by {option} --from 2026-11-02T06:00:00"


def test_each_way_to_buy_has_a_figure_for_each_day() -> None:
    days = [[{"Key": "spot", "Amount": "0.5"}], [], [{"Key": "volume", "Amount": "0.1"}]]
    assert by_option(days) == {"spot": (0.5, 0.0, 0.0), "volume": (0.0, 0.0, 0.1)}


def test_only_servers_have_hours() -> None:
    lines = [
        {"Option": "on-demand", "Type": "t3.micro", "Seconds": 1800.0},
        {"Option": "spot", "Type": "t3.micro", "Seconds": 1800.0},
        {"Option": "volume", "Type": "gp3", "Seconds": 3600.0},
    ]
    assert hours_of(lines) == {"t3.micro": 1.0}


def test_a_commitment_is_paid_for_the_whole_time_and_serves_one_server() -> None:
    usual = catalogue.on_demand("t3.micro", "us-east-1")
    assert usual is not None
    (little,) = what_if({"t3.micro": 1.0, "no.such": 5.0, "t3.small": 0.0}, "us-east-1", 100.0)
    (much,) = what_if({"t3.micro": 150.0}, "us-east-1", 100.0)
    on_demand, reserved = WAYS.index("On demand"), WAYS.index("Reserved, 1 year")
    assert little.usd[on_demand] == pytest.approx(usual)
    paid = little.usd[reserved]
    assert paid is not None and paid > usual
    # Fifty hours are beyond what it serves: they are bought on demand.
    assert much.usd[reserved] == pytest.approx(paid + 50 * usual)
    assert little.least == min(each for each in little.usd if each is not None)


def test_a_region_without_prices_has_those_of_another() -> None:
    assert what_if({"t3.micro": 1.0}, "mars-1", 1.0) == what_if({"t3.micro": 1.0}, "us-east-1", 1.0)


@pytest.mark.parametrize("key", ["", "../x", "<img src=x>", "a b", "x" * 200])
def test_what_is_no_job_is_no_link(key: str) -> None:
    assert job_path(key) == ""


def test_a_job_is_a_link() -> None:
    assert job_path("nightly") == "/jobs/nightly"


@dataclass
class Account:
    """What a port has of an AWS account, which has no bill."""

    has_control: bool = False
    settings: Any = field(default_factory=lambda: SimpleNamespace(region="us-east-1"))


def test_of_an_aws_account_its_jobs_are_shown_and_what_is_not_is_said() -> None:
    def job(name: str, ago: timedelta, cost: float | None) -> JobRow:
        created = as_time(datetime.now(UTC) - ago)
        return JobRow(name, "succeeded", "job.py", created, 3600, 0, cost, "", "t3.micro", "")

    rows = [job("new", timedelta(hours=1), 0.25), job("old", timedelta(days=9), 1.0), job("odd", timedelta(0), None)]
    found = Costs(cast(Port, Account()), lambda: rows).spent("week", "job")
    assert [(each.key, each.usd) for each in found.shares] == [("new", 0.25), ("odd", 0.0)]
    assert found.total == sum(found.by_day["jobs"]) == 0.25
    assert len(found.by_day["jobs"]) == len(found.days)
    assert [(each.type, each.hours) for each in found.hours] == [("t3.micro", 2.0)]
    account = Costs(cast(Port, Account()), lambda: rows)
    assert list(account.groups) == ["job", "type"]
    assert [(each.key, each.usd) for each in account.spent("week", "type").shares] == [("t3.micro", 0.25)]
    assert any("0.01 USD" in each for each in found.notes)
    assert found.commands[-1].startswith("aws ce get-cost-and-usage --time-period")
