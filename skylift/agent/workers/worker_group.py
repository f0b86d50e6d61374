"""The Auto Scaling group with the other servers of a map, as the coordinator's server sees it.

Its processes ReplaceUnhealthy and AZRebalance are suspended, so no server comes unless the coordinator asks for it. A
group without its coordinator grows no more, and its servers end by themselves.

A map that is not scheduled has its own group, and its servers delete that. A schedule's runs use one group, one after
the other. It stays: the server of a run empties it, if the run still has its turn.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Protocol, Tuple
from xml.etree import ElementTree

from skylift.agent.machine.console import say
from skylift.agent.remote.aws import Aws, Metadata, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix

SECRETS = "in/dask.json"
"""The keys of a map's coordinator: see map_server.py."""
TAG_JOB = "skylift:job"
ON_DEMAND = ".on-demand"
"""The end of the name of the group that has servers on demand in place of spot servers."""
_PATIENCE = 60.0
"""Seconds in which the group must be deleted, or emptied, at the map's end. After that its servers end by
themselves."""
_WELCOME = 120.0
"""Seconds in which a new server must have been given its key."""
_LOOKING = 0.2
_ENDING = ("Terminating", "Terminated", "Detach")
_GONE = ("not found", "pending delete")


def keys_of_servers(metadata: Metadata, region: str) -> str:
    """The S3 prefix for servers' keys; the instance's id follows. The whole ends with the instance's ARN, because the
    role of these servers lets each of them read only the object with its own ARN."""
    account = json.loads(metadata.get("/latest/dynamic/instance-identity/document"))["accountId"]
    return "server/map/keys/arn:aws:ec2:%s:%s:instance/" % (region, account)


def take_key(
    prefix: Prefix, metadata: Metadata, region: str, instance: str, pause: Callable[[float], Optional[bool]]
) -> Optional[Dict[str, Any]]:
    """The key of this server, which is removed from the prefix. None if there is none in time, or if `pause`, which is
    called between two looks, returns True."""
    place = retry_until("identity", lambda: keys_of_servers(metadata, region), float("inf"))
    key, until = place + instance, time.monotonic() + _WELCOME
    found = None
    while found is None and not pause(_LOOKING) and time.monotonic() < until:
        # A role that may not list the bucket is denied an object that is not there.
        with contextlib.suppress(Unreachable):
            found = prefix.get(key)
    if found is None:
        return None
    retry_until(key, lambda: prefix.delete(key), float("inf"))
    taken: Dict[str, Any] = json.loads(found)
    return taken


class GroupMember(NamedTuple):
    """A server of the group. `alive` is whether it is there to stay, as far as EC2 knows. `market` is how it was
    bought, as in a job's status."""

    instance: str
    alive: bool
    instance_type: str = ""
    market: str = "on-demand"


class GroupState(NamedTuple):
    desired: int
    members: List[GroupMember]


class Resizable(Protocol):
    """The source of the servers, for code that keeps their number. See WorkerGroup."""

    def look(self) -> Optional[GroupState]: ...

    def resize(self, desired: int) -> None: ...

    def terminate(self, instance: str) -> None: ...

    def why_not(self) -> str: ...


class WorkerGroup:
    """Each call raises Unreachable or Refused."""

    def __init__(self, aws: Aws, name: str) -> None:
        self._aws, self.name = aws, name

    def look(self) -> Optional[GroupState]:
        """None when the group is not there any more."""
        answer = self._send("DescribeAutoScalingGroups", {"AutoScalingGroupNames.member.1": self.name})
        for group in _lists(answer, "AutoScalingGroups"):
            market = "spot" if _buys_spot(group) else "on-demand"
            members = [
                GroupMember(_text(each, "InstanceId"), _is_alive(each), _text(each, "InstanceType"), market)
                for each in _lists(group, "Instances")
                if not _text(each, "LifecycleState").startswith(_ENDING)
            ]
            return GroupState(int(_text(group, "DesiredCapacity")), members)
        return None

    def resize(self, desired: int) -> None:
        named = {"AutoScalingGroupName": self.name}
        self._send("SetDesiredCapacity", dict(named, DesiredCapacity=str(desired), HonorCooldown="false"))

    def terminate(self, instance: str) -> None:
        """End this very server, and none in its place."""
        form = {"InstanceId": instance, "ShouldDecrementDesiredCapacity": "true"}
        try:
            self._send("TerminateInstanceInAutoScalingGroup", form)
        except Refused as error:
            if error.code not in ("ValidationError", "ScalingActivityInProgress"):
                raise

    def why_not(self) -> str:
        """Why the last server could not be had; empty when it could."""
        return self.failure()[1]

    def failure(self) -> Tuple[str, str]:
        """The id of the last activity and what has gone wrong in it; both empty when nothing has."""
        form = {"AutoScalingGroupName": self.name, "MaxRecords": "1"}
        for each in _lists(self._send("DescribeScalingActivities", form), "Activities"):
            if _text(each, "StatusCode") == "Failed":
                return _text(each, "ActivityId"), _text(each, "StatusMessage") or "EC2 has given no reason."
        return "", ""

    def delete(self) -> None:
        """Deletes the group with all its servers. It may be gone already. Deleting a missing group would be denied,
        because the permission depends on the group's tags, and a denial is retried: so this looks first."""
        if self.look() is None:
            return
        try:
            self._send("DeleteAutoScalingGroup", {"AutoScalingGroupName": self.name, "ForceDelete": "true"})
        except Refused as error:
            if not any(each in str(error) for each in _GONE):
                raise

    def _send(self, action: str, form: Dict[str, str]) -> ElementTree.Element:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode(dict(form, Action=action, Version="2011-01-01")).encode()
        url = self._aws.url("autoscaling") + "/"
        _, _, answer = self._aws.send("autoscaling", "POST", url, headers, body)
        try:
            return ElementTree.fromstring(answer)  # noqa: S314 (AWS's answer; it repeats only our names)
        except ElementTree.ParseError as error:
            raise Unreachable("%s: %s" % (action, error)) from None


class GroupOfRuns(WorkerGroup):
    """The group of a schedule's runs. `run` is the tag SCHEDULE/TIME of this run's servers. They get it from the group,
    and know their run by it. Their role could name any run of the schedule, because all runs share it."""

    def __init__(self, aws: Aws, name: str, run: str) -> None:
        super().__init__(aws, name)
        self._run, self._is_named = run, False

    def resize(self, desired: int) -> None:
        if desired and not self._is_named:
            tag = {"ResourceId": self.name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": "true"}
            tag.update(Key=TAG_JOB, Value=self._run)
            self._send("CreateOrUpdateTags", {"Tags.member.1." + name: value for name, value in tag.items()})
            self._is_named = True
        super().resize(desired)

    def delete(self) -> None:
        """Does nothing: a coordinator cannot tell whether the next run has the group by now. The server's supervisor
        checks who has the turn, and empties the group."""


class SpotOrOnDemand:
    """Two groups as one: spot servers, and on-demand ones where EC2 has no spot capacity. `say` reports each
    replacement. Failures before the first look, under an earlier coordinator, have been handled. The first look finds
    out whether there is a second group at all, and does not wait if Auto Scaling cannot be reached."""

    def __init__(self, spot: WorkerGroup, on_demand: WorkerGroup, say: Callable[[str], None]) -> None:
        self._spot, self._on_demand, self._say = spot, on_demand, say
        self._seen = (GroupState(0, []), GroupState(0, []))
        self._blamed: Optional[str] = None
        self._is_alone: Optional[bool] = None

    def look(self) -> Optional[GroupState]:
        if self._is_alone is None:
            self._is_alone = self._on_demand.look() is None
        if self._is_alone:
            return self._spot.look()
        spot, on_demand = self._spot.look(), self._on_demand.look()
        if spot is None or on_demand is None:
            return None
        if self._blamed is None:
            self._blamed = self._spot.failure()[0]
        short = spot.desired - len(spot.members)
        if short > 0:
            failed, reason = self._spot.failure()
            if failed and failed != self._blamed:
                self._blamed = failed
                spot = spot._replace(desired=len(spot.members))
                on_demand = on_demand._replace(desired=on_demand.desired + short)
                self._spot.resize(spot.desired)
                self._on_demand.resize(on_demand.desired)
                self._say("%s Servers on demand are used (--or-on-demand): %d." % (reason, short))
        self._seen = (spot, on_demand)
        return GroupState(spot.desired + on_demand.desired, spot.members + on_demand.members)

    def resize(self, desired: int) -> None:
        """Spot servers are asked for first. Only servers that have not come yet are done without."""
        if self._is_alone:
            self._spot.resize(desired)
            return
        spot, on_demand = self._seen
        fewer = spot.desired + on_demand.desired - desired
        if fewer < 0:
            self._spot.resize(spot.desired - fewer)
            return
        for group, seen in ((self._on_demand, on_demand), (self._spot, spot)):
            waits = min(fewer, max(0, seen.desired - len(seen.members)))
            if waits:
                group.resize(seen.desired - waits)
                fewer -= waits

    def terminate(self, instance: str) -> None:
        self._spot.terminate(instance)

    def why_not(self) -> str:
        on_demand = self._seen[1]
        return self._on_demand.why_not() if on_demand.desired > len(on_demand.members) else self._spot.why_not()

    def delete(self) -> None:
        _do_each(self._on_demand.delete, self._spot.delete)


def open_group(aws: Aws, name: str, say: Callable[[str], None], run: str = "") -> SpotOrOnDemand:
    """The group of a map; with --or-on-demand there is a second one. `run` is as in GroupOfRuns, of a schedule's."""
    spot, on_demand = (
        GroupOfRuns(aws, each, run) if run else WorkerGroup(aws, each) for each in (name, name + ON_DEMAND)
    )
    return SpotOrOnDemand(spot, on_demand, say)


def end_servers(group: Resizable) -> None:
    """End all servers of a group, which stays. Raises Unreachable and Refused."""
    found = group.look()
    if found is None:
        return
    # Each by its name, as the group does not end servers when it is made smaller; first of all, as the group would be
    # smaller than it may be otherwise.
    for each in found.members:
        group.terminate(each.instance)
    # For those that have not come yet.
    group.resize(0)


def release_group(aws: Aws, name: str) -> None:
    """Delete the group, and the second one if there is one, before the coordinator's server turns off."""
    _finish(aws, name, "the map's servers", WorkerGroup.delete)


def empty_group(aws: Aws, name: str) -> None:
    """Empty the group of a schedule's runs, and the second one if there is one, before the next run has it."""
    _finish(aws, name, "the run's servers", end_servers)


def _finish(aws: Aws, name: str, what: str, end: Callable[[WorkerGroup], None]) -> None:
    on_demand, spot = WorkerGroup(aws, name + ON_DEMAND), WorkerGroup(aws, name)
    try:
        retry_until(what, lambda: _do_each(lambda: end(on_demand), lambda: end(spot)), time.time() + _PATIENCE)
    except (Unreachable, Refused) as error:
        say("%s could not be ended; they end by themselves: %s" % (what, error))


def _do_each(*calls: Callable[[], None]) -> None:
    """Delete or empty each group that lets itself. Only then raise what hinders another: first what a retry may
    change."""
    failures: List[Exception] = []
    for each in calls:
        try:
            each()
        except (Unreachable, Refused) as error:
            failures.append(error)
    if failures:
        raise min(failures, key=lambda failure: isinstance(failure, Refused))


def _buys_spot(group: ElementTree.Element) -> bool:
    """Only a group that buys on demand has a launch template without a policy."""
    return any(_name(each) == "MixedInstancesPolicy" for each in group)


def _is_alive(member: ElementTree.Element) -> bool:
    return _text(member, "HealthStatus") == "Healthy"


def _lists(answer: ElementTree.Element, name: str) -> List[ElementTree.Element]:
    """The members of the first list of this name, whatever the namespace."""
    for each in answer.iter():
        if _name(each) == name:
            return list(each)
    return []


def _text(element: ElementTree.Element, name: str) -> str:
    return next((each.text or "" for each in element if _name(each) == name), "")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
