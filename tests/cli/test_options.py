"""One table of options: what the command line has of it, and what it comes to."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from skylift.cli import complete
from skylift.cli.main import make_app
from skylift.client.job.run_options import HEADINGS, OPTIONS, TYPES, is_flag, is_list


def cli_params() -> dict[str, Any]:
    command: Any = typer.main.get_command(make_app("run"))
    return {each.name: each for each in command.commands["run"].params}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_whole(name: str) -> None:
    option = OPTIONS[name]
    assert option.heading in HEADINGS
    assert option.help.endswith(".")
    assert "{" not in option.help
    # None is as if nothing had been said.
    assert type(None) in TYPES[name]
    if not option.words:
        return
    shown = cli_params()[name]
    assert (*shown.opts, *shown.secondary_opts) == option.words
    assert (shown.is_flag, shown.multiple) == (is_flag(name), is_list(name))
    assert (shown.metavar is None) == is_flag(name)
    assert f"--{name.rstrip('_').replace('_', '-')}" in option.words
    assert not option.complete or callable(getattr(complete, option.complete))


def test_every_option_of_a_run_reaches_its_order() -> None:
    """None is read from the table and then dropped: each makes a difference to what is planned."""
    from skylift.client.job.job import Program
    from skylift.client.plan.read_options import read_options
    from skylift.contract.record import Terminal

    program = Program("script", "job.py")
    plain = read_options({}, program, Terminal())
    with_spot = read_options({"spot": True}, program, Terminal())
    with_net = read_options({"subnet": "subnet-0123abcd"}, program, Terminal())
    values: dict[str, Any] = {
        "python": "3.12",
        "env": {"A": "b"},
        "interactive": True,
        "name": "nightly",
        "trust_project": True,
        "in_": "data",
        "out": "report",
        "sync_every": "5m",
        "type": "t3.large",
        "cpu": 4,
        "memory": "16GiB",
        "arch": "arm64",
        "gpu": "T4:2",
        "image": "debian-12",
        "plain_image": True,
        "keep": 60.0,
        "reuse": "kept",
        "fresh": True,
        "on": "aws",
        "max_time": 90,
        "max_cost": 2.5,
        "idle": "10m",
        "retries": 3,
        "retry_on": [1, "75-80"],
        "spot": True,
        "max_price": 0.5,
        "checkpoint": "state",
        "or_on_demand": True,
        "private": True,
        "ssh_from": "203.0.113.7",
        "subnet": "subnet-0123abcd",
        "security_group": ["sg-0123abcd"],
        "servers": 4,
    }
    # The other three say what the program is.
    assert set(values) == set(OPTIONS) - {"module", "command", "args"}
    company: dict[str, tuple[dict[str, Any], Any]] = {
        **dict.fromkeys(("max_price", "checkpoint", "or_on_demand"), ({"spot": True}, with_spot)),
        "retry_on": ({"retries": 3}, read_options({"retries": 3}, program, Terminal())),
        "security_group": ({"subnet": "subnet-0123abcd"}, with_net),
    }
    for name, value in values.items():
        beside, before = company.get(name, ({}, plain))
        told: Any = {**beside, name: value}
        assert read_options(told, program, Terminal()) != before, name


@pytest.mark.parametrize("value", ["none", "0", "Inf", 0, float("inf")])
def test_a_run_without_an_end_is_refused_with_the_reason(value: str | float) -> None:
    from skylift.client.errors import UsageError
    from skylift.client.job.job import Program
    from skylift.client.plan.read_options import read_options

    with pytest.raises(UsageError, match="nobody ends costs money for ever") as refused:
        read_options({"max_time": value}, Program("script", "job.py"))
    assert "30d" in refused.value.advice
