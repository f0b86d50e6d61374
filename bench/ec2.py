"""EC2's API beside moto's server, in one run: descriptions from small and large stores, tags, launches.

    python bench/ec2.py [--calls N] [--rounds N]

Both are servers in processes of their own, asked by the same boto3 client from this one; neither boots anything.
moto keeps its records in memory, and what this cloud has answered survives a power cut. Rounds alternate; shown are the
medians of each figure over the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from beside_moto import Server, latencies, moto, report, seconds_each, skylift

STORES = (1, 100, 1000)
AT_ONCE = 100


class Side:
    """One server, and what was made in it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._ec2 = server.ec2
        self._image = self._ec2.describe_images()["Images"][0]["ImageId"]
        self._standing: list[str] = []

    def fill(self, size: int) -> None:
        """Launch until so many instances are in the store."""
        while len(self._standing) < size:
            self._standing += self._launch(min(AT_ONCE, size - len(self._standing)))

    def _launch(self, count: int) -> list[str]:
        made = self._ec2.run_instances(ImageId=self._image, InstanceType="t3.micro", MinCount=count, MaxCount=count)
        return [each["InstanceId"] for each in made["Instances"]]

    def describe(self, calls: int) -> dict[str, float]:
        size, one = len(self._standing), self._standing[0]
        return {
            **latencies(
                f"DescribeInstances, one of {size}",
                seconds_each(calls, lambda _: self._ec2.describe_instances(InstanceIds=[one])),
            ),
            **latencies(
                f"DescribeInstances, all {size}",
                seconds_each(max(5, calls // size), lambda _: self._ec2.describe_instances()),
            ),
        }

    def change(self, calls: int) -> dict[str, float]:
        standing, launched = self._standing, list[str]()

        def tag(number: int) -> None:
            resource = standing[number % len(standing)]
            self._ec2.create_tags(Resources=[resource], Tags=[{"Key": "number", "Value": str(number)}])

        return {
            **latencies("CreateTags", seconds_each(calls, tag)),
            **latencies("RunInstances", seconds_each(calls, lambda _: launched.extend(self._launch(1)))),
            **latencies(
                "TerminateInstances",
                seconds_each(calls, lambda number: self._ec2.terminate_instances(InstanceIds=[launched[number]])),
            ),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200, help="of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, skylift(Path(directory)) as ours, moto() as theirs:
        sides = {"skylift": Side(ours), "moto": Side(theirs)}
        # After a first question, which is when moto loads what it answers with.
        idle = {name: side.server.memory() for name, side in sides.items()}
        for size in STORES:
            for side in sides.values():
                side.fill(size)
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
            for _ in range(chosen.rounds):
                for name, side in sides.items():
                    rounds[name].append(side.describe(chosen.calls))
            report(f"{size} in the store", rounds)
        changes: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(chosen.rounds):
            for name, side in sides.items():
                changes[name].append(side.change(chosen.calls))
        report("changes", changes)
        for name, side in sides.items():
            print(f"{name}: memory idle {idle[name]:.0f} MiB, at the end {side.server.memory():.0f} MiB")


if __name__ == "__main__":
    main()
