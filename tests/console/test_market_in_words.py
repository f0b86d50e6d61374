"""Spot and prices in the console: what is typed, and what is shown of it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import pytest

from skylift.client.errors import UsageError
from skylift.client.job.requirements import Requirements
from skylift.client.price.price import rates_of
from skylift.client.price.purchase import HOURS_A_MONTH, quote
from skylift.console import market
from skylift.console.market import break_even, read_needs

INSTANCE = "i-0123456789abcdef0"


def test_a_notice_and_its_command_are_the_same() -> None:
    call = market.interrupt(INSTANCE, " 5 ")
    assert call.params == {"InstanceId": INSTANCE, "Seconds": 5}
    assert shlex.split(call.command) == ["skylift", "cloud", "interrupt", INSTANCE, "--in", "5s"]
    assert shlex.split(market.withdraw(INSTANCE).command)[-1] == "--withdraw"
    assert shlex.split(market.recommend("$(reboot)").command)[3] == "$(reboot)"


@pytest.mark.parametrize("typed", ["", "-5", "1.5", "2m", "²", "٣", "86401", "<b>"])
def test_what_is_no_number_of_seconds_is_said(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        market.interrupt(INSTANCE, typed)
    assert repr(typed) in refused.value.message


def test_what_is_left_empty_is_not_asked_for() -> None:
    assert not read_needs("", " ", "", "", " ")
    assert read_needs("4", "16GiB", "arm64", "", "m7g") == Requirements(
        cpu=4, memory_mib=16384, arch="arm64", words=("m7g",)
    )
    with pytest.raises(UsageError):
        read_needs("<b>", "", "", "", "")


def test_break_even_is_where_the_lines_cross() -> None:
    found = quote(rates_of("t3.micro", "us-east-1"), 3600, 200)
    known = [each for each in found.offers if each.hourly is not None]
    lines = {each.name: each.points for each in break_even(known)}
    (reserved,) = [each for each in known if each.name == "reserved"]
    rise = lines["on-demand"][1][1] / HOURS_A_MONTH
    level = lines["reserved, 1 year, no upfront"][0][1]
    assert reserved.pays_from == pytest.approx(level / rise)
    assert lines["reserved, 1 year, no upfront"][1] == (HOURS_A_MONTH, level)


def test_a_history_is_asked_for_from_a_moment_on() -> None:
    call = market.price_history("t3.micro", datetime(2026, 11, 21, tzinfo=UTC))
    assert "--start-time 2026-11-21T00:00:00+00:00" in call.command
