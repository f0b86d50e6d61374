"""How long does the smallest job take? `skylift run examples/hello.py`, the first ever and the next ones.

    sudo python bench/run.py [--homes N] [--again N] [--images-of HOME]

Each home is a cloud of its own that has just come up: the first run makes the network, the key, the bucket and the
permissions boundary, the next ones find them. The floor is what nobody could leave out: Python with the two libraries
that talk to EC2 and SSH, and the boot of a bare server (see bare_server.py) to the output of a command. It is measured
beside each run. Shown are medians, and the median of each pair's ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from bare_server import BareServer, bare_server
from own_cloud import EXAMPLES, SKYLIFT, add_images_option, cloud_up, environment

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.state.home import Home

Times = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--homes", type=int, default=5)
    parser.add_argument("--again", type=int, default=4, help="further runs in each home")
    add_images_option(parser)
    chosen = parser.parse_args()
    first: list[tuple[Times, Times]] = []
    again: list[tuple[Times, Times]] = []
    for _ in range(chosen.homes):
        with cloud_up(chosen.images_of) as home:
            image = default_image(home.data)
            assert image is not None
            with bare_server(image.root, home) as server:
                first.append((floor(server), run(home)))
                again += [(floor(server), run(home)) for _ in range(chosen.again)]
    report("first ever", first)
    report("again", again)


def floor(server: BareServer) -> Times:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import boto3"], check=True)
    imported = time.perf_counter() - began
    booted = server.measure()["output"]
    return {"import boto3": imported, "boot and a command": booted, "whole": imported + booted}


def run(home: Home) -> Times:
    """`start` is what is neither a step nor between two of them: Python, imports, and planning the job; `end` what
    comes after the results: taking the server and its role away."""
    command = [*SKYLIFT, "run", "--json", "examples/hello.py"]
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=EXAMPLES.parent, env=environment(home), capture_output=True, text=True, check=False
    )
    whole = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"skylift run exited with {done.returncode}:\n{done.stderr}")
    told = json.loads(done.stdout)
    return {
        "outside the run": whole - told["watched_seconds"],
        **told["steps"],
        "the run itself": told["watched_seconds"],
        "whole": whole,
    }


def report(title: str, pairs: list[tuple[Times, Times]]) -> None:
    ratio = statistics.median(ours["whole"] / least["whole"] for least, ours in pairs)
    print(f"{title}: {len(pairs)} runs, medians in ms, {ratio:.2f}x the floor")
    for name, times in (("floor", [least for least, _ in pairs]), ("skylift run", [ours for _, ours in pairs])):
        print(f"  {name}")
        for step in times[-1]:
            print(f"    {step:24}{statistics.median(each[step] for each in times) * 1000:7.0f}")


if __name__ == "__main__":
    main()
