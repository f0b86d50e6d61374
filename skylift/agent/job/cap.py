"""The cap from outside, of a server that no client starts: that of a schedule's run.

EventBridge Scheduler is asked to end it before anything of the job runs here. Its role may ask that, and may neither
change nor delete what was asked for. A program that becomes root may ask for more of it. Names have two characters of
their own, so that there are some thousand at the most, and all of them end only servers of the same schedule.
"""

from __future__ import annotations

import json
import secrets
import string
import time

from skylift.agent.job.context import Context
from skylift.agent.job.outcome import Ended
from skylift.agent.machine.console import say
from skylift.agent.remote.aws import NO_WAY, NoAnswer, Refused, Unreachable
from skylift.contract.record import ScheduleTerms
from skylift.contract.states import State

MARGIN = 120
"""Seconds after the deadline: as much as a client has the cloud leave to other servers."""
NAMES = [one + other for one in string.ascii_letters + string.digits for other in string.ascii_letters + string.digits]
_SILENCE = 60.0
"""Seconds after which a network has no way to EventBridge Scheduler. No other server can bring that about."""
_NEW = "assume the role"
"""A part of what EventBridge Scheduler says of a role that it does not know yet."""


def cap_server(context: Context, plan: ScheduleTerms) -> None:
    """Raises Ended where the cloud does not take it: a job does not begin without, but where there is no way to ask."""
    try:
        instance = context.retry("instance id", context.aws.instance)
        minutes = -(-(int(context.deadline) + MARGIN) // 60)
        when = time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime(60 * minutes))
        names = iter(sorted(NAMES, key=lambda _: secrets.token_hex(4)))
        for each in plan.caps:
            target = dict(each["Target"], Input=json.dumps({"InstanceIds": [instance]}))
            body = json.dumps(dict(each, ScheduleExpression=when, Target=target)).encode()
            # The first name that is free.
            if not any(_is_made(context, name, body) for name in names):
                raise Refused(409, "the schedule has %d of them already" % len(NAMES))
    except (Unreachable, Refused) as error:
        if not _is_silent(error):
            words = "The cloud could not be told to end this server after its deadline: %s" % error
            raise Ended(State.BROKEN, words) from None
        say("nothing but this server itself ends it at its deadline: %s" % error)


def _is_made(context: Context, name: str, body: bytes) -> bool:
    schedule, began = context.source_name.rpartition("/")[2], time.monotonic()
    url = "%s/schedules/%s.%s" % (context.aws.url("scheduler"), schedule, name)

    def ask() -> int:
        try:
            status, _, _ = context.aws.send("scheduler", "POST", url, {"content-type": "application/json"}, body)
        except Unreachable as error:
            error.final = _is_silent(error) and time.monotonic() - began > _SILENCE
            raise
        except Refused as error:
            if _NEW in str(error):
                raise Unreachable(str(error)) from None
            raise
        return status

    status = context.retry("the cap", ask)
    if status == 404:
        raise Refused(status, "there is no group of schedules")
    return status != 409


def _is_silent(error: Exception) -> bool:
    return isinstance(error, NoAnswer) or NO_WAY in str(error)
