"""How soon is nothing left? From `kill -9` of the client to the server's end, and what `skylift sweep` then removes.

    sudo python bench/abandoned.py [--rounds N] [--images-of HOME]

The job prints a word and ends. Its client is killed

- `before` the server is asked for, when the job's role has just been made;
- while it is `booting`, as soon as EC2 lists it; the server does the job all the same, alone;
- when the job's word is there: it is `running`, or has just ended.

The floor is the client that stays to the end: from the same word on until nothing is left. A server is gone when EC2
calls it terminated and no process of this machine is in its control group. A role costs nothing; a killed client leaves
it for `sweep`, whose time is that of the whole command. (A role that is minutes old and whose job has no record is left
alone: that job may be starting.)
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from own_cloud import SKYLIFT, add_images_option, client, cloud_up, environment, skylift

from skylift.cloud.state.home import Home

WORD = "up"
PATIENCE = 60.0


class Round:
    """One job, from its start to nothing left."""

    def __init__(self, home: Home, folder: str) -> None:
        self._home, self._folder = home, folder
        self._ec2, self._iam = client(home, "ec2"), client(home, "iam")
        self._known = {each["InstanceId"] for each in self._instances()}
        self._had = set(self._roles())

    def run(self, moment: Callable[[Round, subprocess.Popen[bytes]], None], *, kill: bool) -> float:
        """Seconds from the moment to the end of the last server of this job."""
        started = subprocess.Popen(
            [*SKYLIFT, "run", "--quiet", "job.py"],
            cwd=self._folder,
            env=environment(self._home),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            moment(self, started)
            began = time.perf_counter()
            if kill:
                started.send_signal(signal.SIGKILL)
            started.wait(PATIENCE)
            until(lambda: not self._left())
            return time.perf_counter() - began
        finally:
            started.kill()
            started.wait()

    def _instances(self) -> list[dict[str, Any]]:
        found = self._ec2.describe_instances()["Reservations"]
        return [instance for each in found for instance in each["Instances"]]

    def new(self) -> list[dict[str, Any]]:
        return [each for each in self._instances() if each["InstanceId"] not in self._known]

    def new_roles(self) -> set[str]:
        return set(self._roles()) - self._had

    def _roles(self) -> list[str]:
        return [each["RoleName"] for each in self._iam.list_roles(PathPrefix="/skylift/")["Roles"]]

    def _left(self) -> bool:
        servers = self.new()
        live = any(each["State"]["Name"] != "terminated" for each in servers)
        return live or any(has_processes(each["InstanceId"]) for each in servers)


def has_processes(instance: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if instance in path.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


def until(done: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > give_up:
            raise SystemExit(f"still there after {PATIENCE} s")
        # Nearly nothing, so that one who waits does not take the processor from those who work.
        time.sleep(0.005)


def role_is_made(of: Round, started: subprocess.Popen[bytes]) -> None:
    until(of.new_roles)


def server_is_listed(of: Round, started: subprocess.Popen[bytes]) -> None:
    until(of.new)


def word_is_there(of: Round, started: subprocess.Popen[bytes]) -> None:
    assert started.stdout is not None
    if started.stdout.readline().strip() != WORD.encode():
        raise SystemExit("the job did not say its word")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    add_images_option(parser)
    chosen = parser.parse_args()
    cases = {
        "before": (role_is_made, True),
        "booting": (server_is_listed, True),
        "running": (word_is_there, True),
        "floor": (word_is_there, False),
    }
    times: dict[str, list[float]] = {case: [] for case in cases}
    swept: dict[str, list[tuple[int, float]]] = {case: [] for case in cases}
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        (Path(folder) / "job.py").write_text(f"print({WORD!r})\n")
        # The network, the key and the bucket.
        subprocess.run([*SKYLIFT, "run", "job.py"], cwd=folder, env=environment(home), check=True, capture_output=True)
        for _ in range(chosen.rounds):
            for case, (moment, kill) in cases.items():
                times[case].append(Round(home, folder).run(moment, kill=kill))
                swept[case].append(sweep(home))
    print(f"{chosen.rounds} rounds, medians; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for case in cases:
        removed, seconds = (statistics.median(values) for values in zip(*swept[case], strict=True))
        print(f"  {case:10}{statistics.median(times[case]):6.2f} s to no server; ", end="")
        print(f"then sweep removes {removed:.0f} things in {seconds:.2f} s")


def sweep(home: Home) -> tuple[int, float]:
    """How many things it removed, and how long it took."""
    began = time.perf_counter()
    found = json.loads(skylift(home, "sweep", "--json"))
    return len(found), time.perf_counter() - began


if __name__ == "__main__":
    main()
