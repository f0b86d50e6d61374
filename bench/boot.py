"""How long until a server answers? RunInstances to sshd's banner and to a command's output, against bare calls.

    sudo python bench/boot.py [--rounds N] [--images-of HOME]

The floor makes the same server without a control plane: idmapped bind and overlay mount, conmon with runc and the same
OCI configuration, a veth pair with addresses, runc start. Both wait for the banner and then run the same ssh command.
Rounds alternate; the table shows medians, and the median of each round's ratio. Where ours spends its time is what the
cloud's log says of each launch.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bare_server import bare_server
from own_cloud import add_images_option, client, cloud_up, small_server
from ssh_way import await_banner, say_hello

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.state.home import Home

Times = dict[str, float]
"""Seconds from the start of a launch, by what had happened then."""


class Launches:
    """Servers of one cloud, one after the other, as any client of EC2 asks for them."""

    def __init__(self, home: Home, work: Path) -> None:
        self._home = home
        self._ec2 = client(home, "ec2")
        self._key = work / "ours.pem"
        self._key.touch(mode=0o600)
        self._key.write_text(self._ec2.create_key_pair(KeyName="bench", KeyType="ed25519")["KeyMaterial"])
        self._request = {**small_server(home, "bench"), "MinCount": 1, "MaxCount": 1, "KeyName": "bench"}

    def measure(self) -> Times:
        began = time.perf_counter()
        instance = self._ec2.run_instances(**self._request)["Instances"][0]["InstanceId"]
        times = {"RunInstances answers": time.perf_counter() - began}
        address = self._address(instance)
        await_banner(address)
        times["banner"] = time.perf_counter() - began
        say_hello(address, self._key, "ec2-user")
        times["output"] = time.perf_counter() - began
        self._terminate(instance)
        return {**times, **self._steps(instance)}

    def _describe(self, instance: str) -> Any:
        return self._ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def _address(self, instance: str) -> str:
        while "PublicIpAddress" not in (found := self._describe(instance)):
            pass
        return str(found["PublicIpAddress"])

    def _terminate(self, instance: str) -> None:
        self._ec2.terminate_instances(InstanceIds=[instance])
        while self._describe(instance)["State"]["Name"] != "terminated":
            time.sleep(0.02)

    def _steps(self, instance: str) -> Times:
        """`instance i-...: running (queue 2 ms, create 41 ms, ...)`."""
        found = re.search(rf"instance {instance}: running \((.*)\)", self._home.data.log.read_text())
        assert found is not None
        return {name: int(ms) / 1000 for name, ms in re.findall(r"([a-z ]+) (\d+) ms", found[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    add_images_option(parser)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = stack.enter_context(cloud_up(chosen.images_of))
        image = default_image(home.data)
        assert image is not None
        floor = stack.enter_context(bare_server(image.root, home))
        launches = Launches(home, home.path)
        for measure in (floor.measure, launches.measure):
            measure()  # for whatever is slow only once
        rounds = [(floor.measure(), launches.measure()) for _ in range(chosen.rounds)]
    report(rounds)


def report(rounds: list[tuple[Times, Times]]) -> None:
    print(f"{len(rounds)} rounds, medians in ms\n")
    for name, times in (("floor", [floor for floor, _ in rounds]), ("skylift", [ours for _, ours in rounds])):
        print(name)
        for step in times[0]:
            print(f"  {step:20}{statistics.median(each[step] for each in times) * 1000:7.0f}")
    print("skylift / floor")
    for step in ("banner", "output"):
        ratio = statistics.median(ours[step] / floor[step] for floor, ours in rounds)
        print(f"  {step:20}{ratio:7.2f}x")


if __name__ == "__main__":
    main()
