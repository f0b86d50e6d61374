"""Interrupts one spot job again and again at random moments, and looks whether anything of its work is lost.

    python tests/interrupted.py                       # ten times; five minutes or so; needs root
    python tests/interrupted.py --times 3 --seed 7

The job is examples/spot/primes.py. Each of its servers is given notice some seconds after the program has begun there;
the notice is of 10 to 120 seconds. In the end the number has to be right, each block counted once and in order, the
log whole, and nothing left: no server, no fleet, no template, no role. Ends with exit code 1 at the first thing that
is wrong.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.real_cloud import RealCloud, real_cloud
from support.real_server import until
from support.running_job import jobs
from support.soak_options import options

EXAMPLE = Path(__file__).parents[1] / "examples/spot/primes.py"
TOP, PRIMES, BLOCK = 20_000_000_000, 882_206_716, 2_000_000
LONGEST = 5.0
"""Seconds after which a program that has begun is interrupted."""
PATIENCE = 900.0
"""The job alone computes for five minutes."""


class Wrong(Exception):
    """What must not be."""


def main() -> int:
    with (
        options(None, "Interrupts one spot job again and again", "times", 10) as chosen,
        real_cloud(chosen.images) as cloud,
    ):
        try:
            interrupt(cloud, random.Random(chosen.seed), chosen.times)
        except Wrong as wrong:
            print(f"WRONG: {wrong}")
            return 1
    return 0


def interrupt(cloud: RealCloud, chance: random.Random, times: int) -> None:
    began = time.monotonic()
    with (cloud.work / "stdout").open("wb") as out, (cloud.work / "stderr").open("wb") as err:
        spot = ("--spot", "--checkpoint", "state.json", "--out", "primes.json", "--name", "primes")
        client = cloud.popen("run", *spot, str(EXAMPLE), str(TOP), cwd=cloud.work, stdout=out, stderr=err)
        for number in range(1, times + 1):
            server = until(lambda n=number: client.poll() is None and running(cloud, n), f"attempt {number}", PATIENCE)
            time.sleep(chance.uniform(0, LONGEST))
            seconds = chance.randint(10, 120)
            cloud.skylift("cloud", "interrupt", server, "--in", f"{seconds}s")
            print(f"{time.monotonic() - began:6.1f} s: {server} has {seconds} s", flush=True)
        code = client.wait(PATIENCE)
    words = (cloud.work / "stderr").read_text()
    check(code == 0, f"exit code {code}\n{words}")
    lines = (cloud.work / "stdout").read_text().splitlines()
    begins = [line for line in lines if line.startswith("attempt")]
    check(len(begins) == times + 1, f"{len(begins)} attempts: {begins}\n{words}")
    counted = [int(line.split()[-1]) for line in lines if "primes below" in line]
    check(counted == list(range(BLOCK, TOP + 1, BLOCK)), f"blocks lost or done twice: {lines}")
    found = json.loads((cloud.work / "primes.json").read_text())
    check(found == {"below": TOP, "primes": PRIMES}, f"the wrong number: {found}")
    until(lambda: not left(cloud), "nothing to be left", 60)
    print(f"{time.monotonic() - began:6.1f} s: {found['primes']} primes, {times} interruptions, nothing lost")


def running(cloud: RealCloud, attempt: int) -> str | None:
    """The server of this attempt, once the program runs there."""
    for each in jobs(cloud):
        if each["attempt"] == attempt and each["state"] == "running":
            return str(each["instance"])
    return None


def left(cloud: RealCloud) -> list[Any]:
    states = [{"Name": "fleet-state", "Values": ["submitted", "active", "modifying"]}]
    return [
        *jobs(cloud),
        *cloud.ec2.describe_fleets(Filters=states)["Fleets"],
        *cloud.ec2.describe_launch_templates()["LaunchTemplates"],
        *cloud.job_roles(),
    ]


def check(holds: bool, wrong: str) -> None:
    if not holds:
        raise Wrong(wrong)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"WRONG: {error}")
