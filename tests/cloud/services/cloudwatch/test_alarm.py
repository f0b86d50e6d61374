from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, START, Account, allow, refused
from support.plain_instance import plain_instance

from skylift.cloud.domain.alarm import Alarm, DueAction
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.loops.cloudwatch import alarm as alarm_loop
from skylift.cloud.loops.cloudwatch.alarm import AlarmLoop
from skylift.cloud.loops.cloudwatch.evaluation import Verdict
from skylift.cloud.store.database import Tx
from skylift.cloud.wiring import alarm_action

ARN = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:"
STOP = "arn:aws:automate:us-east-1:ec2:stop"
OF_SERVER = [{"Name": "InstanceId", "Value": "i-0123456789abcdef0"}]


def put(account: Account, name: str = "busy", *, caller: Caller | None = None, **more: Any) -> None:
    params = {
        "AlarmName": name,
        "Namespace": "Shop",
        "MetricName": "Orders",
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 10.0,
        "ComparisonOperator": "GreaterThanThreshold",
        **more,
    }
    account.cloudwatch("PutMetricAlarm", caller=caller, **params)


def describe(account: Account, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.cloudwatch("DescribeAlarms", **params)["MetricAlarms"]
    return found


def names(account: Account, **params: Any) -> list[str]:
    return [alarm["AlarmName"] for alarm in describe(account, **params)]


def happened(account: Account, **params: Any) -> list[str]:
    items = account.cloudwatch("DescribeAlarmHistory", **params)["AlarmHistoryItems"]
    return [item["HistorySummary"] for item in items]


def tell(account: Account, value: float, **more: Any) -> None:
    datum = {"MetricName": "Orders", "Value": value, "Timestamp": account.now, **more}
    account.cloudwatch("PutMetricData", Namespace="Shop", MetricData=[datum])


def test_an_alarm_is_described_as_it_was_made(account: Account) -> None:
    put(account, DatapointsToAlarm=1, TreatMissingData="ignore", AlarmDescription="many", Unit="Count")
    assert describe(account) == [
        {
            "AlarmName": "busy",
            "AlarmArn": f"{ARN}busy",
            "AlarmDescription": "many",
            "AlarmConfigurationUpdatedTimestamp": START,
            "ActionsEnabled": True,
            "OKActions": [],
            "AlarmActions": [],
            "InsufficientDataActions": [],
            "StateValue": "INSUFFICIENT_DATA",
            "StateReason": "Unchecked: Initial alarm creation",
            "StateUpdatedTimestamp": START,
            "StateTransitionedTimestamp": START,
            "Namespace": "Shop",
            "MetricName": "Orders",
            "Dimensions": [],
            "Statistic": "Average",
            "Unit": "Count",
            "Period": 60,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "Threshold": 10.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "ignore",
        }
    ]
    assert happened(account) == ['Alarm "busy" created']


def test_an_alarm_that_is_put_again_keeps_its_state(account: Account) -> None:
    put(account)
    account.cloudwatch("SetAlarmState", AlarmName="busy", StateValue="ALARM", StateReason="to see")
    put(account, Threshold=20.0)
    (found,) = describe(account)
    assert (found["StateValue"], found["StateReason"], found["Threshold"]) == ("ALARM", "to see", 20.0)
    assert happened(account, ScanBy="TimestampAscending") == [
        'Alarm "busy" created',
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
        'Alarm "busy" updated',
    ]
    assert happened(account, HistoryItemType="StateUpdate") == ["Alarm updated from INSUFFICIENT_DATA to ALARM"]
    assert happened(account, StartDate=START + timedelta(hours=1)) == []


def test_which_alarms_are_described(account: Account) -> None:
    for name in ("busy-1", "busy-2", "idle"):
        put(account, name)
    account.cloudwatch("SetAlarmState", AlarmName="idle", StateValue="OK", StateReason="")
    assert names(account) == ["busy-1", "busy-2", "idle"]
    assert names(account, AlarmNames=["idle", "none"]) == ["idle"]
    assert names(account, AlarmNamePrefix="busy") == ["busy-1", "busy-2"]
    assert names(account, StateValue="OK") == ["idle"]
    assert names(account, ActionPrefix="arn:aws:automate") == []
    assert names(account, AlarmTypes=["CompositeAlarm"]) == []
    first = account.cloudwatch("DescribeAlarms", MaxRecords=2)
    second = account.cloudwatch("DescribeAlarms", MaxRecords=2, NextToken=first["NextToken"])
    assert [one["AlarmName"] for one in (*first["MetricAlarms"], *second["MetricAlarms"])] == names(account)
    assert "NextToken" not in second
    of_metric = {"Namespace": "Shop", "MetricName": "Orders"}
    assert len(account.cloudwatch("DescribeAlarmsForMetric", **of_metric)["MetricAlarms"]) == 3
    assert account.cloudwatch("DescribeAlarmsForMetric", **of_metric, Period=300)["MetricAlarms"] == []


def test_history_comes_in_pages(account: Account) -> None:
    for number in range(5):
        put(account, f"a{number}")
    for order in ("TimestampAscending", "TimestampDescending"):
        seen, more = [], {}
        for _ in range(3):
            answer = account.cloudwatch("DescribeAlarmHistory", MaxRecords=2, ScanBy=order, **more)
            seen += [item["AlarmName"] for item in answer["AlarmHistoryItems"]]
            more = {"NextToken": answer.get("NextToken", "")}
        assert sorted(seen) == [f"a{number}" for number in range(5)]


def test_alarms_are_deleted_and_their_actions_switched(account: Account) -> None:
    put(account)
    account.cloudwatch("DisableAlarmActions", AlarmNames=["busy"])
    assert describe(account)[0]["ActionsEnabled"] is False
    account.cloudwatch("EnableAlarmActions", AlarmNames=["busy", "none"])
    assert describe(account)[0]["ActionsEnabled"] is True
    account.cloudwatch("DeleteAlarms", AlarmNames=["busy", "none"])
    assert describe(account) == []
    assert happened(account, AlarmName="busy")[0] == 'Alarm "busy" deleted'
    with refused("ResourceNotFound", "busy", status=404):
        account.cloudwatch("SetAlarmState", AlarmName="busy", StateValue="OK", StateReason="")


def test_tags(account: Account) -> None:
    put(account, Tags=[{"Key": "team", "Value": "shop"}])
    account.cloudwatch("TagResource", ResourceARN=f"{ARN}busy", Tags=[{"Key": "a", "Value": "b"}])
    account.cloudwatch("UntagResource", ResourceARN=f"{ARN}busy", TagKeys=["team"])
    assert account.cloudwatch("ListTagsForResource", ResourceARN=f"{ARN}busy") == {"Tags": [{"Key": "a", "Value": "b"}]}
    # LocalStack's test_tagging_metric_alarm, recorded on AWS in February 2026 ("list_tags_for_deleted_resource").
    assert account.cloudwatch("ListTagsForResource", ResourceARN=f"{ARN}none") == {"Tags": []}
    with refused("ResourceNotFoundException", status=404):
        account.cloudwatch("TagResource", ResourceARN=f"{ARN}none", Tags=[{"Key": "a", "Value": "b"}])
    with refused("ResourceNotFoundException", status=404):
        account.cloudwatch("ListTagsForResource", ResourceARN="arn:aws:s3:::bucket")
    caller = account.role("tagged", allow("cloudwatch:*", Condition={"StringEquals": {"aws:ResourceTag/a": "b"}}))
    account.cloudwatch("DisableAlarmActions", caller=caller, AlarmNames=["busy"])
    with refused("AccessDenied"):
        account.cloudwatch("DeleteAlarms", caller=caller, AlarmNames=["other"])


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"Period": 45}, "multiple of 60"),
        ({"Period": 5}, "multiple of 60"),
        ({"Period": 300, "EvaluationPeriods": 300}, "86400"),
        ({"DatapointsToAlarm": 2}, "DatapointsToAlarm"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "ComparisonOperator"),
        ({"Threshold": float("nan")}, "Threshold"),
        ({"TreatMissingData": "maybe"}, "TreatMissingData"),
        ({"AlarmActions": ["arn:aws:sns:us-east-1:123456789012:topic"]}, "arn:aws:sns"),
        ({"AlarmActions": ["arn:aws:automate:eu-west-1:ec2:stop"]}, "eu-west-1"),
        ({"AlarmActions": [STOP]}, "InstanceId"),
    ],
)
def test_alarms_that_there_are_not(account: Account, params: dict[str, Any], word: str) -> None:
    with refused("ValidationError", word):
        put(account, **params)
    assert describe(account) == []


def test_whoever_has_an_alarm_act_must_be_allowed_to(account: Account) -> None:
    caller = account.role("watcher", allow("cloudwatch:*"))
    put(account, caller=caller)
    with refused("AccessDenied", "ec2:StopInstances"):
        put(account, caller=caller, Dimensions=OF_SERVER, AlarmActions=[STOP])


class Watched:
    """An account with a server, and the loop of its alarms."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.woken = 0
        self.loop = AlarmLoop(account.database, alarm_action.carry_out, self._wake)
        self.server = plain_instance(id="i-0123456789abcdef0", state="running")
        with account.database.write() as tx:
            tx.add(CloudFacts(ACCOUNT, "us-east-1", 1))
            tx.add(self.server)

    def _wake(self) -> None:
        self.woken += 1

    def minute(self, *values: float, **more: Any) -> str:
        """Tell these values of a minute, let it end, and have the alarm looked at. Returns its state."""
        for value in values:
            tell(self.account, value, **more)
        self.account.pass_time(minutes=1)
        self.loop.step()
        self.loop.act()
        return self.state

    @property
    def state(self) -> str:
        return str(describe(self.account)[0]["StateValue"])

    @property
    def desired(self) -> str:
        with self.account.database.read() as tx:
            found = tx.get(Instance, id=self.server.id)
        assert found is not None
        return found.desired


@pytest.fixture
def watched(account: Account) -> Iterator[Watched]:
    account.now = account.now.replace(second=0, microsecond=0)
    yield Watched(account)


def test_a_metric_moves_its_alarm(watched: Watched) -> None:
    put(watched.account)
    assert [watched.minute(5), watched.minute(50), watched.minute(1), watched.minute()] == ["OK", "ALARM", "OK", "OK"]
    (found,) = describe(watched.account)
    assert "not greater than the threshold (10.0)" in found["StateReason"]
    assert json.loads(found["StateReasonData"])["recentDatapoints"] == [1.0]
    assert watched.woken == 3
    watched.minute()
    assert watched.minute() == "INSUFFICIENT_DATA"


def test_what_has_not_moved_keeps_its_reason(watched: Watched) -> None:
    put(watched.account)
    watched.minute(5)
    before = describe(watched.account)
    watched.minute(6)
    assert describe(watched.account) == before


def test_an_alarm_of_ten_seconds(watched: Watched) -> None:
    put(watched.account, Period=10)
    for value, state in ((50, "ALARM"), (1, "OK")):
        tell(watched.account, value, StorageResolution=1)
        watched.account.pass_time(seconds=10)
        watched.loop.step()
        assert watched.state == state


def test_a_tick_that_comes_late_is_still_the_first_of_its_minute(watched: Watched) -> None:
    put(watched.account)
    watched.loop.step()
    tell(watched.account, 50)
    for seconds, state in ((40, "INSUFFICIENT_DATA"), (45, "ALARM")):
        watched.account.pass_time(seconds=seconds)
        watched.loop.step()
        assert watched.state == state


def test_an_alarm_stops_its_server_once(watched: Watched) -> None:
    more = {"Dimensions": OF_SERVER}
    put(watched.account, AlarmActions=[STOP], **more)
    assert watched.minute(50, **more) == "ALARM"
    assert watched.desired == "stopped"
    assert happened(watched.account, HistoryItemType="Action") == [f"Successfully executed action {STOP}"]
    with watched.account.database.write() as tx:
        tx.save(watched.server)
    assert watched.minute(50, **more) == "ALARM"
    assert watched.desired == "running"


def test_a_state_that_is_set_by_hand_acts_too(watched: Watched) -> None:
    put(watched.account, AlarmActions=[STOP], Dimensions=OF_SERVER)
    watched.account.cloudwatch("SetAlarmState", AlarmName="busy", StateValue="ALARM", StateReason="a rehearsal")
    watched.loop.act()
    assert watched.desired == "stopped"


def test_actions_that_are_switched_off_are_not_carried_out(watched: Watched) -> None:
    put(watched.account, AlarmActions=[STOP], Dimensions=OF_SERVER, ActionsEnabled=False)
    watched.minute(50, Dimensions=OF_SERVER)
    assert (watched.state, watched.desired) == ("ALARM", "running")


def test_an_action_that_cannot_be_says_why(watched: Watched) -> None:
    with watched.account.database.write() as tx:
        tx.save(replace(watched.server, stop_protected=True))
    put(watched.account, AlarmActions=[STOP], Dimensions=OF_SERVER)
    watched.minute(50, Dimensions=OF_SERVER)
    (item,) = watched.account.cloudwatch("DescribeAlarmHistory", HistoryItemType="Action")["AlarmHistoryItems"]
    assert item["HistorySummary"] == f"Failed to execute action {STOP}"
    assert "disableApiStop" in json.loads(item["HistoryData"])["error"]
    watched.loop.act()
    assert len(happened(watched.account, HistoryItemType="Action")) == 1


def test_what_a_killed_process_has_left_is_done_by_the_next(watched: Watched) -> None:
    put(watched.account, AlarmActions=[STOP], Dimensions=OF_SERVER)
    tell(watched.account, 50, Dimensions=OF_SERVER)
    watched.account.pass_time(minutes=1)
    watched.loop.step()
    again = AlarmLoop(watched.account.database, alarm_action.carry_out, lambda: None)
    again.step()
    again.act()
    again.act()
    assert watched.desired == "stopped"
    assert len(happened(watched.account, HistoryItemType="Action")) == 1


def test_an_alarm_that_cannot_be_evaluated_keeps_no_other_from_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(alarm: Alarm, *more: Any) -> Verdict:
        if alarm.name == "broken":
            raise OverflowError("what nobody has thought of")
        return sound(alarm, *more)

    sound = alarm_loop.evaluate
    monkeypatch.setattr(alarm_loop, "evaluate", evaluate)
    put(watched.account, "broken")
    put(watched.account)
    tell(watched.account, 50)
    watched.account.pass_time(minutes=1)
    watched.loop.step()
    assert [alarm["StateValue"] for alarm in describe(watched.account)] == ["INSUFFICIENT_DATA", "ALARM"]
    assert watched.woken == 1


def test_an_action_that_fails_unforeseen_keeps_no_other_waiting(watched: Watched) -> None:
    def act(tx: Tx, alarm: Alarm, action: DueAction) -> str:
        if alarm.name == "broken":
            raise OverflowError("what nobody has thought of")
        return alarm_action.carry_out(tx, alarm, action)

    loop = AlarmLoop(watched.account.database, act, lambda: None)
    for name in ("broken", "busy"):
        put(watched.account, name, AlarmActions=[STOP], Dimensions=OF_SERVER)
        watched.account.cloudwatch("SetAlarmState", AlarmName=name, StateValue="ALARM", StateReason="a rehearsal")
    loop.act()
    assert watched.desired == "stopped"


def test_tags_of_a_new_alarm_take_a_permission_of_their_own(account: Account) -> None:
    caller = account.role("watcher", allow("cloudwatch:PutMetricAlarm"))
    tags = [{"Key": "team", "Value": "blue"}]
    with refused("AccessDenied", "cloudwatch:TagResource"):
        put(account, Tags=tags, caller=caller)
    put(account, caller=caller)
    put(account, Tags=tags, caller=caller)
    put(account, "other", Tags=tags, caller=account.role("tagger", allow("cloudwatch:*")))


@pytest.mark.parametrize("data", ["{", "[" * 3_900])
def test_a_states_data_must_be_json_that_can_be_read(account: Account, data: str) -> None:
    put(account)
    with refused("InvalidFormat"):
        account.cloudwatch("SetAlarmState", AlarmName="busy", StateValue="OK", StateReason="", StateReasonData=data)
