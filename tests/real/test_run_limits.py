"""What bounds a job on a real server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real


def test_a_program_that_needs_more_memory_than_there_is(cloud: RealCloud) -> None:
    folder = cloud.work / "memory"
    folder.mkdir()
    (folder / "job.py").write_text(
        "print('up', flush=True)\nkept = []\nwhile True: kept.append(bytearray(b'x' * (16 << 20)))\n"
    )
    done = run(cloud, folder, "--type", "t3.nano", "--json", "job.py")
    found = json.loads(done.stdout)
    assert (done.returncode, found["state"], found["signal"]) == (121, "out-of-memory", "SIGKILL"), found
    assert "512 MiB" in found["reason"]
    assert "t3.micro, with 1.0 GiB" in found["reason"]


def test_a_program_that_somebody_else_kills_had_enough_memory(cloud: RealCloud) -> None:
    folder = cloud.work / "killed"
    folder.mkdir()
    (folder / "job.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = run(cloud, folder, "--json", "job.py")
    found = json.loads(done.stdout)
    assert (done.returncode, found["state"], found["signal"]) == (137, "failed", "SIGKILL"), found
    assert "memory" not in found["reason"]


def run(cloud: RealCloud, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        cloud.command("run", *arguments),
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=cloud.environment,
        timeout=300,
    )
