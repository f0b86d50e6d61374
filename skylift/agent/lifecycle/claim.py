"""Claiming a job: exactly one server may run its program."""

from __future__ import annotations

import json
import time
from calendar import timegm
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple, Optional

from skylift.agent.job.attempts import Attempt, Attempts, key_of, parse, put_if
from skylift.agent.job.context import Context
from skylift.agent.job.env_values import EnvValues
from skylift.agent.job.fleet import release_fleet
from skylift.agent.job.status import now_iso
from skylift.agent.machine.console import say
from skylift.contract.record import JobRecord

STATUS = "server/status.json"


class Claim(NamedTuple):
    """The job belongs to this server. `attempt` is set if the job may have several servers, one after the other: for a
    spot job, or a map."""

    attempt: Optional[Attempt]


def claim_job(context: Context, record: JobRecord) -> Optional[Claim]:
    """Claim the job for this server. None when another server has it, or it has ended."""
    if record.succession is None:
        return Claim(None) if claim_first(context, context.last) else None
    attempts = Attempts(context.prefix, context.aws, context.last, record.succession.beat)
    attempt = attempts.claim()
    if attempt is None and attempts.final is not None:
        # The last server writes the job's end into the attempt first. It may have been ended before the rest.
        body = json.dumps(attempts.final).encode()
        context.retry("status", lambda: context.prefix.put(STATUS, body))
        EnvValues(context, record).remove()
        if record.fleet:
            release_fleet(context)
    return None if attempt is None else Claim(attempt)


def claim_first(context: Context, until: float, **more: Any) -> bool:
    """Writes the first attempt. If the answer was lost, the instance in it shows which server has the job.

    All runs of a schedule have one role, so a program may have written there long before this run was due. A claim
    that is older than this server is not another server's: EventBridge Scheduler starts one server for each time. S3
    says when it was written, and no program can change that.
    """
    instance, key = context.aws.instance(), key_of(1)
    body = json.dumps({"instance": instance, "claimed": now_iso(), **more}).encode()
    if context.retry("claim", lambda: context.prefix.put(key, body, first=True), until):
        return True
    while True:
        found = context.retry("claim", lambda: _read_claim(context), until)
        if found.instance == instance:
            return True
        if not context.is_scheduled or not found.is_older_than(context.retry("start", lambda: _start(context), until)):
            return False
        say("%s is older than this server: another run of the schedule has written it" % key)
        # Somebody may have written there since, or this server itself, if an answer was lost.
        replacing = partial(put_if, context.prefix, key, body, {"if-match": found.etag})
        if context.retry("claim", replacing, until) is not None:
            return True


class _FirstClaim(NamedTuple):
    """`instance` is empty if the object is not a claim; all fields are if it is missing. S3 gives `written`."""

    instance: str = ""
    written: str = ""
    etag: str = ""

    def is_older_than(self, moment: float) -> bool:
        return bool(self.written) and parsedate_to_datetime(self.written).timestamp() < moment


def _read_claim(context: Context) -> _FirstClaim:
    status, headers, body = context.prefix.request("GET", key_of(1))
    if status == 404:
        return _FirstClaim()
    fields = parse(body) or {}
    return _FirstClaim(fields.get("instance", ""), headers.get("last-modified", ""), headers.get("etag", ""))


def _start(context: Context) -> float:
    """When this server was started, for the last time, in seconds since the epoch."""
    document = json.loads(context.metadata().get("/latest/dynamic/instance-identity/document"))
    return float(timegm(time.strptime(document["pendingTime"], "%Y-%m-%dT%H:%M:%SZ")))
