"""Three ways to a hello from a server: `skylift run`, the chapter's steps with the AWS CLI, apache-libcloud.

    sudo python bench/ways.py [--rounds N] [--aws PATH] [--images-of HOME]

All three ask the same cloud, from nothing to the program's output to nothing left, and say how long each step took.
`skylift run` is there three times: the first ever, again with the same code (its network, key and bucket are found),
and on a server that the run before has kept. Needs an AWS CLI, and apache-libcloud with paramiko in this environment
(`pip install awscli apache-libcloud paramiko`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from own_cloud import EXAMPLES, SKYLIFT, add_images_option, aws_environment, cloud_up

HERE = Path(__file__).parent


Steps = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--aws", default=str(Path(sys.executable).with_name("aws")), metavar="PATH", help="an AWS CLI")
    add_images_option(parser)
    chosen = parser.parse_args()
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory() as work:
        endpoint, key = home.endpoint(), home.root_key()
        assert endpoint is not None and key is not None
        env = aws_environment(home) | {"AWS": chosen.aws, "CIDR": f"{endpoint.loopback}/32"}
        run = (*SKYLIFT, "run", "--json")
        hello = str(EXAMPLES / "hello.py")
        ways: dict[str, Sequence[str]] = {
            "skylift run, unchanged": (*run, "--fresh", hello),
            "skylift run, kept server": (*run, "--keep", "10m", hello),
            "the AWS CLI by hand": (str(HERE / "by_hand.sh"),),
            "apache-libcloud": (
                *(sys.executable, str(HERE / "libcloud_job.py"), endpoint.url, key.access_key_id),
                *(key.secret_access_key, endpoint.region, f"{endpoint.loopback}/32", work),
            ),
        }
        first = measured((*run, hello), env)
        measured(ways["skylift run, kept server"], env)
        rounds = [{name: measured(command, env) for name, command in ways.items()} for _ in range(chosen.rounds)]
    version = subprocess.run([chosen.aws, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]
    print(
        f"{chosen.rounds} rounds, medians in s; {version}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    report("skylift run, first ever", [first], [first])
    for name in ways:
        report(name, [each[name] for each in rounds], [each["skylift run, unchanged"] for each in rounds])


def measured(command: Sequence[str], env: dict[str, str]) -> Steps:
    """Seconds by step, and of the whole."""
    began = time.perf_counter()
    done = subprocess.run(command, env=env, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - began
    if done.returncode != 0 or "ello" not in done.stdout:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    if "--json" in command:
        steps: Steps = json.loads(done.stdout)["steps"]
    else:
        told = re.findall(r"^step (.*): (\d+) us$", done.stderr, re.MULTILINE)
        steps = {name: int(microseconds) / 1e6 for name, microseconds in told}
    return {**steps, "whole": whole}


def report(name: str, ours: list[Steps], least: list[Steps]) -> None:
    ratio = statistics.median(one["whole"] / other["whole"] for one, other in zip(ours, least, strict=True))
    medians = {step: statistics.median(each.get(step, 0.0) for each in ours) for step in ours[-1]}
    print(f"  {name:26}{medians.pop('whole'):7.2f}{ratio:7.1f}x  ", end="")
    print(", ".join(f"{step} {seconds:.2f}" for step, seconds in medians.items()))


if __name__ == "__main__":
    main()
