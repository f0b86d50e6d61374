"""What is invoked when a schedule is due: with whose permissions, how often, and what comes of failures."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION
from scheduler_scene import SchedulerScene, allow, trust

from skylift.catalogue.schedule_expression import next_time
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.schedule import Invocation, Schedule
from skylift.cloud.loops.scheduler.schedule import ScheduleLoop
from skylift.cloud.store.database import Tx
from skylift.cloud.wiring.schedule import make_schedules


def test_a_server_is_run_at_its_time_with_the_role_of_the_schedule(scene: SchedulerScene) -> None:
    tags = {"ResourceType": "instance", "Tags": [{"Key": "time", "Value": "<aws.scheduler.scheduled-time>"}]}
    launch = scene.launch(TagSpecifications=[tags], ClientToken="<aws.scheduler.execution-id>")
    scene.create(Target=scene.target(Input=json.dumps(launch)), ScheduleExpressionTimezone="Europe/Berlin")
    scene.loop.step()
    assert scene.wakes[-1] == pytest.approx(60, abs=1)
    assert scene.instances == []
    scene.pass_time(hours=13)
    scene.loop.step()
    (instance,) = scene.instances
    assert instance["Tags"] == [{"Key": "time", "Value": "2026-11-26T01:00:00Z"}]
    assert len(instance["ClientToken"]) == 16
    assert scene.pending == []
    assert scene.wakes[-1] == pytest.approx(60, abs=1)


def test_what_passed_while_the_cloud_was_away_is_made_up_for_once(
    scene: SchedulerScene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.create("rate(1 hour)")
    scene.loop.step()
    assert len(scene.instances) == 1, "a rate begins at once"
    scene.pass_time(hours=7, minutes=30)
    assert len(scene.instances) == 2
    assert "schedule nightly: of what was due since 2026-11-25 13:00:00+00:00, the last is made up for" in caplog.text
    scene.pass_time(minutes=30)
    assert len(scene.instances) == 3


def test_what_is_older_than_it_may_be_is_not_made_up_for(
    scene: SchedulerScene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.create(Target=scene.target(RetryPolicy={"MaximumEventAgeInSeconds": 3600}))
    scene.pass_time(hours=16)
    assert "what was due since 2026-11-26 02:00:00+00:00 is too old to be made up for" in caplog.text
    assert (scene.instances, scene.pending) == ([], [])
    assert scene.count("InvocationDroppedCount") == 1
    scene.pass_time(hours=22, minutes=30)
    assert len(scene.instances) == 1
    assert (scene.count("InvocationAttemptCount"), scene.count("TargetErrorCount")) == (1, 0)


def test_what_takes_several_transactions_is_refused_and_holds_nobody_up(scene: SchedulerScene) -> None:
    """So many servers are launched in turns, each of which begins when the one before is done."""
    scene.create(Target=scene.target(Input=json.dumps(scene.launch(MaxCount=100))))
    scene.pass_time(hours=14)
    assert scene.instances == []
    assert scene.count("TargetErrorCount") == 1


@pytest.mark.parametrize("expression", ["rate(1 minute)", "cron(* * * * ? *)"])
def test_a_year_of_minutes_holds_nobody_up(scene: SchedulerScene, expression: str) -> None:
    asked = 0

    def counted(*what: Any) -> datetime | None:
        nonlocal asked
        asked += 1
        return next_time(*what)

    scene.create(expression)
    scene.loop = ScheduleLoop(scene.database, counted, scene.loop.invoke, scene.loop.note, scene.wakes.append)
    scene.pass_time(days=365)
    assert len(scene.instances) == 1
    assert asked <= 24 * 60 + 3
    assert scene.wakes[-1] == pytest.approx(60, abs=1)


@pytest.mark.parametrize("after", ["NONE", "DELETE"])
def test_what_is_over_before_it_could_be_made_up_for_is_over(scene: SchedulerScene, after: str) -> None:
    retry = {"MaximumEventAgeInSeconds": 60}
    scene.create("at(2026-11-25T13:00:00)", Target=scene.target(RetryPolicy=retry), ActionAfterCompletion=after)
    scene.pass_time(days=1)
    assert (scene.instances, scene.pending) == ([], [])
    assert len(scene.call("ListSchedules")["Schedules"]) == (after == "NONE")


def test_it_is_once_also_where_the_cloud_dies_in_the_middle(scene: SchedulerScene) -> None:
    """The server and the note that it was run are one transaction."""

    class Killed(BaseException):
        pass

    invoke = scene.loop.invoke

    def dies(tx: Tx, schedule: Schedule, invocation: Invocation) -> str:
        invoke(tx, schedule, invocation)
        raise Killed

    scene.create("at(2026-11-25T12:30:00)")
    scene.cloud.clock.forward(minutes=30)
    with pytest.raises(Killed):
        ScheduleLoop(scene.database, next_time, dies, scene.loop.note, scene.wakes.append).step()
    assert scene.instances == []
    scene.loop.step()
    scene.loop.step()
    assert len(scene.instances) == 1


def test_a_disabled_schedule_is_not_due_until_it_is_enabled(scene: SchedulerScene) -> None:
    scene.create(State="DISABLED")
    scene.pass_time(days=3)
    assert (scene.instances, scene.wakes) == ([], [])
    scene.call("UpdateSchedule", **scene.request())
    scene.loop.step()
    assert scene.instances == [], "what it missed is not made up for"
    scene.pass_time(hours=14)
    assert len(scene.instances) == 1


@pytest.mark.parametrize("after", ["NONE", "DELETE"])
def test_what_is_over_stays_or_goes_as_asked(scene: SchedulerScene, after: str) -> None:
    scene.create("rate(1 day)", EndDate=datetime(2026, 11, 26, 18, tzinfo=UTC), ActionAfterCompletion=after)
    scene.loop.step()
    for _ in range(4):
        scene.pass_time(days=1)
    assert len(scene.instances) == 2
    assert len(scene.call("ListSchedules")["Schedules"]) == (after == "NONE")


def test_a_window_spreads_what_is_due(scene: SchedulerScene) -> None:
    scene.create("at(2026-11-25T13:00:00)", FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60})
    scene.pass_time(hours=1)
    for invocation in scene.pending:
        assert timedelta() <= invocation.due - invocation.scheduled <= timedelta(hours=1)
    scene.pass_time(hours=1)
    assert len(scene.instances) == 1


@pytest.mark.parametrize(
    ("statements", "launch", "words"),
    [
        ((), {}, "UnauthorizedOperation"),
        ((allow("ec2:RunInstances"),), {"ImageId": "ami-none"}, "InvalidAMIID"),
        ((allow("ec2:RunInstances"),), {"MinCount": "one"}, "MinCount: must be a number"),
        ((allow("ec2:RunInstances"),), {"Colour": "red"}, "Colour: is not recognized"),
        ((allow("ec2:RunInstances"),), {"EnclaveOptions": {"Enabled": True}}, "EnclaveOptions"),
        ((allow("ec2:RunInstances"),), {"IamInstanceProfile": {"Name": "powerful"}}, "UnauthorizedOperation"),
    ],
)
def test_what_the_role_may_not_or_the_request_cannot_is_given_up_and_told(
    scene: SchedulerScene,
    caplog: pytest.LogCaptureFixture,
    statements: tuple[dict[str, Any], ...],
    launch: dict[str, Any],
    words: str,
) -> None:
    scene.make_role("powerful", allow("*"), trusted=trust("ec2.amazonaws.com"))
    scene.ask("iam", "CreateInstanceProfile", InstanceProfileName="powerful")
    scene.ask("iam", "AddRoleToInstanceProfile", InstanceProfileName="powerful", RoleName="powerful")
    role = scene.make_role("narrow", *statements)
    text = json.dumps(scene.launch(**launch))
    scene.create(Target=scene.target(RoleArn=role, Input=text))
    scene.pass_time(hours=14)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "schedule nightly: given up what was due at 2026-11-26 02:00:00+00:00" in told[0]
    assert words in told[0]
    assert (scene.instances, scene.pending) == ([], [])


def test_a_role_that_is_gone_or_trusts_no_more_is_used_no_more(
    scene: SchedulerScene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.create()
    scene.ask("iam", "UpdateAssumeRolePolicy", RoleName="runs", PolicyDocument=trust("ec2.amazonaws.com"))
    scene.pass_time(hours=14)
    assert "scheduler.amazonaws.com may not assume" in caplog.text
    assert (scene.instances, scene.pending) == ([], [])


class Full:
    """A cloud without room, until somebody says that there is some."""

    def __init__(self, scene: SchedulerScene) -> None:
        self.attempts: list[int] = []
        self.full = True
        self._invoke = scene.loop.invoke
        self.loop = ScheduleLoop(scene.database, next_time, self, scene.loop.note, scene.wakes.append)

    def __call__(self, tx: Tx, schedule: Schedule, invocation: Invocation) -> str:
        self.attempts.append(invocation.attempt)
        if self.full:
            raise ServiceError("InsufficientInstanceCapacity", "There is no room.")
        return self._invoke(tx, schedule, invocation)


def test_want_of_capacity_is_tried_again_until_there_is_some(scene: SchedulerScene) -> None:
    full = Full(scene)
    scene.create("at(2026-11-25T13:00:00)", ActionAfterCompletion="DELETE")
    scene.cloud.clock.forward(hours=1)
    for _ in range(100):
        full.loop.step()
    assert full.attempts == [1], "not before it is due again"
    for _ in range(600):
        scene.cloud.clock.forward(seconds=5)
        full.loop.step()
    assert full.attempts == list(range(1, 12)), "15 s, twice as long each time, at most 8 minutes"
    full.full = False
    scene.cloud.clock.forward(minutes=8)
    full.loop.step()
    assert len(scene.instances) == 1
    assert (scene.pending, scene.call("ListSchedules")["Schedules"]) == ([], [])


@pytest.mark.parametrize(("retry", "attempts"), [({"MaximumRetryAttempts": 2}, 3), ({"MaximumRetryAttempts": 0}, 1)])
def test_it_is_tried_as_often_as_asked(scene: SchedulerScene, retry: dict[str, int], attempts: int) -> None:
    full = Full(scene)
    scene.create("at(2026-11-25T13:00:00)", Target=scene.target(RetryPolicy=retry))
    for _ in range(20):
        scene.cloud.clock.forward(hours=1)
        full.loop.step()
    assert full.attempts == list(range(1, attempts + 1))
    assert scene.pending == []
    counted = [scene.count(f"{name}Count") for name in ("InvocationAttempt", "TargetError", "InvocationDropped")]
    assert counted == [attempts, attempts, 1]


def test_it_is_not_tried_after_its_age(scene: SchedulerScene) -> None:
    full = Full(scene)
    retry = {"MaximumEventAgeInSeconds": 60}
    scene.create("at(2026-11-25T13:00:00)", Target=scene.target(RetryPolicy=retry))
    scene.cloud.clock.forward(hours=1)
    for _ in range(60):
        full.loop.step()
        scene.cloud.clock.forward(seconds=5)
    assert full.attempts == [1, 2, 3], "at 0, 15 and 45 seconds; the next would be at 105"
    assert scene.pending == []


def test_a_schedule_that_is_removed_or_changed_is_not_invoked_for_what_was(scene: SchedulerScene) -> None:
    full = Full(scene)
    scene.create("at(2026-11-25T13:00:00)")
    scene.cloud.clock.forward(hours=1)
    full.loop.step()
    assert len(scene.pending) == 1
    scene.call("DeleteSchedule", Name="nightly")
    assert scene.pending == []


def test_a_schedule_runs_a_command_as_far_as_its_role_may(scene: SchedulerScene) -> None:
    role = scene.make_role("commands", allow("ssm:SendCommand"))
    to = [{"Key": "tag:role", "Values": ["web"]}]
    text = json.dumps({"DocumentName": "AWS-RunShellScript", "Targets": to, "Parameters": {"commands": ["date"]}})
    arn = "arn:aws:scheduler:::aws-sdk:ssm:sendCommand"
    scene.create("at(2026-11-25T13:00:00)", Target={"Arn": arn, "RoleArn": role, "Input": text})
    scene.pass_time(hours=1)
    (sent,) = scene.ask("ssm", "ListCommands")["Commands"]
    assert sent["Parameters"] == {"commands": ["date"]}


def test_other_operations_are_invoked_too(scene: SchedulerScene) -> None:
    role = scene.make_role("parameters", allow("ssm:PutParameter"))
    text = json.dumps({"Name": "/last", "Value": "<aws.scheduler.schedule-arn>", "Type": "String"})
    arn = "arn:aws:scheduler:::aws-sdk:ssm:putParameter"
    scene.create("at(2026-11-25T13:00:00)", Target={"Arn": arn, "RoleArn": role, "Input": text})
    scene.pass_time(hours=1)
    value = scene.ask("ssm", "GetParameter", Name="/last")["Parameter"]["Value"]
    assert value == scene.call("GetSchedule", Name="nightly")["Arn"]


@pytest.mark.parametrize("expression", ["rate(10 minutes)", "cron(0/10 * * * ? *)"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_is_set_back_silences_no_schedule(scene: SchedulerScene, expression: str, restarted: bool) -> None:
    scene.create(expression)
    scene.loop.step()
    scene.pass_time(minutes=30)
    before = len(scene.instances)
    scene.pass_time(hours=-2)
    if restarted:
        scene.loop = make_schedules(scene.database, ACCOUNT, REGION, scene.wakes.append)
        scene.loop.step()
    assert scene.wakes[-1] <= 601
    scene.pass_time(minutes=11)
    assert len(scene.instances) == before + 1
    with scene.database.read() as tx:
        (schedule,) = tx.find(Schedule)
        assert schedule.due is not None
        assert schedule.due - tx.now <= timedelta(minutes=10)


def test_a_clock_that_is_set_back_while_the_loop_rests_is_noticed_by_itself(scene: SchedulerScene) -> None:
    scene.create("cron(0 * * * ? *)")
    scene.loop.step()
    before = len(scene.instances)
    scene.cloud.clock.forward(hours=-2)
    rested, until = 0.0, 3600 + 5
    while rested + scene.wakes[-1] <= until:
        rested += scene.wakes[-1]
        scene.cloud.clock.forward(seconds=scene.wakes[-1])
        scene.loop.step()
    assert len(scene.instances) == before + 1


def test_a_clock_that_is_set_right_repeats_nothing(scene: SchedulerScene) -> None:
    scene.create("cron(0 * * * ? *)")
    scene.pass_time(hours=1)
    before = len(scene.instances)
    scene.pass_time(seconds=-30)
    scene.pass_time(seconds=40)
    assert len(scene.instances) == before


def test_what_happens_once_happens_once_whatever_the_clock_does(scene: SchedulerScene) -> None:
    scene.create("at(2026-11-25T13:00:00)")
    scene.pass_time(hours=1)
    scene.pass_time(hours=-2)
    scene.pass_time(hours=3)
    assert len(scene.instances) == 1


def test_an_attempt_that_was_put_off_does_not_wait_for_a_clock_that_was_set_back(scene: SchedulerScene) -> None:
    scene.create()
    scene.pass_time(hours=14)
    with scene.database.write() as tx:
        tx.add(Invocation("0", "default", "nightly", tx.now, tx.now + timedelta(minutes=8), 2))
    before = len(scene.instances)
    scene.pass_time(hours=-2)
    assert (len(scene.instances), scene.pending) == (before + 1, [])
