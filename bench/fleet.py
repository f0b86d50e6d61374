"""How long do twenty servers take? One RunInstances to the last sshd banner, against twenty bare boots.

    sudo python bench/fleet.py [--servers N] [--rounds N] [--images-of HOME]

The floor are as many bare boots (bare_server.py), one after the other, each to its banner: what the kernel and the
programs take by themselves, without waiting for each other. Rounds alternate; shown are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from bare_server import bare_server
from own_cloud import add_images_option, client, cloud_up, small_server
from ssh_way import await_banner

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.state.home import Home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    add_images_option(parser)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = stack.enter_context(cloud_up(chosen.images_of))
        image = default_image(home.data)
        assert image is not None
        floor = stack.enter_context(bare_server(image.root, home))
        fleet = Fleet(home)
        floor.measure()  # for whatever is slow only once
        rounds = []
        for _ in range(chosen.rounds):
            serial = sum(floor.measure()["banner"] for _ in range(chosen.servers))
            rounds.append((serial, fleet.measure(chosen.servers)))
    print(f"{chosen.servers} servers by one call, {chosen.rounds} rounds, medians in s")
    print(f"  floor: bare boots, one after the other   {statistics.median(each for each, _ in rounds):6.2f}")
    for name in rounds[0][1]:
        print(f"  skylift: {name:30}  {statistics.median(ours[name] for _, ours in rounds):6.2f}")
    ratio = statistics.median(ours["last banner"] / serial for serial, ours in rounds)
    print(f"  last banner / floor                      {ratio:6.2f}x")


class Fleet:
    def __init__(self, home: Home) -> None:
        self._ec2 = client(home, "ec2")
        self._request = small_server(home, "fleet")

    def measure(self, count: int) -> dict[str, float]:
        began = time.perf_counter()
        made = self._ec2.run_instances(**self._request, MinCount=count, MaxCount=count)["Instances"]
        times = {"RunInstances answers": time.perf_counter() - began}
        ids = [each["InstanceId"] for each in made]
        with ThreadPoolExecutor(count) as pool:
            banners = sorted(pool.map(lambda address: self._banner(address, began), self._addresses(ids)))
        times.update({"first banner": banners[0], "last banner": banners[-1]})
        began = time.perf_counter()
        self._ec2.terminate_instances(InstanceIds=ids)
        while any(each["State"]["Name"] != "terminated" for each in self._describe(ids)):
            time.sleep(0.05)
        return {**times, "all terminated": time.perf_counter() - began}

    def _banner(self, address: str, began: float) -> float:
        await_banner(address)
        return time.perf_counter() - began

    def _describe(self, ids: list[str]) -> list[Any]:
        found = self._ec2.describe_instances(InstanceIds=ids)["Reservations"]
        return [each for reservation in found for each in reservation["Instances"]]

    def _addresses(self, ids: list[str]) -> list[str]:
        while True:
            found = self._describe(ids)
            if all("PublicIpAddress" in each for each in found):
                return [str(each["PublicIpAddress"]) for each in found]
            time.sleep(0.02)


if __name__ == "__main__":
    main()
