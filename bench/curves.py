"""Do answers grow with what is asked, or with what is stored? The same questions to a small store and to a full one.

    python bench/curves.py [--rounds N] [--instances N] [--keys N]

Two endpoints with nothing behind them (beside_moto.py): one has ten instances and a thousand objects, the other has
terminated instances and more objects besides. Rounds alternate, and who goes first. Shown are milliseconds of the
server's processor, first quartiles, and their ratio: 1.0 means that what is stored costs nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from answers import ASKED, SERVERS, Ask, Side, fill, measured, quartiles, side_of
from beside_moto import skylift

from skylift.cloud.domain.instance import Instance
from skylift.cloud.store.database import Database


def form(parameters: str) -> Ask:
    return Ask("ec2", "POST", "/", f"Action=DescribeInstances&Version=2016-11-15&{parameters}".encode())


def asked(instance: str) -> dict[str, Ask]:
    listed, running = "/many?list-type=2&max-keys=100", "Filter.1.Name=instance-state-name&Filter.1.Value.1=pending"
    return {
        "DescribeInstances, one by id": form(f"InstanceId.1={instance}"),
        f"DescribeInstances, {SERVERS} by their state": form(running),
        "GET of 1 KiB": ASKED["GET of 1 KiB"],
        "PUT of 1 KiB": ASKED["PUT of 1 KiB"],
        "ListObjectsV2, the first 100": Ask("s3", "GET", listed),
        "ListObjectsV2, 100 from the middle": Ask("s3", "GET", f"{listed}&start-after=5"),
        "ListObjectsV2, the folders": Ask("s3", "GET", "/many?delimiter=%2F&list-type=2"),
    }


@contextmanager
def endpoint_with(instances: int, keys: int) -> Iterator[tuple[Side, dict[str, Ask]]]:
    """An endpoint with so many terminated instances, and so many objects in the bucket `many`."""
    with tempfile.TemporaryDirectory(prefix="curves-") as directory, skylift(Path(directory), keys) as server:
        fill(server)
        with closing(Database(Path(directory, "state.db"))) as database, database.write() as tx:
            one = tx.find(Instance)[0]
            for number in range(instances):
                tx.add(replace(one, id=f"i-{number:017x}", state="terminated", desired="terminated", ended=tx.now))
        yield side_of(server), asked(one.id)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=100_000)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        small, questions = stack.enter_context(endpoint_with(0, 1000))
        full, same = stack.enter_context(endpoint_with(chosen.instances, chosen.keys))
        print(f"{'':40}{'small':>8}{'full':>8}{'ratio':>8}")
        for name, question in questions.items():
            rounds = measured({"small": (small, question), "full": (full, same[name])}, chosen.rounds)
            figures = quartiles(rounds)
            few, many = figures["small"][0], figures["full"][0]
            print(f"{name:40}{few:8.2f}{many:8.2f}{many / few:7.2f}x", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
