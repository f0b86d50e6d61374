"""`skylift run` from the outside: what a shell, a pipe and a user see of a job on a real server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until
from support.running_job import WAITS, RunningJob, ended_job, jobs, roles

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Path:
    found = cloud.work / request.node.name.replace("/", "_")
    found.mkdir()
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(cloud: RealCloud) -> Iterator[None]:
    """After each job its server is gone, and its role with it. Other files' jobs may have left theirs in this cloud."""
    before = set(live(cloud)), roles(cloud)
    yield
    until(lambda: set(live(cloud)) <= before[0], "the servers of jobs to be gone")
    assert roles(cloud) <= before[1]


def live(cloud: RealCloud) -> list[str]:
    """Instances of jobs that are not terminated."""
    states = ["pending", "running", "stopping", "stopped", "shutting-down"]
    filters = [{"Name": "instance-state-name", "Values": states}, {"Name": "tag-key", "Values": ["skylift:job"]}]
    found = cloud.ec2.describe_instances(Filters=filters)["Reservations"]
    return [instance["InstanceId"] for each in found for instance in each["Instances"]]


def states(cloud: RealCloud) -> set[tuple[str, str]]:
    """The names of the jobs that are listed, each with its state."""
    return {(each["name"], each["state"]) for each in jobs(cloud)}


def skylift(cloud: RealCloud, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command whole, with its bytes."""
    return subprocess.run(
        cloud.command(*arguments),
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=cloud.environment,
    )


def job(cloud: RealCloud, folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    (folder / "job.py").write_text(source)
    return skylift(cloud, folder, "run", *options, "job.py")


def test_the_readmes_example(cloud: RealCloud, folder: Path) -> None:
    first_run = shutil.copytree(EXAMPLES / "csv", folder / "first-run")
    command = "run --in sample.csv --out summary.json fileprocessor.py sample.csv"
    assert f"skylift {command}" in (EXAMPLES.parent / "README.md").read_text()
    done = skylift(cloud, first_run, *command.split())
    assert done.returncode == 0, done.stderr
    here = shutil.copytree(EXAMPLES / "csv", folder / "here")
    at_home = subprocess.run(["python3", "fileprocessor.py", "sample.csv"], capture_output=True, check=True, cwd=here)
    assert done.stdout == at_home.stdout
    assert json.loads((first_run / "summary.json").read_text()) == json.loads((here / "summary.json").read_text())
    said = done.stderr.decode()
    assert [word for word in ("Network", "Key pair", "Role", "Server", "Program", "Results") if word not in said] == []


def test_both_streams_arrive_apart_and_byte_for_byte(cloud: RealCloud, folder: Path) -> None:
    """Two megabytes of every byte there is, in odd pieces, with nothing of ours among them."""
    source = """
import os, random
chance = random.Random(1)
streams = {1: chance.randbytes(1_500_000), 2: chance.randbytes(500_000)}
while any(streams.values()):
    stream = chance.choice([1, 2])
    piece = chance.randrange(1, 40_000)
    os.write(stream, streams[stream][:piece])
    streams[stream] = streams[stream][piece:]
"""
    import random

    chance = random.Random(1)
    out, err = chance.randbytes(1_500_000), chance.randbytes(500_000)
    done = job(cloud, folder, source, "--quiet")
    assert done.returncode == 0
    assert done.stdout == out
    assert done.stderr == err


def test_the_exit_code_is_the_programs(cloud: RealCloud, folder: Path) -> None:
    done = job(cloud, folder, "import sys\nprint('no newline', end='')\nsys.exit(7)\n")
    assert (done.returncode, done.stdout) == (7, b"no newline")
    assert b"exit code 7" in done.stderr


def test_death_by_a_signal(cloud: RealCloud, folder: Path) -> None:
    done = job(cloud, folder, "import os\nos.kill(os.getpid(), 9)\n")
    assert done.returncode == 128 + 9
    assert b"SIGKILL" in done.stderr


def test_a_cap_ends_the_program_and_its_results_come_home(cloud: RealCloud, folder: Path) -> None:
    source = "import time\nopen('partial.txt', 'w').write('so far')\nprint('up')\ntime.sleep(3600)\n"
    # The cap counts from the start of the program, which may take its time to come to its first line.
    for cap in ("1s", "10s", "60s"):
        done = job(cloud, folder, source, "--max-time", cap, "--out", "partial.txt")
        if done.stdout:
            break
    assert (done.returncode, done.stdout) == (124, b"up\n")
    assert (folder / "partial.txt").read_text() == "so far"
    assert b"timed-out" in done.stderr


def test_ctrl_c_is_sigint_to_the_program(cloud: RealCloud, folder: Path) -> None:
    running = RunningJob(cloud, folder)
    running.client.send_signal(signal.SIGINT)
    assert running.finish() == (130, b"")
    assert "KeyboardInterrupt" in running.words


def test_a_program_may_do_with_sigint_what_it_likes(cloud: RealCloud, folder: Path) -> None:
    handler = "import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: (print('caught'), sys.exit(3)))\n"
    running = RunningJob(cloud, folder, source=handler + WAITS)
    running.client.send_signal(signal.SIGINT)
    assert running.finish() == (3, b"caught\n")


def test_a_script_that_names_what_it_needs(cloud: RealCloud, folder: Path) -> None:
    shutil.copy(EXAMPLES / "pep723.py", folder)
    done = skylift(cloud, folder, "run", "pep723.py")
    assert done.returncode == 0, done.stderr
    assert b"of disk free" in done.stdout
    assert b"Environment" in done.stderr


def test_a_dependency_that_does_not_resolve(cloud: RealCloud, folder: Path) -> None:
    header = '# /// script\n# dependencies = ["humanize>=4.9,<4"]\n# ///\n'
    done = job(cloud, folder, f"{header}print('never')\n")
    assert (done.returncode, done.stdout) == (123, b"")
    # uv's own words.
    assert b"humanize<4 and humanize>=4.9" in done.stderr
    assert b"Traceback" not in done.stderr


def test_modules_commands_inputs_and_variables(cloud: RealCloud, folder: Path) -> None:
    (folder / "tool").mkdir()
    (folder / "tool/__main__.py").write_text("import sys, os\nprint(sys.argv[1:], os.environ['WORD'])\n")
    (folder / "data").mkdir()
    for name in ("a", "b"):
        (folder / f"data/{name}.txt").write_text(name)
    done = skylift(cloud, folder, "run", "--in", "tool", "--env", "WORD=two words", "-m", "tool", "--quiet", "-x")
    assert (done.returncode, done.stdout) == (0, b"['--quiet', '-x'] two words\n"), done.stderr
    options = ("--in", "data/*.txt", "--out", "out")
    script = "mkdir out && cat data/*.txt > out/all && touch left && echo $0"
    done = skylift(cloud, folder, "run", *options, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"sh\n"), done.stderr
    assert (folder / "out/all").read_text() == "ab"
    assert b"left" in done.stderr


def test_json_says_how_it_went(cloud: RealCloud, folder: Path) -> None:
    source = "import sys\nprint('out')\nopen('r', 'w').write('abc')\nsys.exit('err')\n"
    needs = ("--cpu", "2", "--memory", "3GiB")
    done = job(cloud, folder, source, *needs, "--json", "--out", "r", "--out", "nothing")
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, found["exit_code"], found["state"], found["signal"]) == (1, 1, "failed", None)
    assert [(each["path"], each["size"]) for each in found["results"]] == [("r", 3)]
    assert found["unmatched"] == ["nothing"]
    assert (found["stdout_tail"], found["stderr_tail"]) == ("out\n", "err\n")
    assert found["instance"].startswith("i-")
    assert found["steps"]["server"] > 0
    assert (found["instance_type"], found["choice"]["wanted"]) == ("t3a.medium", {"cpu": 2, "memory_mib": 3072})
    assert found["price"]["billed_seconds"] >= 60
    assert ended_job(cloud, found["name"]) == ("failed", 1)
    price = json.loads(skylift(cloud, folder, "price", "--json", "job.py").stdout)
    assert (price["instance_type"], price["why_type"]) == ("t3a.medium", "as in its last run")
    assert price["basis"]["runs"] >= 1
    assert price["offers"][0]["month_usd"] > 0


def test_ps_shows_a_job_and_cancel_ends_it(cloud: RealCloud, folder: Path) -> None:
    source = f"import time\nopen('r', 'w').write('abc')\n{WAITS}"
    running = RunningJob(cloud, folder, "--out", "r", source=source)
    # The server tells S3 of it soon, not at once.
    until(lambda: (running.name, "running") in states(cloud), "the job to be running")
    assert Server(cloud, running.instance).state == "running"
    assert cloud.skylift("ssh", running.name, "cat", "job/r").stdout == "abc"
    assert cloud.skylift("cancel", running.name).stdout == f"{running.name}: cancelled\n"
    assert running.finish() == (143, b"")
    assert (folder / "r").read_text() == "abc"
    assert "cancelled" in running.words
    assert running.name not in {name for name, _ in states(cloud)}
    assert cloud.skylift("cancel", running.name).stdout == f"{running.name}: had ended already\n"


def test_a_server_that_is_kept_stays_until_it_is_cancelled(cloud: RealCloud, folder: Path) -> None:
    done = job(cloud, folder, "open('left', 'w').write('here')\n", "--keep", "10m", "--json")
    assert done.returncode == 0, done.stderr
    name = json.loads(done.stdout)["name"]
    assert cloud.skylift("ssh", name, "cat", "job/left").stdout == "here"
    cloud.skylift("cancel", name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.py"], "missing.py"),
        (["--type", "t3.enormous", "job.py"], "t3.enormous"),
        (["--cpu", "100000", "job.py"], "The nearest is"),
        (["--max-time", "soon", "job.py"], "soon"),
        (["--in", "nothing-*", "job.py"], "nothing-*"),
        (["header.py"], "header.py"),
        (["."], "."),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    cloud: RealCloud, folder: Path, arguments: list[str], words: str
) -> None:
    (folder / "job.py").write_text("print('never')\n")
    (folder / "header.py").write_text("# /// script\n# dependencies = [\n# ///\n")
    before = instances(cloud)
    done = skylift(cloud, folder, "run", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    said = done.stderr.decode()
    assert words in said
    assert "Traceback" not in said
    assert instances(cloud) == before


def instances(cloud: RealCloud) -> set[str]:
    """Every instance that EC2 remembers."""
    found = cloud.ec2.describe_instances()["Reservations"]
    return {instance["InstanceId"] for each in found for instance in each["Instances"]}
