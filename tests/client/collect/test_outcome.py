"""What is said of a job's end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skylift.client.collect.outcome import conclude
from skylift.client.collect.results import Manifest
from skylift.client.job.server import Server
from skylift.contract.status import Status

STATUS = Status("succeeded", True, exit_code=0, reason="The program exited with 0.", kept_until=1767225600.0)
SERVER = Server("i-1", "running", "203.0.113.7", "", "x", "t3.small", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize("server", [None, replace(SERVER, state="shutting-down")])
def test_a_server_that_is_gone_is_not_said_to_stay(server: Server | None) -> None:
    """It was kept after this job; by now its time is over, or it is another job's."""
    assert conclude("x", STATUS, Manifest(), SERVER).kept_until == "2026-01-01T00:00:00Z"
    assert conclude("x", STATUS, Manifest(), server).kept_until is None
