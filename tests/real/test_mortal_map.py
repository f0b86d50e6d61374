"""The client of a map is killed after each call of its start: no server is left that nobody has, no input has two
outcomes, and the map can be had."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from mapped import PATIENCE, left_of, log_of
from support.real_cloud import RealCloud
from support.real_server import until
from test_mortal_client import instances_of, run_until

pytestmark = pytest.mark.real

BESIDE_EACH_OTHER = 3
PARTS = 8
JOB = """
import sys
print(int(sys.argv[1]) ** 2)
"""
WORDS = ("--servers", "2", "--max-time", "5m", "--range", "2..4", "job.py")
SQUARES = [b"4\n", b"9\n", b"16\n"]
BEFORE_ITS_SERVER = "autoscaling.SuspendProcesses#1"
"""By then there is all that a map has, but no server."""

# As `skylift sweep` a day later, of these jobs alone: others have their things in the same cloud.
SWEEP = """
import sys, time
from skylift.cli.place import settings_there
from skylift.client.jobs.sweep import Sweep
from skylift.client.remote.account import open_account

for each in Sweep(open_account(settings_there(None)), time.time() + 86400).find():
    if each.job in sys.argv[1:]:
        assert each.hourly is None, each
        each.remove()
"""


def start(cloud: RealCloud, name: str, last: str) -> tuple[int, list[str], str]:
    """One map by a client that is killed after its call `last`, as run_until says it."""
    return run_until(last, cloud, name, JOB, "map", *WORDS)


def kill(cloud: RealCloud, name: str, last: str) -> None:
    code, calls, words = start(cloud, name, last)
    # A call that is made until something is there may be made less often the next time.
    assert code == (-signal.SIGKILL if calls[-1] == last else 0), (last, code, words)


def fate(cloud: RealCloud, name: str) -> str:
    """What becomes of a map whose client was killed."""
    if not instances_of(cloud, name):
        assert outcomes(cloud, name) == []
        return "never started"
    until(
        lambda: {each["State"]["Name"] for each in instances_of(cloud, name)} == {"terminated"},
        f"the servers of {name} to end",
        PATIENCE,
        cloud.facts,
        pause=0.5,
    )
    assert outcomes(cloud, name) == SQUARES
    return "ran"


def outcomes(cloud: RealCloud, name: str) -> list[bytes | None]:
    """What each input has written, as the map's log has it."""
    return [each.stdout.content for _, each in sorted(log_of(cloud, name).outcomes.items())]


def go_on(cloud: RealCloud, name: str) -> str:
    """The map goes on as another one, or the same command starts it. Which of the two."""
    done = cloud.skylift("map", "--resume", name, "--name", f"{name}-on", cwd=cloud.work / name, check=False)
    if done.returncode == 0:
        assert outcomes(cloud, f"{name}-on") == SQUARES
        return "resumed"
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    again = ("map", "--name", name, *WORDS)
    done = cloud.skylift(*again, cwd=cloud.work / name, check=False)
    if done.returncode:
        # Its record or its role is there. What the message advises is done.
        assert f"There is a job called {name} already." in done.stderr
        assert f"skylift rm {name}" in done.stderr
        cloud.skylift("rm", name)
        cloud.skylift(*again, cwd=cloud.work / name)
    assert outcomes(cloud, name) == SQUARES
    return "started again"


def sweep(cloud: RealCloud, names: Sequence[str]) -> None:
    """Nothing that was left costs anything, and all of it is found."""
    argv = [sys.executable, "-c", SWEEP, *names]
    done = subprocess.run(argv, cwd=cloud.work, env=cloud.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A group whose servers end is listed for a while yet.
    until(lambda: left_of(cloud, *names) == [], "all to be gone", facts=lambda: left_of(cloud, *names))


def test_a_client_that_is_killed_leaves_a_map_that_runs_or_can_be_resumed(cloud: RealCloud) -> None:
    """The first one is killed when there is a server: by then there is the network, too, which takes turns."""
    kills = {"hatched": "ec2.RunInstances#1", "unborn": "iam.CreateRole#1", "unhatched": BEFORE_ITS_SERVER}
    for name, last in kills.items():
        kill(cloud, name, last)
    assert go_on(cloud, "unhatched") == "resumed"
    fates = {name: fate(cloud, name) for name in kills}
    assert fates == {"hatched": "ran", "unborn": "never started", "unhatched": "never started"}
    sweep(cloud, [*kills, "unhatched-on"])


@pytest.fixture(scope="module")
def steps(cloud: RealCloud) -> list[str]:
    """The calls of a map's client. After its launch it looks, again and again: the first of each."""
    start(cloud, "makes-the-network", "-")
    code, calls, words = start(cloud, "whole", "-")
    assert code == 0, words
    sweep(cloud, ["makes-the-network", "whole"])
    launched = calls.index("ec2.RunInstances#1") + 1
    found = calls[:launched] + [each for each in calls[launched:] if each.endswith("#1")]
    assert BEFORE_ITS_SERVER in found
    return found


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_after_every_call(cloud: RealCloud, steps: list[str], part: int) -> None:
    """In parts, each of which has calls from the whole way: one alone takes minutes."""
    kills = {f"mortal-map-{number}": steps[number] for number in range(part, len(steps), PARTS)}
    with ThreadPoolExecutor(BESIDE_EACH_OTHER) as pool:
        list(pool.map(lambda each: kill(cloud, *each), kills.items()))
        fates = dict(zip(kills, pool.map(lambda name: fate(cloud, name), kills), strict=True))
        never = [name for name, became in fates.items() if became == "never started"]
        list(pool.map(lambda name: go_on(cloud, name), never))
    sweep(cloud, [*kills, *(f"{name}-on" for name in kills)])
