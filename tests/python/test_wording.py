"""Errors name what a caller of Python's has written; what somebody gave is shown as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import skylift
from skylift.client.errors import LaunchFailed, UsageError
from skylift.client.job.run_options import OPTIONS
from skylift.python.wording import called, in_python


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("--max-time 'soon' is not a duration.", "max_time 'soon' is not a duration."),
        ("--in data: there is no such file.", "in_ data: there is no such file."),
        ("-it and --spot exclude each other.", "interactive and spot exclude each other."),
        ("Choose another --type or --image.", "Choose another type or image."),
        ("Run it on AWS: --on aws.", "Run it on AWS: on='aws'."),
        ("(--arch arm64)", "(arch='arm64')"),
        ("Write --env NAME=VALUE.", "Write env NAME=VALUE."),
        # A value, a command and a word that is none of ours are left alone.
        ("--out '--out' must be", "out '--out' must be"),
        ('--out "it\'s --in" must be', 'out "it\'s --in" must be'),
        (r"--out 'a\'--in' must be", r"out 'a\'--in' must be"),
        ("Run `skylift run --on aws`.", "Run `skylift run --on aws`."),
        ("aws ec2 start-instances --instance-ids i-1", "aws ec2 start-instances --instance-ids i-1"),
        ("a--in b--outside --inside my-type x-m", "a--in b--outside --inside my-type x-m"),
    ],
)
def test_words(told: str, wanted: str) -> None:
    assert in_python(told) == wanted


def test_each_option_is_reworded() -> None:
    for name, option in OPTIONS.items():
        for word in option.words:
            if word.startswith("--"):
                assert in_python(f"{word} is wrong.") == f"{name} is wrong."


def test_what_is_no_mistake_of_the_callers_has_no_function() -> None:
    with pytest.raises(LaunchFailed) as caught, called("f()"):
        raise LaunchFailed("There is no image x.", "Choose another --image.")
    assert (str(caught.value), caught.value.advice) == ("There is no image x.", "Choose another image.")
    with pytest.raises(UsageError, match=r"^There is no script"), called("f()"):
        raise UsageError("There is no script --here.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_time": "soon"}, "skylift.run(): max_time 'soon' is not a duration."),
        ({"max_time": -5}, "skylift.run(): max_time '-5' is not a duration."),
        ({"keep": float("nan")}, "skylift.run(): keep nan is not a number of seconds."),
        ({"sync_every": "--out"}, "skylift.run(): sync_every '--out' is not a duration."),
        ({"cpu": 0}, "skylift.run(): cpu '0' is not a number of vCPUs."),
        ({"memory": "lots"}, "skylift.run(): memory 'lots' is not a size with its unit."),
        ({"arch": "vax"}, "skylift.run(): arch 'vax' is not known."),
        ({"gpu": "0"}, "skylift.run(): gpu '0' is not understood."),
        ({"max_price": 0.1}, "skylift.run(): max_price goes with spot."),
        ({"spot": True, "max_price": -1}, "skylift.run(): max_price -1 is not a price."),
        ({"spot": True, "checkpoint": "/etc"}, "skylift.run(): checkpoint '/etc' must be a file or a folder"),
        ({"spot": True, "interactive": True}, "skylift.run(): interactive and spot exclude each other"),
        ({"image": "--on aws"}, "skylift.run(): image '--on aws' is not known."),
        ({"ssh_from": "me"}, "skylift.run(): ssh_from 'me': "),
        ({"private": True, "ssh_from": "203.0.113.7"}, "skylift.run(): private and ssh_from exclude each other"),
        ({"security_group": "sg-0123abcd"}, "skylift.run(): security_group needs subnet"),
        ({"type": "huge"}, "skylift.run(): type 'huge' is not an instance type."),
        ({"max_time": "31d"}, "skylift.run(): max_time and keep together may be 30 days at most."),
        ({"in_": "nothing.csv"}, "skylift.run(): in_ nothing.csv: there is no such file"),
        ({"in_": "s3://x"}, "skylift.run(): in_ s3://x: this is not a place in S3."),
        ({"out": "../up"}, "skylift.run(): out '../up' must be a path or glob"),
        ({"env": ["no such"]}, "skylift.run(): env 'no such' is not the name"),
        ({"python": "2"}, "skylift.run(): python '2' is not a version"),
        ({"on": "mars"}, "skylift.run(): on 'mars' is not a place where jobs run."),
        ({"forward": "http"}, "skylift.run(): forward 'http' is not a port."),
    ],
)
def test_an_error_names_the_parameter(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("print(1)\n")
    with pytest.raises(skylift.UsageError) as caught:
        skylift.run("job.py", **options)
    error = caught.value
    assert str(error).startswith(message)
    assert error.message == str(error)
    assert "--" not in str(error).replace("'--out'", "").replace("'--on aws'", "")


def test_another_function_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("print(1)\n")
    with pytest.raises(skylift.UsageError, match=r"^skylift\.submit\(\): idle 'x' is not a duration"):
        skylift.submit("job.py", idle="x")
    with pytest.raises(skylift.UsageError, match=r"^skylift\.jobs\(\): on 'mars' is not a place"):
        skylift.jobs(on="mars")


async def test_and_one_that_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("print(1)\n")
    with pytest.raises(skylift.UsageError, match=r"^skylift\.aio\.run\(\): idle 'x' is not a duration"):
        await skylift.aio.run("job.py", idle="x")
    with pytest.raises(skylift.UsageError, match=r"^skylift\.aio\.Job\(\): on 'mars' is not a place"):
        await skylift.aio.Job("x", on="mars").state()
