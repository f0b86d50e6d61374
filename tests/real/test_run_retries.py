"""`skylift run --retries` on a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.running_job import jobs

pytestmark = pytest.mark.real

# Counts how often it has begun, in a file that stays; ends well the third time.
THIRD = """
import os, sys
with open("begun", "a") as file:
    print(os.environ["SKYLIFT_ATTEMPT"], file=file)
times = open("begun").read().split()
print("begin", times[-1], flush=True)
sys.exit(0 if len(times) == 3 else 75)
"""


def test_a_program_that_fails_is_begun_again_on_its_server(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(THIRD)
    options = ("--retries", "3", "--retry-on", "75", "--out", "begun", "--json", "--name", "thrice")
    done = cloud.skylift("run", *options, "job.py", cwd=tmp_path)
    outcome = json.loads(done.stdout)
    assert [each["exit_code"] for each in outcome["tries"]] == [75, 75, 0]
    assert (outcome["state"], outcome["exit_code"]) == ("succeeded", 0)
    assert (tmp_path / "begun").read_text().split() == ["1", "2", "3"]
    # The program's own output of all attempts, which is on standard error with --json.
    assert [line for line in done.stderr.splitlines() if line.startswith("begin")] == ["begin 1", "begin 2", "begin 3"]
    (listed,) = [each for each in jobs(cloud, "--all") if each["name"] == "thrice"]
    assert (listed["state"], listed["exit_code"]) == ("succeeded", 0)


def test_a_code_that_is_not_named_is_the_end(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("raise SystemExit(3)")
    done = cloud.skylift("run", "--retries", "3", "--retry-on", "75", "--json", "job.py", cwd=tmp_path, check=False)
    assert done.returncode == 3
    assert len(json.loads(done.stdout).get("tries") or [None]) == 1
