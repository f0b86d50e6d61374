"""The cap from outside for a server that no client starts: a schedule's run.

Before anything of the job runs here, EventBridge Scheduler is asked to end the server. The server's role may make such
one-time schedules, and may neither change nor delete them. A program that becomes root may make more of them. Only two
characters of their names vary, so there are some thousand at most, and all of them end only this schedule's servers.
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
"""Seconds after the deadline, as in the caps that a client makes for other servers."""
NAMES = [one + other for one in string.ascii_letters + string.digits for other in string.ascii_letters + string.digits]
_SILENCE = 60.0
"""Seconds of silence after which EventBridge Scheduler counts as unreachable. No other server can cause that."""
_NEW = "assume the role"
"""A part of EventBridge Scheduler's message about a role that it does not know yet."""


def cap_server(context: Context, plan: ScheduleTerms) -> None:
    """Raises Ended if the cloud refuses it: a job does not begin uncapped, unless EventBridge is unreachable."""
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
