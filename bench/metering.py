"""What it costs to measure servers: reading the kernel's counters of one, and a tick of two hundred with its commit.

    sudo python bench/metering.py [--images-of HOME]

The floor of a reading are the five files that it takes, opened and read and not understood. The floor of a tick is a
commit of one row, as every answer of the API waits for one. A tick is every ten seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from own_cloud import add_images_option, client, cloud_up, small_server

from skylift.cloud.compute.server.cgroup import hierarchies
from skylift.cloud.compute.server.meter import Meter
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.metering import Reading
from skylift.cloud.loops.cloudwatch.metering import Metering, TypeLimits
from skylift.cloud.state.home import Home
from skylift.cloud.store.database import Database

SERVERS = 200
ROUNDS = 200
TICKS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_images_option(parser)
    with cloud_up(parser.parse_args().images_of) as home:
        read, files = readings(home)
    print(f"a reading of one server              {read * 1e6:8.0f} us")
    print(f"  floor: its files                   {files * 1e6:8.0f} us, {read / files:.1f}x")
    for detailed in (True, False):
        tick, commit, rows = ticks(detailed)
        kind = "detailed" if detailed else "basic"
        print(f"a tick of {SERVERS} servers, {kind:8}       {tick * 1e3:8.1f} ms, {rows} rows a minute")
        print(f"  floor: a commit                    {commit * 1e3:8.1f} ms")


def readings(home: Home) -> tuple[float, float]:
    ec2 = client(home, "ec2")
    made = ec2.run_instances(**small_server(home, "metering"), MinCount=1, MaxCount=1)["Instances"]
    server = made[0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[server])
    endpoint = home.endpoint()
    assert endpoint is not None
    number = endpoint.loopback.split(".")[1]
    run, group = Path("/run/skylift") / number, f"skylift/{number}"
    meter = Meter(run, group)
    assert meter.read(server) is not None
    pid = (run / server / "pid").read_text()
    names = ("cpuacct.usage", "cpu.stat", "memory.stat", "memory.usage_in_bytes", "memory.current")
    counted = [hierarchy / group / server / name for hierarchy in hierarchies() for name in names]
    files = [run / server / "pid", *(Path("/proc") / pid / name for name in ("cgroup", "net/dev"))]
    files += [file for file in counted if file.exists() and (file.name != "cpu.stat" or len(hierarchies()) == 1)]
    return median(lambda: meter.read(server)), median(lambda: [file.read_text() for file in files])


def median(act: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def ticks(detailed: bool) -> tuple[float, float, int]:
    """The mean of a tick, as most of basic monitoring's do not write, the median of a commit, and rows a minute."""
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def read(server_id: str) -> Reading:
        seconds = int((now - datetime(2026, 11, 25, tzinfo=UTC)).total_seconds())
        return Reading(1, seconds, seconds / 10, 1 << 25, seconds, seconds, seconds, seconds)

    with tempfile.TemporaryDirectory(prefix="skylift-bench-") as directory:
        database = Database(Path(directory) / "state.db", clock=lambda: now)
        first = Instance(
            "i-0", "r-1", 0, "ami-1", "t3.micro", "us-east-1a", "vpc-1", "subnet-1", now, 1 << 30, state="running"
        )
        with database.write() as tx:
            tx.add(CloudFacts("1", "us-east-1", 1))
            for number in range(SERVERS):
                one = replace(first, id=f"i-{number}", uid_base=(number + 1) << 16, detailed_monitoring=detailed)
                tx.add(one)
        metering = Metering(database, read, lambda name: TypeLimits(2, 1024))
        times, commits = [], []
        for number in range(TICKS):
            now += timedelta(seconds=10)
            began = time.perf_counter()
            metering.step()
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
            with database.write() as tx:
                tx.save(CloudFacts("1", "us-east-1", 1, public_ips_given=number))
            commits.append(time.perf_counter() - began)
        with database.read() as tx:
            (rows,) = tx.execute("SELECT count(*) FROM metric_points").fetchone()
        database.close()
    return statistics.mean(times[1:]), statistics.median(commits), round(rows * 6 / TICKS)


if __name__ == "__main__":
    main()
