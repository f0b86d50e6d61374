"""A job that was left to its server, and waits there until a test lets it go on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from skylift.client.job.job import Job
from skylift.client.job.settings import Settings
from skylift.client.launch.stages import Launched
from skylift.client.steps import Clock
from skylift.client.submit import Submit
from support.agent_bench import Machine, until
from support.whole_run import Seen

WAITS = """
import os, sys, time
print("ready", flush=True)
print("a complaint", file=sys.stderr, flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
open("result.txt", "w").write("42" * 1000)
print("done")
sys.exit(7)
"""


@dataclass(frozen=True)
class WaitingJob:
    name: str
    taken: Launched


def submit(job: Job, settings: Settings, watcher: Seen) -> Launched:
    taken = asyncio.run(Submit(job, settings, watcher, Clock(watcher), detached=True).run())
    assert isinstance(taken, Launched)
    return taken


def go(machine: Machine) -> None:
    """The job's folder is cleared before it is unpacked."""
    until((machine.home / "job/job.py").exists, "the job to be unpacked")
    (machine.home / "job/go").touch()
