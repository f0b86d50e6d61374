"""A server's life by boto3 with AWS's waiters, and all instance types by the paginator: seconds, and against floors.

    python bench/waiters.py [--rounds N]

A Describe by id waits up to a second while the resource changes its state, so that a waiter's first look finds it
settled (`skylift/cloud/wire/transition_wait.py`). For comparison the same waiters look by a filter, for which nothing
waits: after a first look that came too soon they sleep for 15 seconds. The floor looks every 50 milliseconds. They take
turns. All instance types come in pages of 100; their floor is one page.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from own_cloud import add_images_option, client, cloud_up, small_server

from skylift.cloud.state.home import Home

IDS = {"InstanceIds": "instance-id", "VolumeIds": "volume-id", "SnapshotIds": "snapshot-id"}
LOOK = 0.05


def by_filter(params: dict[str, Any], **_: Any) -> None:
    """Ask for the same by a filter in the place of ids."""
    for member, name in IDS.items():
        if member in params:
            params.setdefault("Filters", []).append({"Name": name, "Values": params.pop(member)})


class Life:
    """One server with a volume, from the first call to the last, and the seconds of each wait."""

    def __init__(self, home: Home, request: dict[str, Any], delay: float | None, *, held: bool) -> None:
        self._ec2 = client(home, "ec2")
        if not held:
            for operation in ("DescribeInstances", "DescribeVolumes", "DescribeSnapshots"):
                self._ec2.meta.events.register(f"provide-client-params.ec2.{operation}", by_filter)
        self._request = request
        self._delay = delay
        self.waits: dict[str, float] = {}

    def run(self) -> float:
        ec2, begun = self._ec2, time.monotonic()
        server = ec2.run_instances(**self._request, MinCount=1, MaxCount=1)["Instances"][0]
        ids = {"InstanceIds": [server["InstanceId"]]}
        self._wait("instance_running", **ids)
        zone = ec2.describe_instances(**ids)["Reservations"][0]["Instances"][0]["Placement"]["AvailabilityZone"]
        volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
        self._wait("volume_available", VolumeIds=[volume])
        ec2.attach_volume(InstanceId=server["InstanceId"], VolumeId=volume, Device="/dev/sdf")
        self._wait("volume_in_use", VolumeIds=[volume])
        snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        self._wait("snapshot_completed", SnapshotIds=[snapshot])
        ec2.stop_instances(**ids)
        self._wait("instance_stopped", **ids)
        ec2.start_instances(**ids)
        self._wait("instance_running", **ids)
        ec2.terminate_instances(**ids)
        self._wait("instance_terminated", **ids)
        ec2.delete_snapshot(SnapshotId=snapshot)
        ec2.delete_volume(VolumeId=volume)
        return time.monotonic() - begun

    def _wait(self, waiter: str, **ids: Any) -> None:
        begun = time.monotonic()
        often = {} if self._delay is None else {"WaiterConfig": {"Delay": self._delay, "MaxAttempts": 10_000}}
        self._ec2.get_waiter(waiter).wait(**ids, **often)
        self.waits[waiter] = self.waits.get(waiter, 0.0) + time.monotonic() - begun


WAYS: dict[str, Callable[[Home, dict[str, Any]], Life]] = {
    "waiters": lambda home, request: Life(home, request, None, held=True),
    "waiters, nothing waits": lambda home, request: Life(home, request, None, held=False),
    "a look every 50 ms": lambda home, request: Life(home, request, LOOK, held=False),
}


def all_types(ec2: Any) -> int:
    return sum(len(page["InstanceTypes"]) for page in ec2.get_paginator("describe_instance_types").paginate())


def timed(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    add_images_option(parser)
    chosen = parser.parse_args()
    with cloud_up(Path(chosen.images_of)) as home:
        request = small_server(home, "waiters")
        WAYS["a look every 50 ms"](home, request).run()
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        waits: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
        for _ in range(chosen.rounds):
            for name, way in WAYS.items():
                life = way(home, request)
                seconds[name].append(life.run())
                waits[name].append(life.waits)
        floor = statistics.median(seconds["a look every 50 ms"])
        print(f"A server's life, medians of {chosen.rounds} rounds; load {os.getloadavg()[0]:.0f}")
        for name, values in seconds.items():
            middle = statistics.median(values)
            each = {waiter: statistics.median(one[waiter] for one in waits[name]) for waiter in waits[name][0]}
            listed = ", ".join(f"{waiter} {value:.1f}" for waiter, value in each.items())
            print(f"  {name:24} {middle:6.1f} s  {middle / floor:5.1f} x  ({listed})")
        ec2 = client(home, "ec2")
        page = statistics.median(timed(ec2.describe_instance_types) for _ in range(chosen.rounds * 3))
        whole = statistics.median(timed(lambda: all_types(ec2)) for _ in range(chosen.rounds))
        print(f"All {all_types(ec2)} instance types: {whole:.2f} s, {whole / page:.1f} times one page of 100")


if __name__ == "__main__":
    main()
