"""Does one arena for all of the cloud's threads cost time? The same requests to a cloud with many, in turns.

    sudo python bench/arenas.py [--rounds N] [--large MIB] [--images-of HOME]

Two clouds of this version are up; in the process of one of them `share_memory` does nothing. What api.py measures is
asked of each, then what eight threads at once get from S3 and of DescribeInstances. Rounds alternate, and who goes
first; shown are medians, and the median of each round's ratio: above 1.0x, one arena takes longer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from api import COUNT, KIB, MIB, Endpoint, Seconds, prepared
from memory import look
from own_cloud import add_images_option, cloud_up, environment, fresh_home

from skylift.cloud.state.home import Home
from skylift.place.start import make_data

CLIENTS = 8
MANY_ARENAS = "import sys; from skylift.cloud import main; main.share_memory = lambda: None; sys.exit(main.main())"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--large", type=int, default=64, help="MiB of the large object")
    add_images_option(parser)
    chosen = parser.parse_args()
    large = os.urandom(MIB) * chosen.large
    with ExitStack() as stack:
        homes = {
            "one arena": stack.enter_context(cloud_up(chosen.images_of)),
            "many": stack.enter_context(with_many_arenas(chosen.images_of)),
        }
        endpoints = {name: prepared(home) for name, home in homes.items()}
        for endpoint in endpoints.values():
            measure(endpoint, b"")  # for whatever is slow only once
        rounds: list[dict[str, Seconds]] = []
        for number in range(chosen.rounds):
            order = list(endpoints) if number % 2 else list(endpoints)[::-1]
            rounds.append({name: measure(endpoints[name], large) for name in order})
        report(rounds)
        for name, home in homes.items():
            print(f"{name}: {look(home).rss:.0f} MiB in memory at the end")
    print(f"load: {os.getloadavg()[0]:.1f}")


@contextmanager
def with_many_arenas(images_of: Path) -> Iterator[Home]:
    with fresh_home(images_of) as home:
        make_data(home)
        reading, writing = os.pipe()
        command = [sys.executable, "-P", "-c", MANY_ARENAS, "--home", str(home.path), "--ready-fd", str(writing)]
        process = subprocess.Popen(command, env=environment(home), pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = pipe.readline()
        if answer.strip() != "ready":
            raise SystemExit(f"the cloud did not start: {answer}")
        try:
            yield home
        finally:
            process.terminate()
            process.wait()


def measure(endpoint: Endpoint, large: bytes) -> Seconds:
    small, s3 = os.urandom(KIB), endpoint.s3

    def put(number: int) -> None:
        s3.put_object(Bucket="bench", Key=f"small-{number}", Body=small)

    def get(number: int) -> None:
        s3.get_object(Bucket="bench", Key=f"small-{number}")["Body"].read()

    return {
        **endpoint.measure(large),
        f"{CLIENTS} at once: PUT 1 KiB": together(put),
        f"{CLIENTS} at once: GET 1 KiB": together(get),
        f"{CLIENTS} at once: DescribeInstances": together(lambda _: endpoint.ec2.describe_instances()),
    }


def together(call: Callable[[int], Any]) -> float:
    """Seconds of each of COUNT calls, were they one after the other."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        list(pool.map(call, range(COUNT)))
        return (time.perf_counter() - began) / COUNT


def report(rounds: list[dict[str, Seconds]]) -> None:
    one, many = "one arena", "many"
    print(f"{len(rounds)} rounds of {COUNT} requests, medians in ms\n")
    print(f"{'':32}{one:>12}{many:>12}{'ratio':>8}")
    for name in rounds[0][one]:
        shown = (statistics.median(each[side][name] for each in rounds) * 1000 for side in (one, many))
        ratio = statistics.median(each[one][name] / each[many][name] for each in rounds)
        print(f"{name:32}{''.join(f'{value:12.2f}' for value in shown)}{ratio:7.2f}x")


if __name__ == "__main__":
    main()
