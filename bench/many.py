"""Two hundred idle servers on one machine: how long they take, what each one holds, and what the API is like then.

    sudo python bench/many.py [--servers N] [--by N] [--images-of HOME]

Launched by `--by` a call, as fast as calls are answered. The floor of the time is as many bare boots (bare_server.py):
the mean of a few, times the number. The floor of the memory is what such a bare server holds. The API is asked before
the first server and with all of them there, by boto3 on the same cores.

Memory is what the machine has less of when they are there than before, by MemAvailable, divided by their number; and,
of that, what the kernel accounts to their own cgroups, without page cache that it could drop.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bare_server import bare_server
from own_cloud import add_images_option, client, cloud_up, small_server
from ssh_way import await_banner

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.compute.server import cgroup
from skylift.cloud.state.home import Home

CALLS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--by", type=int, default=20, help="servers by one RunInstances")
    add_images_option(parser)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = stack.enter_context(cloud_up(chosen.images_of))
        image = default_image(home.data)
        assert image is not None
        floor = stack.enter_context(bare_server(image.root, home))
        floor.measure()  # for whatever is slow only once
        bare = statistics.mean(floor.measure()["banner"] for _ in range(5))
        crowd = Crowd(home, chosen.by)
        before = crowd.latencies()
        free = available_mib()
        times = crowd.launch(chosen.servers)
        each = (free - available_mib()) / chosen.servers
        after = crowd.latencies()
        own = accounted_mib(home) / chosen.servers
        away = crowd.terminate()
    print(f"{chosen.servers} servers, {chosen.by} a call")
    for name, seconds in times.items():
        print(f"  {name:36} {seconds:8.2f} s")
    print(f"  floor: bare boots, one by one        {bare * chosen.servers:8.2f} s")
    print(f"  last banner / floor                  {times['last banner'] / (bare * chosen.servers):8.2f}x")
    print(f"  all terminated                       {away:8.2f} s")
    print(f"  memory of the machine, each          {each:8.1f} MiB")
    print(f"  of that in the server's cgroup       {own:8.1f} MiB")
    for name, alone in before.items():
        print(f"  {name:36} {alone * 1000:8.2f} ms before, {after[name] * 1000:8.2f} ms then")


class Crowd:
    def __init__(self, home: Home, by: int) -> None:
        self._ec2 = client(home, "ec2")
        self._request = small_server(home, "many")
        self._by = by
        self._ids: list[str] = []

    def launch(self, count: int) -> dict[str, float]:
        began = time.perf_counter()
        while len(self._ids) < count:
            number = min(self._by, count - len(self._ids))
            made = self._ec2.run_instances(**self._request, MinCount=number, MaxCount=number)["Instances"]
            self._ids += [each["InstanceId"] for each in made]
        times = {"all RunInstances answered": time.perf_counter() - began}

        def banner(address: str) -> float:
            await_banner(address, patience=600)
            return time.perf_counter() - began

        # A few at a time, in the order of their launch: two hundred who wait would take the processor from the boots.
        with ThreadPoolExecutor(4) as pool:
            banners = sorted(pool.map(banner, self._addresses()))
        return {**times, "median banner": statistics.median(banners), "last banner": banners[-1]}

    def latencies(self) -> dict[str, float]:
        """Medians, in seconds."""
        one = self._ids[:1]
        calls: dict[str, Callable[[], object]] = {
            "DescribeInstanceStatus of one": lambda: self._ec2.describe_instance_status(InstanceIds=one),
            "DescribeSecurityGroups": self._ec2.describe_security_groups,
            "DescribeInstances, all": self._describe,
            "CreateTags": lambda: self._ec2.create_tags(
                Resources=self._request["SecurityGroupIds"], Tags=[{"Key": "asked", "Value": str(time.time())}]
            ),
        }
        return {name: statistics.median(_timed(call) for _ in range(CALLS)) for name, call in calls.items()}

    def terminate(self) -> float:
        began = time.perf_counter()
        self._ec2.terminate_instances(InstanceIds=self._ids)
        while any(each["State"]["Name"] != "terminated" for each in self._describe()):
            time.sleep(0.2)
        return time.perf_counter() - began

    def _describe(self) -> list[Any]:
        pages = self._ec2.get_paginator("describe_instances").paginate()
        return [each for page in pages for reservation in page["Reservations"] for each in reservation["Instances"]]

    def _addresses(self) -> list[str]:
        while True:
            found = self._describe()
            if len(found) == len(self._ids) and all("PublicIpAddress" in each for each in found):
                return [str(each["PublicIpAddress"]) for each in found]
            time.sleep(0.05)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def available_mib() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) / 1024


def accounted_mib(home: Home) -> float:
    """Anonymous memory and kernel memory of all servers of this cloud."""
    endpoint = home.endpoint()
    assert endpoint is not None
    group = f"skylift/{endpoint.loopback.split('.')[1]}"
    total = 0
    for hierarchy in cgroup.hierarchies():
        for stat in (hierarchy / group).glob("*/memory.stat"):
            fields = dict(line.split() for line in stat.read_text().splitlines())
            total += int(fields.get("total_rss") or fields.get("anon") or 0)
            kernel = stat.with_name("memory.kmem.usage_in_bytes")
            total += int(kernel.read_text()) if kernel.exists() else int(fields.get("kernel", 0))
    return total / (1 << 20)


if __name__ == "__main__":
    main()
