"""Making sure that another server of the same job runs nothing any more: EC2 terminates it and confirms that."""

from __future__ import annotations

import time
import urllib.parse
from typing import Dict, Tuple

from skylift.agent.remote.aws import Aws, Refused, Unreachable

_TERMINATED = b"<name>terminated</name>"


def end_server(aws: Aws, other: str, until: float) -> None:
    """Terminate an instance and wait until EC2 says that it has ended. Raises Unreachable when that is not known by
    `until`, or Refused."""
    pause = 0.2
    while not _is_over(aws, other):
        if time.time() + pause > until:
            raise Unreachable("%s has not ended" % other)
        time.sleep(pause)
        pause = min(pause * 1.6, 5)


def _is_over(aws: Aws, other: str) -> bool:
    try:
        return _ask_to_end(aws, other)
    except Refused as error:
        if "InvalidInstanceID" in str(error):
            return True
        raise
    except Unreachable as error:
        # EC2 denies ending a forgotten instance, because that has no tags. Check that we may end ourselves.
        return "HTTP 403" in str(error) and _may_end_itself(aws) and _is_denied(aws, other)


def _ask_to_end(aws: Aws, other: str) -> bool:
    _, _, answer = send(aws, {"Action": "TerminateInstances", "InstanceId.1": other})
    now = answer.partition(b"<currentState>")[2].partition(b"</currentState>")[0]
    return _TERMINATED in now


def _may_end_itself(aws: Aws) -> bool:
    try:
        form = {"Action": "TerminateInstances", "InstanceId.1": aws.instance(), "DryRun": "true"}
        status, _, _ = send(aws, form)
    except (Unreachable, Refused):
        return False
    return status == 412


def _is_denied(aws: Aws, other: str) -> bool:
    """Ask again: EC2 may have learned of our role between the first two calls."""
    try:
        return _ask_to_end(aws, other)
    except Unreachable as error:
        return "HTTP 403" in str(error)


def send(aws: Aws, form: Dict[str, str]) -> Tuple[int, Dict[str, str], bytes]:
    """One request to EC2. Raises Unreachable or Refused."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = urllib.parse.urlencode(dict(form, Version="2016-11-15")).encode()
    return aws.send("ec2", "POST", aws.url("ec2") + "/", headers, body)
