"""Scheduled actions give a group other sizes at their time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from ec2_fixtures import Clock, Cloud
from scaling_scene import Scene

from skylift.cloud.domain.scaling_group import ScheduledAction
from skylift.cloud.loops.autoscaling.scaling_schedule import due
from skylift.cloud.services.autoscaling.recurrence import next_time

NIGHT = {"ScheduledActionName": "night", "Recurrence": "0 20 * * *", "TimeZone": "Europe/Berlin"}


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    made = Scene(cloud)
    made.create(2, 4)
    made.settle()
    return made


def actions(scene: Scene) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scene.on("DescribeScheduledActions")["ScheduledUpdateGroupActions"]
    return found


def test_a_group_is_gone_for_the_night_and_back_in_the_morning(scene: Scene) -> None:
    scene.on("PutScheduledUpdateGroupAction", **NIGHT, MinSize=0, DesiredCapacity=0)
    morning = {"ScheduledActionName": "morning", "Recurrence": "0 7 * * MON-FRI", "TimeZone": "Europe/Berlin"}
    scene.on("PutScheduledUpdateGroupAction", **morning, MinSize=2, DesiredCapacity=3)
    assert [(one["ScheduledActionName"], one["StartTime"]) for one in actions(scene)] == [
        ("night", datetime(2026, 11, 25, 19, 0, tzinfo=UTC)),
        ("morning", datetime(2026, 11, 26, 6, 0, tzinfo=UTC)),
    ]
    scene.settle()
    assert scene.wakes[-1] == 7 * 3600
    scene.cloud.clock.forward(hours=7)
    scene.settle()
    assert scene.group["Instances"] == []
    cause = scene.activities[0]["Cause"]
    assert cause.startswith(
        "At 2026-11-25T19:00:00Z a scheduled action update of AutoScalingGroup constraints to min: 0, max: 4, "
        "desired: 0 changing the desired capacity from 2 to 0."
    )
    scene.cloud.clock.forward(hours=11)
    scene.settle()
    assert len(scene.ids) == 3
    assert [one["ScheduledActionName"] for one in actions(scene)] == ["night", "morning"]


def test_what_is_once_is_over_when_it_was(scene: Scene) -> None:
    scene.on(
        "PutScheduledUpdateGroupAction",
        ScheduledActionName="once",
        StartTime=datetime(2026, 11, 25, 13, 0, tzinfo=UTC),
        DesiredCapacity=4,
    )
    scene.cloud.clock.forward(minutes=59)
    scene.settle()
    assert len(scene.ids) == 2
    scene.cloud.clock.forward(minutes=1)
    scene.settle()
    assert len(scene.ids) == 4
    assert actions(scene) == []


def test_what_was_missed_is_made_up_for_once(scene: Scene) -> None:
    """The cloud was away for three days."""
    scene.on("PutScheduledUpdateGroupAction", **NIGHT, MinSize=0, DesiredCapacity=0)
    scene.cloud.clock.forward(days=3)
    scene.loop = scene.new_loop()
    scene.settle()
    assert scene.group["Instances"] == []
    assert actions(scene)[0]["StartTime"] == datetime(2026, 11, 28, 19, 0, tzinfo=UTC)


@pytest.mark.parametrize(("hours", "expected"), [(7 + 72, 0), (18 + 72, 3), (6, 2), (7, 0)])
def test_what_was_missed_leaves_the_size_of_its_last_time(scene: Scene, hours: int, expected: int) -> None:
    """The cloud was away over nights and mornings: the group is as if it had not been."""
    scene.on("PutScheduledUpdateGroupAction", **NIGHT, MinSize=0, DesiredCapacity=0)
    morning = {"ScheduledActionName": "morning", "Recurrence": "0 7 * * *", "TimeZone": "Europe/Berlin"}
    scene.on("PutScheduledUpdateGroupAction", **morning, MinSize=2, DesiredCapacity=3)
    scene.cloud.clock.forward(hours=hours)
    scene.loop = scene.new_loop()
    scene.settle()
    assert len(scene.ids) == expected


def test_what_recurs_each_minute_is_not_counted_through(scene: Scene) -> None:
    asked: list[datetime] = []

    def counting(expression: str, zone: str, after: datetime) -> datetime | None:
        asked.append(after)
        return next_time(expression, zone, after)

    scene.on("PutScheduledUpdateGroupAction", ScheduledActionName="each", Recurrence="* * * * *", DesiredCapacity=4)
    scene.cloud.clock.forward(days=300)
    with scene.database.read() as tx:
        (found,) = due(tx, counting)
    assert found.name == "each"
    assert len(asked) < 30


def test_suspended_it_does_not_happen(scene: Scene) -> None:
    scene.on("PutScheduledUpdateGroupAction", **NIGHT, MinSize=0, DesiredCapacity=0)
    scene.on("SuspendProcesses", ScalingProcesses=["ScheduledActions"])
    scene.cloud.clock.forward(hours=8)
    scene.settle()
    assert len(scene.ids) == 2
    assert actions(scene)[0]["StartTime"] == datetime(2026, 11, 26, 19, 0, tzinfo=UTC)


def test_sizes_that_no_longer_go_together_are_told(scene: Scene) -> None:
    scene.on("PutScheduledUpdateGroupAction", **NIGHT, DesiredCapacity=4)
    scene.on("UpdateAutoScalingGroup", MaxSize=3)
    scene.cloud.clock.forward(hours=8)
    scene.settle()
    assert scene.activities[0]["StatusCode"] == "Failed"
    assert "Desired capacity:4" in scene.activities[0]["StatusMessage"]
    assert len(scene.ids) == 2


def test_an_end_is_kept_to(scene: Scene) -> None:
    end = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    scene.on("PutScheduledUpdateGroupAction", **NIGHT, EndTime=end, DesiredCapacity=3)
    scene.cloud.clock.forward(hours=8)
    scene.settle()
    assert len(scene.ids) == 3
    assert actions(scene) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"Recurrence": "0 20 * *"}, "not five fields"),
        ({"Recurrence": "0 0 30 2 *"}, "bad day-of-month"),
        ({"TimeZone": "Mars/Olympus"}, "not a time zone"),
        ({"MinSize": 3, "MaxSize": 2}, "Max bound"),
        ({"StartTime": datetime(2026, 11, 25, 11, 0, tzinfo=UTC)}, "in the past"),
        ({"EndTime": datetime(2026, 11, 25, 18, 0, tzinfo=UTC)}, "no time"),
        ({"DesiredCapacity": None}, "At least one of"),
    ],
)
def test_what_cannot_be_is_refused(scene: Scene, asked: dict[str, Any], message: str) -> None:
    request = {**NIGHT, "DesiredCapacity": 0, **asked}
    given = {name: value for name, value in request.items() if value is not None}
    refused = scene.refusal("PutScheduledUpdateGroupAction", AutoScalingGroupName="web", **given)
    assert refused.code == "ValidationError" and message in refused.message
    failed = scene.on("BatchPutScheduledUpdateGroupAction", ScheduledUpdateGroupActions=[given])
    assert [one["ScheduledActionName"] for one in failed["FailedScheduledUpdateGroupActions"]] == ["night"]
    assert actions(scene) == []


def test_many_are_put_and_deleted(scene: Scene) -> None:
    asked = [{**NIGHT, "ScheduledActionName": name, "MinSize": 0} for name in "abc"]
    assert scene.on("BatchPutScheduledUpdateGroupAction", ScheduledUpdateGroupActions=asked) == {
        "FailedScheduledUpdateGroupActions": []
    }
    scene.on("DeleteScheduledAction", ScheduledActionName="a")
    failed = scene.on("BatchDeleteScheduledAction", ScheduledActionNames=["a", "b"])["FailedScheduledActions"]
    assert [one["ScheduledActionName"] for one in failed] == ["a"]
    assert [one["ScheduledActionName"] for one in actions(scene)] == ["c"]
    found = scene.call("DescribeScheduledActions", StartTime=datetime(2026, 11, 26, tzinfo=UTC))
    assert found["ScheduledUpdateGroupActions"] == []


def test_an_action_that_cannot_be_carried_out_keeps_no_other_from_it(scene: Scene) -> None:
    """Its time zone is not known any more: the machine has other rules for the world's clocks by now."""
    scene.on("PutScheduledUpdateGroupAction", **NIGHT, DesiredCapacity=3)
    scene.on(
        "PutScheduledUpdateGroupAction",
        ScheduledActionName="once",
        StartTime=datetime(2026, 11, 25, 20, 0, tzinfo=UTC),
        DesiredCapacity=4,
    )
    with scene.database.write() as tx:
        broken = tx.get(ScheduledAction, group="web", name="night")
        assert broken is not None
        tx.save(replace(broken, zone="Atlantis/Capital"))
    scene.cloud.clock.forward(hours=9)
    scene.settle()
    assert len(scene.ids) == 4


def test_a_moment_that_comes_during_a_look_is_not_missed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.on(
        "PutScheduledUpdateGroupAction",
        ScheduledActionName="once",
        StartTime=datetime(2026, 11, 25, 13, 0, tzinfo=UTC),
        DesiredCapacity=4,
    )
    scene.cloud.clock.forward(minutes=59, seconds=59.9)
    passes = slowly(scene.cloud.clock, seconds=0.08)
    monkeypatch.setattr(Clock, "__call__", lambda _: passes())
    scene.wakes.clear()
    scene.loop.step()
    assert scene.group["DesiredCapacity"] == 2
    assert scene.wakes
    assert scene.wakes[-1] <= 0


def slowly(clock: Clock, seconds: float) -> Callable[[], datetime]:
    """Each time that it is looked at, so much has passed."""

    def look() -> datetime:
        clock.forward(seconds=seconds)
        return clock.now

    return look
