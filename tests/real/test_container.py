"""`packaging/enter`, with which a container of `packaging/Containerfile` begins, without a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.running_job import WAITS, ended_job, jobs

pytestmark = pytest.mark.real

ENTER = Path(__file__).parents[2] / "packaging/enter"


def entered(cloud: RealCloud, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ENTER, *command],
        cwd=cloud.work,
        env=cloud.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_kept_server_is_back_in_the_next_container(own_cloud: RealCloud) -> None:
    own_cloud.down()
    (own_cloud.work / "seven.py").write_text("print('ran'); raise SystemExit(7)")
    first = entered(own_cloud, "skylift", "run", "--keep", "30m", "--name", "held", "seven.py")
    said = first.communicate()
    assert (first.returncode, said[0]) == (7, "ran\n"), said[1]
    assert own_cloud.home.running_pid() is None
    assert own_cloud.servers_processes() == set()
    second = entered(own_cloud, "skylift", "ssh", "held", "cat job/seven.py")
    said = second.communicate()
    assert (second.returncode, said[0].strip()) == (0, "print('ran'); raise SystemExit(7)"), said[1]
    own_cloud.up()
    own_cloud.skylift("cancel", "held")


def test_jobs_of_a_container_that_is_stopped_end_with_their_results(own_cloud: RealCloud) -> None:
    """As `docker stop` does it, with `tini -g`: all hear SIGTERM, and have some time."""
    (own_cloud.work / "waits.py").write_text(WAITS)
    started = own_cloud.skylift("run", "--detach", "--out", "*.txt", "waits.py")
    (job,) = jobs(own_cloud)
    container = entered(own_cloud, sys.executable, "-c", "print('up', flush=True); import time; time.sleep(3600)")
    assert container.stdout is not None
    assert container.stdout.readline() == "up\n", started.stderr
    os.killpg(container.pid, signal.SIGTERM)
    container.communicate()
    assert container.returncode == 128 + signal.SIGTERM
    assert own_cloud.home.running_pid() is None
    assert own_cloud.servers_processes() == set()
    own_cloud.up()
    own_cloud.skylift("wait", job["name"], check=False)
    assert ended_job(own_cloud, job["name"]) == ("rebooted", 122)
