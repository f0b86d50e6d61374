"""What does `skylift map` cost: an input, another server, its first result, its end, the loss of its coordinator?

    sudo python bench/map.py [--row ROW]... [--rounds N] [--inputs N] [--type TYPE] [--images-of HOME]

Each row is measured against a floor of the same run, round by round; without --row, all of them are measured:

`tiny`, `tiny-2`, `tiny-4`: inputs that do nothing, on one, two and four servers, as many at a time as these have
processors. `dask` has a plain LocalCluster with as many workers on one server start the same processes, as many in a
task as a map hands out at most, and one in a task; `xargs` is `xargs -P`. On several servers, only inputs count that
began when all servers had begun to take some. A machine with two processors has no more for four servers.
`first`, `first-2`, `first-2-unbuilt`: from the command to the first outcome in Python, with one server, with two where
the environment of Dask is in the bucket, and where it is not. The floor is a plain run's first line.
`last`, `last-3`: from the end of the last input's program to none of the map's servers, one or three. The floor is
TerminateInstances of as many that do nothing, described as often.
`work`, `work-2`: a second of processor time an input, on one and two servers of one processor each. The floor is as
many of these programs at a time, here.
`coordinator`: from the coordinator's end by SIGKILL to the end of the next input. The floor is an interpreter that
imports Dask and starts a cluster. `server`: the same for the coordinator's server, terminated while the client watches.
The floor is a plain run's first line.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from own_cloud import SKYLIFT, add_images_option, client, cloud_up, environment, small_server
from ssh_way import await_banner

from skylift.client.map.coordinator import MOST_IN_A_BATCH
from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import InputOutcome, MapLog
from skylift.client.ship.prebuilt import ENVIRONMENTS
from skylift.cloud.state.home import Home

MORE = 6
"""Times as many tiny inputs on several servers: others are asked for when there is work for ten seconds."""
LOOKING = 0.02
"""Seconds between two looks at servers."""
SMALL = "t2.small"
"""A type with one processor."""
JOB = "import sys\nassert sys.argv[1]\n"
HELLO = "print('hello')\n"
SLOW = "import sys, time\ntime.sleep(1)\nassert sys.argv[1]\n"
WORK = "import time\nwhile time.process_time() < 1:\n    pass\n"
# The input that kills the coordinator says when that was, the next time that it runs.
KILLS = """import os, subprocess, sys, time
time.sleep(0.2)
if sys.argv[1] == "20":
    if os.path.exists("/tmp/killed"):
        print(open("/tmp/killed").read())
    else:
        open("/tmp/killed", "w").write(str(time.time()))
        subprocess.run(["sudo", "pkill", "-9", "-u", "61904"])
        time.sleep(600)
"""
# Says each time that outcomes have come.
WATCHED = """import json, sys, skylift
count, options = int(sys.argv[1]), json.loads(sys.argv[2])
for each in skylift.map("job.py", range(1, count + 1), **options):
    print(each.index, flush=True)
"""
FLOOR = """# /// script
# dependencies = ["distributed"]
# ///
import json, os, subprocess, sys, time
from dask.distributed import Client, LocalCluster

COMMAND = ["python3", "job.py"]
PATH = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"}
AT_A_TIME = os.cpu_count() or 1
START = "from dask.distributed import *; Client(LocalCluster(1, processes=False, dashboard_address=None)).close()"


def run(numbers):
    return [subprocess.run([*COMMAND, str(number)], env=PATH, capture_output=True).returncode for number in numbers]


def by_dask(client, count, size):
    began = time.monotonic()
    pieces = [list(range(first, min(first + size, count))) for first in range(0, count, size)]
    codes = [code for each in client.gather(client.map(run, pieces, pure=False)) for code in each]
    assert codes == [0] * count
    return time.monotonic() - began


def by_xargs(count, workers):
    began = time.monotonic()
    words = "\\n".join(map(str, range(count))).encode()
    argv = ["xargs", "-n", "1", "-P", str(AT_A_TIME * workers), *COMMAND]
    subprocess.run(argv, input=words, env=PATH, check=True)
    return time.monotonic() - began


def start():
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", START], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


if __name__ == "__main__":
    count, batch, workers = map(int, sys.argv[1:])
    open("job.py", "w").write("import sys\\nassert sys.argv[1]\\n")
    with LocalCluster(workers, threads_per_worker=AT_A_TIME, processes=workers > 1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            run(range(10))
            found = {"dask": by_dask(client, count, batch), "dask, singly": by_dask(client, count, 1)}
    print(json.dumps({**found, "xargs": by_xargs(count, workers), "start": start()}))
"""


@dataclass
class Found:
    """What one row has found, in seconds: ours first, then floors."""

    times: dict[str, list[float]] = field(default_factory=dict)

    def add(self, times: dict[str, float]) -> None:
        for name, seconds in times.items():
            self.times.setdefault(name, []).append(seconds)

    def spelled(self, title: str, goal: str, *, is_rate: bool) -> str:
        if not self.times:
            return f"{title:15} nothing was measured"
        ours, *floors = self.times
        text = f"{title:15} {spelled(statistics.median(self.times[ours]))} {ours}"
        if is_rate:
            text += f", {1 / statistics.median(self.times[ours]):.3g} a second"
        for each in floors:
            pairs = zip(self.times[ours], self.times[each], strict=True)
            ratio = statistics.median(one / other for one, other in pairs)
            text += f"; {each} {spelled(statistics.median(self.times[each]))}: {ratio:.2f}x"
        return text + (f"; goal {goal}" if goal else "")


def spelled(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


class Bench:
    """One cloud, and the rows: each is measured once by a call, ours and its floor."""

    def __init__(self, home: Home, folder: Path, kind: str, inputs: int) -> None:
        self._home, self._folder, self._kind, self._inputs = home, folder, kind, inputs
        self._s3, self._ec2 = client(home, "s3"), client(home, "ec2")
        self._idle = small_server(home, "bench-map")

    def warm_up(self) -> None:
        """The first of each makes an environment that the others take from the bucket."""
        self._map(JOB, 1, "--servers", "2")
        self._floor(1, 1)

    def tiny(self, servers: int) -> dict[str, float]:
        count = self._inputs * (1 if servers == 1 else MORE)
        ours = self._each(self._map(JOB, count, "--servers", str(servers)), count, servers)
        floor = self._floor(self._inputs, servers)
        return {"an input": ours, **{name: floor[name] / self._inputs for name in ("dask", "dask, singly", "xargs")}}

    def first(self, servers: int, *, is_built: bool = True) -> dict[str, float]:
        if not is_built:
            self._forget_environments()
        began = time.monotonic()
        with self._watched(JOB, 1, servers=servers) as (_, outcomes):
            next(outcomes)
            seconds = time.monotonic() - began
        return {"to the first outcome": seconds, "a run's first line": self._hello()}

    def last(self, servers: int) -> dict[str, float]:
        with self._watched(SLOW, 8 if servers == 1 else 40, servers=servers) as (name, outcomes):
            for _ in outcomes:
                pass
            gone = self._await_none([{"Name": "tag:skylift:job", "Values": [name]}])
        return {"to no servers": gone - last_end(self._log(name)), "TerminateInstances": self._end_idle(servers)}

    def work(self, servers: int) -> dict[str, float]:
        count = 10 if servers == 1 else 40
        ours = self._each(self._map(WORK, count, "--servers", str(servers), kind=SMALL), count, servers)
        began = time.monotonic()
        words = "\n".join(map(str, range(10))).encode()
        argv = ["xargs", "-n", "1", "-P", str(servers), sys.executable, "job.py"]
        subprocess.run(argv, input=words, cwd=self._folder, check=True)
        return {"an input": ours, "xargs here": (time.monotonic() - began) / 10}

    def coordinator(self) -> dict[str, float]:
        outcomes = self._map(KILLS, 60).outcomes
        killed = float(outcomes[19].stdout.content or b"0")
        following = min(end_of(each) for each in outcomes.values() if end_of(each) > killed)
        return {"to the next outcome": following - killed, "a cluster's start": self._floor(1, 1)["start"]}

    def server(self) -> dict[str, float]:
        with self._watched(SLOW, 20) as (name, outcomes):
            for _ in range(3):
                next(outcomes)
            (lost,) = self._servers([{"Name": "tag:skylift:job", "Values": [name]}])
            ended = time.time()
            self._ec2.terminate_instances(InstanceIds=[lost])
            for _ in outcomes:
                pass
        following = min(end_of(each) for each in self._log(name).outcomes.values() if each.server != lost)
        return {"to the next outcome": following - ended, "a run's first line": self._hello()}

    # Maps.

    def _map(self, program: str, count: int, *options: str, kind: str = "") -> MapLog:
        name = self._write(program)
        named = ["--name", name, "--type", kind or self._kind]
        self._skylift("map", "-q", *named, *options, "--range", f"1..{count}", "job.py")
        log = self._log(name)
        assert len(log.outcomes) == count
        return log

    @contextmanager
    def _watched(self, program: str, count: int, **options: Any) -> Iterator[tuple[str, Iterator[int]]]:
        """A map's name, and the index of each outcome as it comes."""
        name = self._write(program)
        (self._folder / "watched.py").write_text(WATCHED)
        words = [str(count), json.dumps({"name": name, "type": self._kind, **options})]
        with self._lines([sys.executable, "watched.py", *words]) as lines:
            yield name, map(int, lines)

    def _write(self, program: str) -> str:
        """The name for a map of this program."""
        (self._folder / "job.py").write_text(program)
        return f"map-{secrets.token_hex(4)}"

    def _log(self, name: str) -> MapLog:
        log, pages = MapLog(), self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=MapKeys(name).log):
            keys = [each["Key"] for each in page.get("Contents", ())]
            log.read(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read() for key in keys)
        return log

    def _each(self, log: MapLog, count: int, servers: int) -> float:
        """Seconds an input, from when all servers had begun to take some; nothing when they have not."""
        begun: dict[str | None, float] = {}
        for each in log.outcomes.values():
            begun[each.server] = min(begun.get(each.server, float("inf")), each.started or 0.0)
        if len(begun) < servers:
            raise NotMeasured(f"{len(begun)} of {servers} servers have taken inputs: more --inputs are needed")
        since = max(begun.values())
        return (last_end(log) - since) / sum((each.started or 0.0) >= since for each in log.outcomes.values())

    # Floors.

    def _floor(self, count: int, workers: int) -> dict[str, float]:
        (self._folder / "dask_floor.py").write_text(FLOOR)
        words = [str(each) for each in (count, MOST_IN_A_BATCH, workers)]
        found: dict[str, float] = json.loads(self._skylift("run", "-q", "--type", self._kind, "dask_floor.py", *words))
        return found

    def _hello(self) -> float:
        """From a plain run's command to its first line."""
        (self._folder / "hello.py").write_text(HELLO)
        began = time.monotonic()
        with self._lines([*SKYLIFT, "run", "-q", "--type", self._kind, "hello.py"]) as lines:
            assert next(lines) == "hello\n"
            seconds = time.monotonic() - began
            for _ in lines:
                pass
        return seconds

    def _end_idle(self, servers: int) -> float:
        made = self._ec2.run_instances(**self._idle, MinCount=servers, MaxCount=servers)["Instances"]
        ids = [each["InstanceId"] for each in made]
        self._ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
        for reservation in self._ec2.describe_instances(InstanceIds=ids)["Reservations"]:
            for each in reservation["Instances"]:
                await_banner(each["PublicIpAddress"])
        began = time.time()
        self._ec2.terminate_instances(InstanceIds=ids)
        return self._await_none([{"Name": "instance-id", "Values": ids}]) - began

    # The cloud.

    @property
    def _bucket(self) -> str:
        (found,) = [each["Name"] for each in self._s3.list_buckets()["Buckets"]]
        return str(found)

    def _forget_environments(self) -> None:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{ENVIRONMENTS}/"):
            for each in page.get("Contents", ()):
                self._s3.delete_object(Bucket=self._bucket, Key=each["Key"])

    def _servers(self, filters: list[dict[str, Any]]) -> list[str]:
        states = ["pending", "running", "shutting-down", "stopping", "stopped"]
        alive = {"Name": "instance-state-name", "Values": states}
        found = self._ec2.describe_instances(Filters=[alive, *filters])["Reservations"]
        return [each["InstanceId"] for reservation in found for each in reservation["Instances"]]

    def _await_none(self, filters: list[dict[str, Any]]) -> float:
        while self._servers(filters):
            time.sleep(LOOKING)
        return time.time()

    def _skylift(self, *words: str) -> str:
        done = subprocess.run(
            [*SKYLIFT, *words],
            cwd=self._folder, env=environment(self._home), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"skylift {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def _lines(self, argv: Sequence[str]) -> Iterator[Iterator[str]]:
        """What a program prints, as it comes."""
        process = subprocess.Popen(
            argv, cwd=self._folder, env=environment(self._home), stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            yield process.stdout
            if process.wait():
                raise SystemExit(f"{' '.join(argv)}: {process.returncode}")
        finally:
            process.kill()
            process.communicate()


class NotMeasured(Exception):
    pass


def end_of(outcome: InputOutcome) -> float:
    assert outcome.started is not None
    return outcome.started + outcome.seconds


def last_end(log: MapLog) -> float:
    return max(map(end_of, log.outcomes.values()))


ROWS: dict[str, tuple[Callable[[Bench], dict[str, float]], str]] = {
    "tiny": (lambda bench: bench.tiny(1), "1.3x of dask"),
    "tiny-2": (lambda bench: bench.tiny(2), "1.3x of dask"),
    "tiny-4": (lambda bench: bench.tiny(4), "1.3x of dask"),
    "first": (lambda bench: bench.first(1), "3 s"),
    "first-2": (lambda bench: bench.first(2), "3 s"),
    "first-2-unbuilt": (lambda bench: bench.first(2, is_built=False), ""),
    "last": (lambda bench: bench.last(1), "2 s"),
    "last-3": (lambda bench: bench.last(3), "2 s"),
    "work": (lambda bench: bench.work(1), ""),
    "work-2": (lambda bench: bench.work(2), ""),
    "coordinator": (lambda bench: bench.coordinator(), ""),
    "server": (lambda bench: bench.server(), ""),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=list(ROWS), help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--type", default="t3.small")
    add_images_option(parser)
    chosen = parser.parse_args()
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        bench = Bench(home, Path(folder), chosen.type, chosen.inputs)
        bench.warm_up()
        for title in chosen.row or ROWS:
            measure(bench, title, chosen.rounds)


def measure(bench: Bench, title: str, rounds: int) -> None:
    row, goal = ROWS[title]
    found = Found()
    for _ in range(rounds):
        try:
            found.add(row(bench))
        except NotMeasured as why:
            print(f"{title:15} {why}")
    text = found.spelled(title, goal, is_rate=title.startswith(("tiny", "work")))
    print(f"{text}; load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
