"""The fleet that has started this server, and would start another one in its place."""

from __future__ import annotations

import json
import time

from skylift.agent.job.context import Context
from skylift.agent.machine.console import say
from skylift.agent.machine.power import LAST
from skylift.agent.remote.aws import NO_WAY, Aws, Metadata, NoAnswer, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.remote.terminate_server import send

_PATIENCE = 300
"""Seconds in which a job's fleet must be deleted. After that the server turns off before the fleet, unless it has no
way to EC2."""
_TAG = "/latest/meta-data/tags/instance/aws:ec2:fleet-id"
_GONE = (b"fleetIdDoesNotExist", b"fleetNotInDeletableState")


def release_fleet(context: Context) -> None:
    """Delete the job's fleet before this server turns off, so that no other server follows this one. When that fails,
    the next server finds that the job has ended, and tries it again. A network without a way to EC2 has none for the
    next one either: instead of one server after the other, this one stays until the deadline, and tries."""
    soon, last = time.monotonic() + _PATIENCE, context.deadline - LAST
    try:
        fleet = _find(context.metadata(), context.prefix)

        def delete() -> None:
            try:
                _delete(context.aws, fleet)
            except Unreachable as error:
                has_way = not isinstance(error, NoAnswer) and NO_WAY not in str(error)
                error.final = has_way and time.monotonic() > soon
                raise

        retry_until("the fleet", delete, last)
    except (Unreachable, Refused) as error:
        say("the fleet could not be deleted: %s" % error)


def _find(metadata: Metadata, prefix: Prefix) -> str:
    """The fleet's id, from the instance's tags, which exist from the start. Without tags in the metadata, from the
    object that the client has written, if it has."""
    try:
        return metadata.get(_TAG)
    except Unreachable:
        found = prefix.get("in/fleet.json")
        if found is None:
            raise
        return str(json.loads(found)["fleet"])


def _delete(aws: Aws, fleet: str) -> None:
    _, _, answer = send(aws, {"Action": "DeleteFleets", "FleetId.1": fleet, "TerminateInstances": "false"})
    if b"<currentFleetState>deleted" not in answer and not any(each in answer for each in _GONE):
        raise Unreachable(answer[:300].decode(errors="replace"))
