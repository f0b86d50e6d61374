"""How long from the notice to the program running again? Against what nobody could leave out.

    sudo python bench/interruption.py [--rounds N] [--images-of HOME]

One spot job with a checkpoint, whose servers are given two minutes' notice one after the other. Its program writes
down when it hears SIGTERM and when it begins again; the job's record has the rest. The floor are the notice's way to
the program, by a look at the metadata every five seconds, and the boot of a bare server (bare_server.py) to the output
of a command. Shown are medians, and the worst whole.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from bare_server import bare_server
from own_cloud import SKYLIFT, add_images_option, client, cloud_up, environment, skylift

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.state.home import Home

PROGRAM = """
import os, signal, sys, time
print("begins", time.time(), flush=True)

def leave(*_):
    told = time.time()
    with open("state.part", "w") as file:
        file.write("x" * 1000)
    os.replace("state.part", "state")
    print("told", told, flush=True)
    sys.exit(75)

signal.signal(signal.SIGTERM, leave)
while True:
    signal.pause()
"""
PATIENCE = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    add_images_option(parser)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = stack.enter_context(cloud_up(chosen.images_of))
        image = default_image(home.data)
        assert image is not None
        floor = stack.enter_context(bare_server(image.root, home))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skylift-bench-")))
        job = Job(home, folder)
        rounds = []
        for attempt in range(1, chosen.rounds + 1):
            rounds.append({**job.interrupt(attempt), "bare boot": floor.measure()["output"]})
        job.end()
    report(rounds)


class Job:
    def __init__(self, home: Home, folder: Path) -> None:
        self._home, self._s3 = home, client(home, "s3")
        (folder / "waits.py").write_text(PROGRAM)
        options = ("run", "-d", "--spot", "--checkpoint", "state", "--name", "bench", "waits.py")
        subprocess.run([*SKYLIFT, *options], env=environment(home), cwd=folder, check=True, capture_output=True)
        self._bucket = self._s3.list_buckets()["Buckets"][0]["Name"]

    def interrupt(self, number: int) -> dict[str, float]:
        """Seconds by step."""
        until(lambda: self._times("begins", number), "the program to begin")
        server = self._attempt(number)["instance"]
        noticed = time.time()
        skylift(self._home, "cloud", "interrupt", server)
        until(lambda: self._times("begins", number + 1), "the program to begin again")
        told, again = self._times("told", number), self._times("begins", number + 1)
        passed_on, claimed = (
            datetime.fromisoformat(text).timestamp()
            for text in (self._attempt(number)["over"]["interrupted"], self._attempt(number + 1)["claimed"])
        )
        return {
            "notice heard": told - noticed,
            "passed on": passed_on - told,
            "next server there": claimed - passed_on,
            "program again": again - claimed,
            "whole": again - noticed,
        }

    def _attempt(self, number: int) -> dict[str, Any]:
        key = f"jobs/bench/server/attempts/{number}.json"
        found: dict[str, Any] = json.loads(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        return found

    def _times(self, word: str, count: int) -> float:
        """When the program has said this word for the nth time; 0 if it has not."""
        said = [line.split() for line in skylift(self._home, "logs", "bench").splitlines()]
        times = [float(line[1]) for line in said if line[0] == word]
        return times[count - 1] if len(times) >= count else 0.0

    def end(self) -> None:
        skylift(self._home, "cancel", "bench")


def until(look: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > give_up:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.2)


def report(rounds: list[dict[str, float]]) -> None:
    for step in rounds[0]:
        print(f"{step:20}{statistics.median(each[step] for each in rounds):8.2f} s")
    floors = [each["notice heard"] + each["bare boot"] for each in rounds]
    print(f"{'floor':20}{statistics.median(floors):8.2f} s: notice heard, and a bare boot")
    print(f"{'worst whole':20}{max(each['whole'] for each in rounds):8.2f} s")
    besides = [each["whole"] - floor for each, floor in zip(rounds, floors, strict=True)]
    print(f"{'besides the floor':20}{statistics.median(besides):8.2f} s")
    print(f"load {os.getloadavg()[0]:.1f}, {len(rounds)} rounds")


if __name__ == "__main__":
    main()
