"""Stopping a server that still has undelivered results: terminating it would delete its disk."""

from __future__ import annotations

from skylift.runner.server.aws import Aws
from skylift.runner.server.fence import send

TAG = "skylift:undelivered"


def ask_to_stop(aws: Aws, *, capped: bool) -> None:
    """Ask EC2 to stop this server. One that the cloud ends after its deadline (`capped`) is tagged first, so that it is
    not terminated. Raises Unreachable or Refused; a one-time spot server, for example, cannot be stopped."""
    if capped:
        send(aws, {"Action": "CreateTags", "ResourceId.1": aws.instance(), "Tag.1.Key": TAG, "Tag.1.Value": "yes"})
    send(aws, {"Action": "StopInstances", "InstanceId.1": aws.instance()})
