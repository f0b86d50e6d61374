"""A task as a Dask worker runs it: the server's own process runs the inputs, and the task waits for it.

The scheduler gets a reference to `run_inputs`, never code. `run_inputs` returns only JSON types.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from skylift.agent.workers.input_helper import NO_ROOM

SOCKET = "SKYLIFT_MAP_SOCKET"


class NoVerdict(Exception):
    """The server gives no verdict: it goes down, or the process that runs programs there is gone."""


def run_inputs(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The outcomes of `request["inputs"]`, in their order. Where the server cannot run an input now, {"unfit": reason}
    comes in the place of all that would follow."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.environ[SOCKET])
            connection.sendall(json.dumps(request).encode() + b"\n")
            return _outcomes(connection, len(request["inputs"]))
    except OSError as error:
        if error.errno in NO_ROOM:
            return [{"unfit": str(error)}]
        raise NoVerdict(str(error)) from None


def _outcomes(connection: socket.socket, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with connection.makefile("rb") as lines:
        for line in lines:
            answer = json.loads(line)
            if "withheld" in answer:
                raise NoVerdict(answer["withheld"])
            found.append(answer.get("outcome", answer))
            if len(found) == count or "unfit" in answer:
                return found
    raise NoVerdict("the server's process is gone")
