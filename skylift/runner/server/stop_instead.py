"""A server that has still something to give asks to be stopped: it would be ended otherwise, and its disk with it."""

from __future__ import annotations

import urllib.parse

from skylift.runner.server.aws import Aws


def ask_to_stop(aws: Aws, instance: str) -> None:
    """Raises Unreachable or Refused. A one-time spot server cannot be stopped, for one."""
    form = {"Action": "StopInstances", "Version": "2016-11-15", "InstanceId.1": instance}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    aws.send("ec2", "POST", aws.url("ec2") + "/", headers, urllib.parse.urlencode(form).encode())
