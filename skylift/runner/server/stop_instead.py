"""Stopping a server that still has undelivered results: terminating it would delete its disk."""

from __future__ import annotations

from skylift.runner.server.aws import Aws
from skylift.runner.server.fence import send


def ask_to_stop(aws: Aws) -> None:
    """Ask EC2 to stop this server. Raises Unreachable or Refused; a one-time spot server, for example, cannot be
    stopped."""
    send(aws, {"Action": "StopInstances", "InstanceId.1": aws.instance()})
