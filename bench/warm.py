"""What is saved by what is there already? The smallest job and one with numpy and pandas, from nothing and again.

    sudo python bench/warm.py [--rounds N] [--plain | --second] [--images-of HOME]

In each round: `cold` starts a server; `warm` has the one that the run before has kept. With packages, `built` makes its
environment from the package index (for which what the bucket has is removed first, and each image of an environment),
`taken` has it from the bucket on a new server, for which the image is named, `imaged` starts a new server from the
image that `built` has made (and waited for), and `kept` finds it on a kept one. With `--plain` these four are left out;
with `--second` all but the last two are, once the first round has built the environment.

Shown are medians of the whole command, from outside, and of its steps; and what a fresh server takes of a kept one's
time, as the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from own_cloud import EXAMPLES, SKYLIFT, add_images_option, client, cloud_up, environment, skylift

from skylift.cloud.state.home import Home

Times = dict[str, float]
PACKAGES = "numpy==2.2.6\npandas==2.3.3\n"
SECOND = ("packages, imaged", "packages, kept")
PROGRAM = "import numpy, pandas\nprint(numpy.__version__, pandas.__version__)\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="only the smallest job")
    parser.add_argument("--second", action="store_true", help="only second runs of the job with packages")
    add_images_option(parser)
    chosen = parser.parse_args()
    found: dict[str, list[Times]] = {}
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        plain, packages = Path(folder, "plain"), Path(folder, "packages")
        for each in (plain, packages):
            each.mkdir()
        (plain / "job.py").write_text((EXAMPLES / "hello.py").read_text())
        (packages / "job.py").write_text(PROGRAM)
        (packages / "requirements.txt").write_text(PACKAGES)
        run(home, plain, "--fresh")
        base = client(home, "ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        for number in range(chosen.rounds):
            if number == 0 or not chosen.second:
                forget_environments(home)
            for title, where, options in (
                ("hello, cold", plain, ("--fresh",)),
                ("hello, warm", plain, ()),
                ("packages, built", packages, ("--fresh",)),
                ("packages, taken", packages, ("--fresh", "--image", base)),
                ("packages, imaged", packages, ("--fresh",)),
                ("packages, kept", packages, ()),
            ):
                if chosen.plain and where is packages:
                    continue
                first = number == 0 and title == "packages, built"
                if chosen.second and not (first or title in SECOND):
                    continue
                if "--fresh" in options:
                    # No run has to share the machine with a server that another one has left.
                    end_all(home)
                found.setdefault(title, []).append(run(home, where, *options))
    print(f"{chosen.rounds} rounds, medians in ms; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for title, times in found.items():
        report(title, times)
    if not chosen.plain:
        for title in ("packages, imaged", "packages, taken"):
            if title in found:
                compare(title, found[title], found["packages, kept"])


def forget_environments(home: Home) -> None:
    s3 = client(home, "s3")
    (bucket,) = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    for each in s3.list_objects_v2(Bucket=bucket, Prefix="envs/").get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=each["Key"])
    ec2 = client(home, "ec2")
    for image in ec2.describe_images(Owners=["self"])["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"], DeleteAssociatedSnapshots=True)


def end_all(home: Home) -> None:
    for each in json.loads(skylift(home, "ps", "--json")):
        skylift(home, "cancel", each["name"])


def run(home: Home, folder: Path, *options: str) -> Times:
    """Each keeps its server, so that none has to wait until that is gone."""
    began = time.perf_counter()
    done = subprocess.run(
        [*SKYLIFT, "run", "--json", "--keep", "10m", *options, "job.py"],
        cwd=folder,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    whole = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"skylift run exited with {done.returncode}:\n{done.stderr}")
    return {**json.loads(done.stdout)["steps"], "whole": whole}


def report(title: str, times: list[Times]) -> None:
    steps = {step: statistics.median(each[step] for each in times if step in each) for step in times[-1]}
    print(f"{title:18}" + "  ".join(f"{step} {seconds * 1000:.0f}" for step, seconds in steps.items()))


def compare(name: str, fresh: list[Times], kept: list[Times]) -> None:
    """Of the second run of a job with packages: the program, that with its environment, and the whole command."""
    for title, steps in (
        ("program", ("program",)),
        ("environment and program", ("environment", "program")),
        ("whole", ("whole",)),
    ):
        pairs = [
            sum(one[step] for step in steps) / sum(other.get(step, 0) for step in steps)
            for one, other in zip(fresh, kept, strict=True)
        ]
        print(f"{name} / kept, {title}: {statistics.median(pairs):.2f}")


if __name__ == "__main__":
    main()
