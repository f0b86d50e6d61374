"""Claiming a job: exactly one server may run its program."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Optional

from skylift.runner.server.attempts import Attempt, Attempts, key_of
from skylift.runner.server.context import Context
from skylift.runner.server.env_values import EnvValues
from skylift.runner.server.fleet import release_fleet
from skylift.runner.server.job_record import JobRecord
from skylift.runner.server.status import now_iso

STATUS = "server/status.json"


class Claim(NamedTuple):
    """The job belongs to this server. `attempt` is that of a job that may have several servers, one after
    the other: a spot job, or a map."""

    attempt: Optional[Attempt]


def claim_job(context: Context, record: JobRecord) -> Optional[Claim]:
    """Claim the job for this server. None when another server has it, or it has ended."""
    if record.spot is None:
        return Claim(None) if claim_first(context, context.last) else None
    attempts = Attempts(context.prefix, context.aws, context.last, record.spot.beat)
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
    """Write the first attempt. When the answer was lost, the instance in it shows whose it is."""
    instance, key = context.aws.instance(), key_of(1)
    body = json.dumps({"instance": instance, "claimed": now_iso(), **more}).encode()
    if context.retry("claim", lambda: context.prefix.put(key, body, first=True), until):
        return True
    found = context.retry("claim", lambda: context.prefix.get(key), until)
    return found is not None and json.loads(found)["instance"] == instance
