"""A program may use up descriptors, of which its server has no end but the kernel has: what watches it goes on."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agent_bench import until

from skylift.agent.job.status import Status
from skylift.agent.program.idle import Idleness
from skylift.agent.program.shipper import Shipper
from skylift.agent.program.stream import Stream


@contextmanager
def no_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_idle_program_is_seen_once_there_are_descriptors_again(capfd: pytest.CaptureFixture[str]) -> None:
    idle, said = threading.Event(), ""

    def has_said() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "it is not known whether" in said

    with no_descriptors():
        # Nobody is of this user, so that nothing works.
        watching = Idleness(1, 4_000_000, lambda: 0, idle.set)
        until(has_said, "a look in vain")
        assert not idle.is_set()
    assert idle.wait(60)
    watching.stop()


def test_output_is_shipped_once_there_are_descriptors_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said, sent = "", {}

    class Prefix:
        def put(self, key: str, body: bytes, first: bool = False, times: str = "") -> bool:
            sent[key] = body
            return True

    def has_said() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "output cannot be uploaded yet" in said

    status = Status("job", threading.Condition())
    streams = [Stream(name, tmp_path, status.changed, (os.geteuid(), os.getegid())) for name in ("stdout", "stderr")]
    streams[0].append(b"what it says")
    with no_descriptors():
        shipper = Shipper(Prefix(), streams, status, tmp_path)  # type: ignore[arg-type]
        until(has_said, "output that cannot be read")
    until(lambda: sent.get(f"server/stdout/{0:020d}") == b"what it says", "the output")
    shipper.finish(0)
    for stream in streams:
        stream.finish()
