"""`skylift.schedule`: the words of `skylift schedule`, with values."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import skylift
from skylift import aio
from skylift.client.job.settings import Settings
from skylift.client.launch.server import live_servers
from skylift.client.remote.api import Api

NIGHTLY = "cron(0 2 * * ? *)"


@pytest.fixture
def here(settings: Settings, prepared: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    for module in ("scheduling", "work"):
        monkeypatch.setattr(f"skylift.python.{module}.settings_for", lambda on, access=None, **_: settings)
    (folder / "nightly.py").write_text("print(1)\n")
    return folder


def test_made_paused_run_and_removed(here: Path, api: Api) -> None:
    nightly = skylift.schedule(NIGHTLY, Path("nightly.py"), "-x", timezone="Europe/Berlin", overlap="queue", out="r")
    assert repr(nightly) == "skylift.Schedule('nightly')"
    (listed,) = skylift.schedules()
    assert (listed.name, listed.when, listed.timezone) == ("nightly", NIGHTLY, "Europe/Berlin")
    assert (listed.overlap, listed.program) == ("queue", "nightly.py -x")
    skylift.Schedule("nightly").pause()
    assert skylift.schedules()[0].state == "paused"
    nightly.resume()
    assert skylift.schedules()[0].state == "active"
    run = nightly.run()
    (server,) = live_servers(api)
    assert server.job == run
    assert nightly.history() == skylift.Schedule("nightly").history()
    api.call("ec2", "terminate_instances", InstanceIds=[server.instance])
    nightly.rm()
    assert skylift.schedules() == []


def test_the_same_for_programs_that_are_asynchronous(here: Path, api: Api) -> None:
    async def use() -> None:
        nightly = await aio.schedule(NIGHTLY, "nightly.py", "-x", overlap="allow", out="r")
        assert repr(nightly) == "skylift.aio.Schedule('nightly')"
        (listed,) = await aio.schedules()
        assert (listed.name, listed.overlap, listed.program) == ("nightly", "allow", "nightly.py -x")
        await aio.Schedule("nightly").pause()
        assert (await aio.schedules())[0].state == "paused"
        await nightly.resume()
        run = await nightly.run()
        (server,) = live_servers(api)
        assert server.job == run
        assert await nightly.history() == await aio.Schedule("nightly").history()
        api.call("ec2", "terminate_instances", InstanceIds=[server.instance])
        await nightly.rm()
        assert await aio.schedules() == []
        with pytest.raises(skylift.UsageError, match="There is no schedule called nightly"):
            await aio.Schedule("nightly").history()
        with pytest.raises(skylift.UsageError, match=r"skylift.aio.schedule\(\): overlap never is none of"):
            await aio.schedule(NIGHTLY, "nightly.py", overlap="never")

    asyncio.run(use())


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (("cron(0 2 * * *)", "nightly.py"), {}, "does not say when"),
        ((NIGHTLY, "nightly.py"), {"timezone": "Mars/Olympus"}, "no such time zone"),
        ((NIGHTLY, "nightly.py"), {"overlap": "never"}, "is none of skip, queue, allow"),
        ((NIGHTLY, "nightly.py"), {"name": "../x"}, "name '../x' cannot be used"),
        ((NIGHTLY, "nightly.py"), {"spot": True, "or_on_demand": True}, "or_on_demand would need somebody"),
        ((NIGHTLY, "nightly.py"), {"servers": 4}, "servers needs a group"),
        ((NIGHTLY, "nightly.py"), {"keep": "5m"}, "keep would leave a server"),
        ((NIGHTLY, "nightly.py"), {"in_": "s3://bucket/x"}, "reads no inputs from S3"),
        ((NIGHTLY, "other.py"), {}, r"no script other\.py"),
        ((NIGHTLY,), {}, "Say what to run"),
    ],
)
def test_what_is_wrong_is_said_first(
    here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    def no_cloud(*_: object, **__: object) -> None:
        raise AssertionError("a cloud was started for what is wrong")

    monkeypatch.setattr("skylift.python.work.settings_for", no_cloud)
    with pytest.raises(skylift.UsageError, match=message):
        skylift.schedule(*words, **options)


def test_maps_are_made_with_their_own_words(here: Path, api: Api) -> None:
    api.call("s3", "create_bucket", Bucket="days-of-a-user")
    inputs = ["s3://days-of-a-user/in/*.csv", 7, Path("nightly.py").name]
    with pytest.raises(skylift.UsageError, match="names no file: 7"):
        skylift.schedule_map(NIGHTLY, "nightly.py", inputs)
    made = skylift.schedule_map(
        NIGHTLY, "nightly.py", inputs[:1], "-x", "{}", servers=3, halt="20%", out="r", name="days", overlap="queue"
    )
    assert repr(made) == "skylift.Schedule('days')"
    (listed,) = skylift.schedules()
    assert (listed.overlap, listed.program) == ("queue", "nightly.py -x '{}'")
    (group,) = api.call("autoscaling", "describe_auto_scaling_groups")["AutoScalingGroups"]
    assert (group["AutoScalingGroupName"], group["MaxSize"]) == ("skylift-schedule-workers.days", 2)
    made.rm()
    assert skylift.schedules() == []

    async def use() -> None:
        numbers = await aio.schedule_map(NIGHTLY, "nightly.py", range(3), name="numbers")
        assert (await aio.schedules())[0].name == "numbers"
        await numbers.rm()

    asyncio.run(use())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"servers": "auto"}, skylift.UsageError, "servers='auto' is for the command line"),
        ({"servers": 2, "overlap": "allow"}, skylift.UsageError, "one goes at a time"),
        ({"spot": True, "or_on_demand": True}, skylift.UsageError, "or_on_demand would need somebody"),
        ({"inputs": []}, skylift.UsageError, "There are no inputs"),
        ({"halt": "x"}, skylift.UsageError, "neither a number of failures nor a share"),
        ({"keep": "5m"}, TypeError, "unexpected keyword argument 'keep'"),
        ({"into": "x"}, TypeError, "unexpected keyword argument 'into'"),
    ],
)
def test_what_is_wrong_with_a_map(here: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        skylift.schedule_map(NIGHTLY, "nightly.py", **{"inputs": [1, 2], **options})
    assert skylift.schedules() == []


def test_an_option_that_there_is_not(here: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sched'"):
        skylift.schedule(NIGHTLY, "nightly.py", sched=1)  # type: ignore[call-arg]


def test_one_that_there_is_not(here: Path) -> None:
    with pytest.raises(skylift.UsageError, match="There is no schedule called nightly"):
        skylift.Schedule("nightly")
