"""What is ended before results are sent, on a server: all that the login user runs but what somebody does who is logged
in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.running_job import RunningJob

pytestmark = pytest.mark.real

# Left by who has logged off: nobody's child, and in a session of its own.
CHURN = "setsid nohup sh -c 'while :; do echo x >job/churn.txt; rm job/churn.txt; done' >/dev/null 2>&1 & sleep 0.2"


def test_what_has_been_left_running_ends_and_who_is_logged_in_stays(cloud: RealCloud, tmp_path: Path) -> None:
    job = RunningJob(cloud, tmp_path, "--out", "*.txt", "--keep", "5m")
    try:
        way_in = job.way_in()
        subprocess.run([*way_in, CHURN], check=True, stdin=subprocess.DEVNULL)
        with subprocess.Popen(
            [*way_in, "echo in; exec sleep 600"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as somebody:
            assert somebody.stdout is not None
            assert somebody.stdout.readline() == b"in\n"
            job.go()
            assert job.finish() == (7, b"done\n"), job.words
            assert (tmp_path / "result.txt").read_text() == "42"
            assert somebody.poll() is None
            running = subprocess.run([*way_in, "ps -eo args"], check=True, capture_output=True, text=True).stdout
            assert "sleep 600" in running
            assert "churn.txt" not in running
            somebody.kill()
    finally:
        cloud.skylift("cancel", job.name)
