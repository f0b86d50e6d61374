"""A server that has still something to give asks to be stopped: it would be ended otherwise, and its disk with it."""

from __future__ import annotations

from skylift.runner.server.aws import Aws
from skylift.runner.server.fence import send


def ask_to_stop(aws: Aws) -> None:
    """Raises Unreachable or Refused. A one-time spot server cannot be stopped, for one."""
    send(aws, {"Action": "StopInstances", "InstanceId.1": aws.instance()})
