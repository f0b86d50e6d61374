"""The group of a map's other servers, as AWS answers its coordinator."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from skylift.agent.remote.aws import Aws, Refused, Unreachable
from skylift.agent.workers import worker_group
from skylift.agent.workers.worker_group import (
    GroupMember,
    GroupState,
    SpotOrOnDemand,
    WorkerGroup,
    empty_group,
    open_group,
    release_group,
)

SPACE = 'xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"'
MEMBER = """
<member><InstanceId>{}</InstanceId><InstanceType>t3.small</InstanceType><LifecycleState>{}</LifecycleState>
<HealthStatus>{}</HealthStatus></member>
"""


class Autoscaling:
    """AWS, for a role whose permission depends on the group's tags: without the group, there are none."""

    def __init__(self, group: str | None) -> None:
        self.group, self.asked = group, list[str]()

    def url(self, service: str) -> str:
        return "https://" + service

    def send(self, _service: str, _method: str, _url: str, _headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        (action,) = parse_qs(body.decode())["Action"]
        self.asked.append(action)
        if action == "DescribeAutoScalingGroups":
            found = f"<AutoScalingGroups>{self.group or ''}</AutoScalingGroups>"
            return 200, {}, f"<Answer {SPACE}>{found}</Answer>".encode()
        if self.group is None:
            raise Unreachable("HTTP 403 AccessDenied")
        self.group = None
        return 200, {}, b"<Answer/>"


def group_of(*members: str, policy: str = "") -> str:
    listed = "".join(members)
    return (
        f"<member><AutoScalingGroupName>g</AutoScalingGroupName>{policy}<DesiredCapacity>2</DesiredCapacity>"
        f"<Instances>{listed}</Instances></member>"
    )


def test_a_group_that_is_gone_is_not_deleted_for_a_minute(monkeypatch: Any) -> None:
    monkeypatch.setattr(worker_group, "_PATIENCE", 0.0)
    there = Autoscaling(group_of())
    for _ in range(2):
        release_group(cast(Aws, there), "g")
    looked = "DescribeAutoScalingGroups"
    assert there.asked == [looked, "DeleteAutoScalingGroup", looked, looked, looked]


class Half:
    """AWS with both groups of a map, of which it deletes only one. `asked` are the groups that it was to delete."""

    def __init__(self, kept: str, error: Exception) -> None:
        self.kept, self.error = kept, error
        self.there, self.asked = {"g", "g.on-demand"}, list[str]()

    def url(self, service: str) -> str:
        return "https://" + service

    def send(self, _service: str, _method: str, _url: str, _headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        form = parse_qs(body.decode())
        if form["Action"] == ["DescribeAutoScalingGroups"]:
            (name,) = form["AutoScalingGroupNames.member.1"]
            found = f"<AutoScalingGroups>{group_of() if name in self.there else ''}</AutoScalingGroups>"
            return 200, {}, f"<Answer {SPACE}>{found}</Answer>".encode()
        (name,) = form["AutoScalingGroupName"]
        self.asked.append(name)
        if name == self.kept:
            raise self.error
        self.there.remove(name)
        return 200, {}, b"<Answer/>"


HINDRANCES = [Refused(400, "<Code>ValidationError</Code><Message>Not now.</Message>"), Unreachable("It is away.")]


@pytest.mark.parametrize("error", HINDRANCES)
@pytest.mark.parametrize("kept", ["g", "g.on-demand"])
def test_a_group_that_stays_keeps_no_other(kept: str, error: Exception, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(worker_group, "_PATIENCE", 0.0)
    half = Half(kept, error)
    release_group(cast(Aws, half), "g")
    assert half.there == {kept}
    assert f"they end by themselves: {error}" in "".join(capfd.readouterr())
    half = Half(kept, error)
    both = [WorkerGroup(cast(Aws, half), each) for each in ("g", "g.on-demand")]
    with pytest.raises(type(error)):
        SpotOrOnDemand(both[0], both[1], lambda _: None).delete()
    assert half.there == {kept}


def test_a_refusal_of_one_group_does_not_end_the_patience_with_the_other(monkeypatch: Any) -> None:
    class Later(Half):
        def send(self, _service: str, _method: str, _url: str, _headers: Any, body: bytes) -> tuple[int, Any, bytes]:
            form = parse_qs(body.decode())
            if form.get("AutoScalingGroupName") == ["g"] and not self.asked.count("g"):
                self.asked.append("g")
                raise Unreachable("It is away.")
            return super().send(_service, _method, _url, _headers, body)

    later = Later("g.on-demand", HINDRANCES[0])
    release_group(cast(Aws, later), "g")
    assert later.there == {"g.on-demand"}


class Kept:
    """AWS with the group of a schedule's runs, which nobody may delete."""

    def __init__(self, *members: str, desired: int = 0) -> None:
        self.members, self.desired, self.asked = list(members), desired, list[Any]()

    def url(self, service: str) -> str:
        return "https://" + service

    def send(self, _service: str, _method: str, _url: str, _headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        form = {name: value for name, (value,) in parse_qs(body.decode()).items()}
        action = form["Action"]
        found = ""
        if action == "DescribeAutoScalingGroups":
            if form["AutoScalingGroupNames.member.1"] == "g":
                listed = "".join(MEMBER.format(each, "InService", "Healthy") for each in self.members)
                found = (
                    f"<member><DesiredCapacity>{self.desired}</DesiredCapacity><Instances>{listed}</Instances></member>"
                )
            return 200, {}, f"<Answer {SPACE}><AutoScalingGroups>{found}</AutoScalingGroups></Answer>".encode()
        if action == "SetDesiredCapacity":
            self.desired = int(form["DesiredCapacity"])
            self.asked.append((action, self.desired))
        elif action == "TerminateInstanceInAutoScalingGroup":
            self.members.remove(form["InstanceId"])
            self.desired -= 1
            self.asked.append((action, form["InstanceId"]))
        else:
            prefix = "Tags.member.1."
            self.asked.append(
                (action, {name.removeprefix(prefix): value for name, value in form.items() if prefix in name})
            )
        return 200, {}, b"<Answer/>"


def test_the_group_of_a_schedule_says_whose_its_servers_are_before_they_come() -> None:
    aws = Kept()
    group = open_group(cast(Aws, aws), "g", lambda _: None, "nightly/2026-11-28T02:00:00Z")
    assert group.look() == GroupState(0, [])
    for each in (0, 2, 3):
        group.resize(each)
    tag = {
        "ResourceId": "g",
        "ResourceType": "auto-scaling-group",
        "Key": "skylift:job",
        "Value": "nightly/2026-11-28T02:00:00Z",
        "PropagateAtLaunch": "true",
    }
    size = "SetDesiredCapacity"
    assert aws.asked == [(size, 0), ("CreateOrUpdateTags", tag), (size, 2), (size, 3)]


def test_a_run_leaves_the_group_of_its_schedule_empty_and_there() -> None:
    aws = Kept("i-1", "i-2", desired=5)
    empty_group(cast(Aws, aws), "g")
    ending = "TerminateInstanceInAutoScalingGroup"
    assert aws.asked == [(ending, "i-1"), (ending, "i-2"), ("SetDesiredCapacity", 0)]
    assert (aws.members, aws.desired) == ([], 0)


def test_the_coordinator_of_a_run_that_ends_leaves_the_group_to_who_knows_whose_turn_it_is() -> None:
    aws = Kept("i-1", "i-2", desired=5)
    open_group(cast(Aws, aws), "g", lambda _: None, "nightly/2026-11-28T02:00:00Z").delete()
    assert (aws.members, aws.desired) == (["i-1", "i-2"], 5)


def test_nobody_waits_for_an_auto_scaling_that_cannot_be_reached() -> None:
    """A private subnet may have a way to S3 alone: a map's inputs run on its one server meanwhile."""

    class Away(Kept):
        is_away = True

        def send(self, *request: Any) -> tuple[int, Any, bytes]:
            if self.is_away:
                raise Unreachable("POST autoscaling.us-east-1.amazonaws.com: TimeoutError('timed out')")
            return super().send(*request)

    away = Away(desired=2)
    group = open_group(cast(Aws, away), "g", lambda _: None)
    for _ in range(2):
        with pytest.raises(Unreachable, match="timed out"):
            group.look()
    away.is_away = False
    assert group.look() == GroupState(2, [])
    group.resize(3)
    assert away.asked == [("SetDesiredCapacity", 3)]


class Plain:
    """A group that has as many servers as there is room for."""

    def __init__(self, kind: str, room: int) -> None:
        self.kind, self.room, self.desired, self.failures, self.deleted = kind, room, 0, 0, False

    def look(self) -> GroupState | None:
        if self.deleted:
            return None
        members = [GroupMember(f"i-{self.kind}-{number}", True) for number in range(min(self.desired, self.room))]
        return GroupState(self.desired, members)

    def resize(self, desired: int) -> None:
        self.desired = desired
        self.failures += desired > self.room

    def failure(self) -> tuple[str, str]:
        return (f"{self.kind}-{self.failures}", f"No {self.kind}.") if self.failures else ("", "")

    def why_not(self) -> str:
        return self.failure()[1]

    def delete(self) -> None:
        self.deleted = True


class Both:
    def __init__(self, spot: int, on_demand: int) -> None:
        self.spot, self.on_demand, self.said = Plain("spot", spot), Plain("on-demand", on_demand), list[str]()
        groups = cast(WorkerGroup, self.spot), cast(WorkerGroup, self.on_demand)
        self.group = SpotOrOnDemand(*groups, self.said.append)

    def have(self, desired: int) -> tuple[int, int]:
        """How many each has after two looks."""
        assert self.group.look() is not None
        self.group.resize(desired)
        found = [self.group.look() for _ in range(2)][1]
        assert found is not None and found.desired == desired
        return self.spot.desired, self.on_demand.desired


def test_servers_on_demand_come_for_those_that_spot_has_no_room_for() -> None:
    both = Both(spot=2, on_demand=9)
    assert both.have(2) == (2, 0)
    assert both.have(5) == (2, 3)
    assert both.said == ["No spot. Servers on demand are used (--or-on-demand): 3."]
    # Spot is asked for again whenever more are wanted.
    both.spot.room = 4
    both.spot.failures = 0
    assert both.have(7) == (4, 3)
    found = both.group.look()
    assert found is not None
    assert [each.instance for each in found.members][3:5] == ["i-spot-3", "i-on-demand-0"]
    both.group.delete()
    assert (both.spot.deleted, both.on_demand.deleted, both.group.look()) == (True, True, None)


def test_what_failed_under_the_coordinator_before_sends_nobody_to_servers_on_demand() -> None:
    both = Both(spot=9, on_demand=9)
    both.spot.failures = 3
    both.group.look()
    both.group.resize(2)
    both.spot.room = 0  # They are on their way.
    assert both.group.look() == GroupState(2, [])
    assert (both.spot.desired, both.on_demand.desired, both.said) == (2, 0, [])
    # What fails from now on does.
    both.spot.room = 2
    assert both.have(3) == (2, 1)


def test_what_waits_when_a_coordinator_begins_goes_to_servers_on_demand_when_it_fails_again() -> None:
    both = Both(spot=0, on_demand=9)
    both.spot.desired, both.spot.failures = 2, 1
    assert both.group.look() == GroupState(2, [])
    assert (both.spot.desired, both.on_demand.desired) == (2, 0)
    both.spot.failures += 1
    assert both.group.look() == GroupState(2, [])
    assert (both.spot.desired, both.on_demand.desired) == (0, 2)


def test_where_neither_has_room_the_reason_is_that_of_servers_on_demand() -> None:
    both = Both(spot=1, on_demand=1)
    assert both.have(4) == (1, 3)
    assert both.group.why_not() == "No on-demand."
    # What has not come need not come any more.
    assert both.have(2) == (1, 1)
    assert len(both.said) == 1


def test_what_a_group_has() -> None:
    members = [
        MEMBER.format("i-1", "InService", "Healthy"),
        MEMBER.format("i-2", "Pending", "Unhealthy"),
        MEMBER.format("i-3", "Terminating:Wait", "Healthy"),
    ]
    plain = WorkerGroup(cast(Aws, Autoscaling(group_of(*members))), "g").look()
    assert plain == GroupState(2, [GroupMember("i-1", True, "t3.small"), GroupMember("i-2", False, "t3.small")])
    policy = "<MixedInstancesPolicy><LaunchTemplate/></MixedInstancesPolicy>"
    spot = WorkerGroup(cast(Aws, Autoscaling(group_of(members[0], policy=policy))), "g").look()
    assert spot == GroupState(2, [GroupMember("i-1", True, "t3.small", "spot")])
    assert WorkerGroup(cast(Aws, Autoscaling(None)), "g").look() is None
