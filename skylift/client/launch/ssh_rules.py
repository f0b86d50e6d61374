"""The rules by which skylift's own security groups let SSH in, one for each range that it was called from.

A rule says when skylift was last called from there, to the hour. By that, one that nobody can need is closed: it is
older than every job that has a server now, as who starts or watches a job is let in anew. Other rules are the user's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from skylift.client.errors import NotPermitted, Refused
from skylift.client.job.tags import TAG_JOB
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone, make_unless_there
from skylift.client.text.duration import moment

_HOUR = 3600.0
_OLD, _LEAST = 7 * 24 * _HOUR, 2 * _HOUR
"""Seconds after which a rule that no job needs is closed; the same where a group is full."""
_NONE = r"InvalidPermission\.NotFound"
_SAYS = re.compile(r"skylift was called from here(?:: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ))?")
"""Earlier versions have said no time."""


def ranges(group: dict[str, Any]) -> frozenset[str]:
    """The ranges that are let in by rules that say so as of now, or that are the user's own."""
    now = time.time()
    return frozenset(found for found, said in _rules(group) if said is None or said > now - _HOUR)


def let_in(api: Api, group: str, source: str) -> None:
    """Open port 22 to a range, and close it to those that skylift was called from long ago."""
    rule = _rule(source, time.strftime(": %Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    wanted: dict[str, Any] = {"GroupId": group, "IpPermissions": [rule]}
    how = (api, "InvalidPermission.Duplicate", "ec2", "authorize_security_group_ingress")
    allow = partial(make_unless_there, *how, **wanted)
    try:
        made = allow()
    except Refused as error:
        if error.code != "RulesPerSecurityGroupLimitExceeded" or not _close(api, group, source, full=True):
            raise
        made = allow()
    # Who may only open is let in all the same.
    with suppress(NotPermitted):
        how = (api, _NONE, "ec2", "update_security_group_rule_descriptions_ingress")
        if made is None and not end_unless_gone(*how, **wanted):
            # It was old, and another client has closed it meanwhile.
            allow()
        _close(api, group, source)


def _close(api: Api, group: str, but: str, *, full: bool = False) -> bool:
    """Close what is old, and older than every job's server; in a group that is full of others, the oldest one. Whether
    there was anything."""
    described = api.retry_not_found("ec2", "describe_security_groups", GroupIds=[group])["SecurityGroups"]
    said = {found: when for each in described for found, when in _rules(each) if found != but and when is not None}
    now, launched, age = time.time(), _launched(api), _LEAST if full else _OLD
    until = min([now, *launched]) - age
    # One of a version that said no time may be any job's.
    old = [found for found, when in said.items() if when < until and (when or not launched)]
    if full and not old:
        # Who watches a job from there goes on with what S3 has of its output.
        old = [found for found in sorted(said, key=said.__getitem__)[:1] if said[found] < now - _LEAST]
    if old:
        # Another client may have closed them meanwhile, or this one, and the answer was lost.
        wanted = {"GroupId": group, "IpPermissions": [_rule(each) for each in old]}
        end_unless_gone(api, _NONE, "ec2", "revoke_security_group_ingress", **wanted)
    return bool(old)


def _launched(api: Api) -> list[float]:
    """When the servers were launched that jobs have, in seconds since the epoch. Who starts one that is stopped is let
    in anew."""
    wanted = [
        {"Name": "tag-key", "Values": [TAG_JOB]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = api.pages("ec2", "describe_instances", "Reservations", Filters=wanted)
    return [instance["LaunchTime"].timestamp() for each in found for instance in each["Instances"]]


def _rule(source: str, said: str = "") -> dict[str, Any]:
    words = {"Description": f"skylift was called from here{said}"} if said else {}
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": source, **words}]}


def _rules(group: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Ranges that are let in, and when skylift said so last, in seconds since the epoch: 0 if that is not known, None
    for a rule of somebody else's."""
    for rule in group["IpPermissions"]:
        if rule.get("FromPort") == 22 and rule.get("ToPort") == 22:
            for each in rule.get("IpRanges", []):
                says = _SAYS.fullmatch(each.get("Description", ""))
                yield each["CidrIp"], None if says is None else moment(says[1]) if says[1] else 0.0
