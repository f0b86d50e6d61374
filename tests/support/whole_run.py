"""What a test of a whole run needs: an order, a server that boots by itself, and somebody who is told."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from skylift.client.flow import Run
from skylift.client.job.job import Job, Program
from skylift.client.job.outcome import Outcome
from skylift.client.job.settings import Settings
from skylift.client.launch import server as launch
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.api import Api
from support.agent_bench import Machine, boot_arguments


class Seen:
    """What a run told, in order."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.streams = {"stdout": b"", "stderr": b""}
        self.on_output: Any = None

    def begin(self, step: str) -> None:
        self.steps.append(f"{step}...")

    def done(self, step: str, detail: str, seconds: float) -> None:
        self.steps.append(step)

    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
        assert 0 <= done <= total

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self.streams[stream] += data
        if self.on_output is not None:
            self.on_output()

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        return False


@contextmanager
def host(api: Api, machine: Machine) -> Iterator[dict[str, Any]]:
    """Boots the machine as soon as EC2 has an instance, from that instance's user data."""
    found: dict[str, Any] = {}
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            servers = launch.live_servers(api)
            if servers:
                instance = servers[0].instance
                found["instance"] = instance
                answer = api.call("ec2", "describe_instance_attribute", InstanceId=instance, Attribute="userData")
                found["user_data"] = base64.b64decode(answer["UserData"]["Value"]).decode()
                program, arguments = boot_arguments(found["user_data"])
                machine.boot(arguments, program=program)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def order(folder: Path, source: str, *args: str, **more: Any) -> Job:
    (folder / "job.py").write_text(source)
    return plan_job(Order(Program("script", "job.py", args), **more), folder, os.environ)


def run(job: Job, settings: Settings, seen: Seen) -> Outcome:
    return asyncio.run(Run(job, settings, seen).run())
