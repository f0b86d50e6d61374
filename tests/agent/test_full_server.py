"""A server whose disk is too small for what a job sends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from support.agent_bench import Machine
from support.shipped_job import Shipped

from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order

pytestmark = pytest.mark.real  # mounts a small file system


@pytest.fixture
def small(machine: Machine) -> Iterator[Machine]:
    place = machine.root / "var/lib/skylift"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    yield machine
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_job_that_does_not_fit_ends_at_once_and_says_why(shipped: Shipped, small: Machine) -> None:
    (shipped.folder / "large").write_bytes(os.urandom(3 << 20))
    (shipped.folder / "job.py").write_text("print('runs')")
    shipped.ship_order(Order(Program("script", "job.py", ()), inputs=("large",)))
    shipped.boot()
    small.wait()
    status = shipped.status()
    assert (status["state"], status["final"]) == ("broken", True)
    assert "The server's disk is full before the program starts" in status["reason"]
