"""The fleet that has brought this server, and would bring another one in its place."""

from __future__ import annotations

import json
import time

from skylift.runner.server.aws import Aws, Metadata, Refused, Unreachable, patiently
from skylift.runner.server.console import say
from skylift.runner.server.context import Context
from skylift.runner.server.fence import send
from skylift.runner.server.power import LAST
from skylift.runner.server.prefix import Prefix

_PATIENCE = 300
"""Seconds in which a job's fleet must be gone; longer, and the server goes before it."""
_TAG = "/latest/meta-data/tags/instance/aws:ec2:fleet-id"
_GONE = (b"fleetIdDoesNotExist", b"fleetNotInDeletableState")


def delete_fleet(aws: Aws, metadata: Metadata, prefix: Prefix, until: float) -> None:
    """So that nothing comes after this server. Where that does not work, the next one finds the job ended, and tries
    again."""
    try:
        fleet = _find(metadata, prefix)
        patiently("the fleet", lambda: _delete(aws, fleet), until)
    except (Unreachable, Refused) as error:
        say("the fleet could not be deleted: %s" % error)


def _find(metadata: Metadata, prefix: Prefix) -> str:
    """By EC2's tag, which is there from the first moment; where the metadata has no tags, by what the client has left,
    if it came to that."""
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


def release_fleet(context: Context) -> None:
    """Before this server goes off, or another one would come."""
    until = min(context.deadline - LAST, time.time() + _PATIENCE)
    delete_fleet(context.aws, context.metadata(), context.prefix, until)
