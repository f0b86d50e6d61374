"""An Auto Scaling group from nothing to ten in service, and back; and a killed server, noticed and replaced.

    sudo python bench/groups.py [--servers N] [--rounds N] [--images-of HOME]

The floor of the group's way up is one RunInstances of as many servers, to the last that is `running`, that of its way
down their TerminateInstances to the last `terminated`, asked as often by the same client. A killed server's successor
is measured against a single such launch. Rounds alternate; shown are medians. The server that is killed has lived for
more than a minute: until then a group waits before it tries again.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from own_cloud import add_images_option, client, cloud_up, small_server

from skylift.cloud.state.home import Home

GROWN_UP = 61
PAUSE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    add_images_option(parser)
    chosen = parser.parse_args()
    with cloud_up(chosen.images_of) as home:
        group = Group(home, chosen.servers)
        group.floor(1)  # for whatever is slow only once
        rounds = [(group.floor(chosen.servers), group.up_and_down(chosen.servers)) for _ in range(chosen.rounds)]
        healed = [(group.floor(1)["up"], group.heal()) for _ in range(chosen.rounds)]
    for way, words in (("up", f"from 0 to {chosen.servers}"), ("down", f"from {chosen.servers} to 0")):
        floor = statistics.median(one[way] for one, _ in rounds)
        ours = statistics.median(one[way] for _, one in rounds)
        print(f"{words}: floor {floor:.2f} s, group {ours:.2f} s, {ours / floor:.2f}x")
    floor = statistics.median(one for one, _ in healed)
    noticed, replaced = (statistics.median(one[name] for _, one in healed) for name in ("noticed", "replaced"))
    print(f"killed: noticed after {noticed:.2f} s, replaced after {replaced:.2f} s; one launch {floor:.2f} s")


class Group:
    def __init__(self, home: Home, most: int) -> None:
        self._home = home
        self._ec2, self._api = client(home, "ec2"), client(home, "autoscaling")
        self._request = small_server(home, "group")
        subnets = self._ec2.describe_subnets()["Subnets"][:2]
        self._ec2.create_launch_template(LaunchTemplateName="group", LaunchTemplateData=self._request)
        self._api.create_auto_scaling_group(
            AutoScalingGroupName="group",
            LaunchTemplate={"LaunchTemplateName": "group"},
            MinSize=0,
            MaxSize=most,
            VPCZoneIdentifier=",".join(subnet["SubnetId"] for subnet in subnets),
        )

    def floor(self, count: int) -> dict[str, float]:
        began = time.perf_counter()
        made = self._ec2.run_instances(**self._request, MinCount=count, MaxCount=count)["Instances"]
        ids = [one["InstanceId"] for one in made]
        until(lambda: self._states(ids) == {"running"})
        up = time.perf_counter() - began
        began = time.perf_counter()
        self._ec2.terminate_instances(InstanceIds=ids)
        until(lambda: self._states(ids) == {"terminated"})
        return {"up": up, "down": time.perf_counter() - began}

    def up_and_down(self, count: int) -> dict[str, float]:
        return {"up": self._resize(count), "down": self._resize(0)}

    def heal(self) -> dict[str, float]:
        """One of two is killed."""
        self._resize(2)
        victim = self._members()[0]["InstanceId"]
        time.sleep(GROWN_UP)
        began = time.perf_counter()
        os.kill(self._init_of(victim), signal.SIGKILL)
        until(lambda: victim not in self._in_service())
        noticed = time.perf_counter() - began
        until(lambda: len(self._in_service()) == 2)
        replaced = time.perf_counter() - began
        self._resize(0)
        return {"noticed": noticed, "replaced": replaced}

    def _resize(self, count: int) -> float:
        began = time.perf_counter()
        self._api.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=count)
        until(lambda: len(self._in_service()) == len(self._members()) == count)
        return time.perf_counter() - began

    def _members(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"]
        return found

    def _in_service(self) -> list[str]:
        return [one["InstanceId"] for one in self._members() if one["LifecycleState"] == "InService"]

    def _states(self, ids: list[str]) -> set[str]:
        found = self._ec2.describe_instances(InstanceIds=ids)["Reservations"]
        return {one["State"]["Name"] for each in found for one in each["Instances"]}

    def _init_of(self, instance_id: str) -> int:
        endpoint = self._home.endpoint()
        assert endpoint is not None
        number = endpoint.loopback.split(".")[1]
        return int(Path(f"/run/skylift/{number}/{instance_id}/init.pid").read_text())


def until(so: Callable[[], bool]) -> None:
    while not so():
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
