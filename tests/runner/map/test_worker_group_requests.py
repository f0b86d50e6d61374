"""The group of a map's other servers, as AWS answers its coordinator."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs

from skylift.runner.server import worker_group
from skylift.runner.server.aws import Aws, Unreachable
from skylift.runner.server.worker_group import Group, Member, WorkerGroup, release_group

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
    assert there.asked == ["DescribeAutoScalingGroups", "DeleteAutoScalingGroup", "DescribeAutoScalingGroups"]


def test_what_a_group_has() -> None:
    members = [
        MEMBER.format("i-1", "InService", "Healthy"),
        MEMBER.format("i-2", "Pending", "Unhealthy"),
        MEMBER.format("i-3", "Terminating:Wait", "Healthy"),
    ]
    plain = WorkerGroup(cast(Aws, Autoscaling(group_of(*members))), "g").look()
    assert plain == Group(2, [Member("i-1", True, "t3.small"), Member("i-2", False, "t3.small")])
    policy = "<MixedInstancesPolicy><LaunchTemplate/></MixedInstancesPolicy>"
    spot = WorkerGroup(cast(Aws, Autoscaling(group_of(members[0], policy=policy))), "g").look()
    assert spot == Group(2, [Member("i-1", True, "t3.small", "spot")])
    assert WorkerGroup(cast(Aws, Autoscaling(None)), "g").look() is None
