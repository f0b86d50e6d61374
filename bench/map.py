"""What does `skylift map` add to a tiny input? A thousand of them on one server.

    sudo python bench/map.py [--rounds N] [--inputs N] [--type TYPE] [--images-of HOME]

In each round, on servers of the same type, with as many at a time as it has processors, and the same command each:
`map` runs a map's inputs, from the start of the first one to the last entry of its log; `dask` has a plain LocalCluster
start the same processes, as many in a task as a map hands out at most, and one in a task; `xargs` is `xargs -P`. Shown
are medians for each input, and the ratio of `map` to each, as the median of the rounds' ratios. `whole` is all of
`skylift map`, from outside: a server's start, its environment and its end as well.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from own_cloud import SKYLIFT, add_images_option, client, cloud_up, environment

from skylift.cloud.state.home import Home
from skylift.runner.map.coordinator import MOST_IN_A_BATCH
from skylift.runner.map.keys import MapKeys
from skylift.runner.map.outcome import MapLog

Times = dict[str, float]
PROGRAM = "import sys\nassert sys.argv[1]\n"
FLOOR = """# /// script
# dependencies = ["distributed"]
# ///
import json, os, subprocess, sys, time
from dask.distributed import Client, LocalCluster

COUNT, BATCH = int(sys.argv[1]), int(sys.argv[2])
COMMAND = ["python3", "job.py"]
PATH = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"}
AT_A_TIME = os.cpu_count() or 1


def run(numbers):
    return [subprocess.run([*COMMAND, str(number)], env=PATH, capture_output=True).returncode for number in numbers]


def by_dask(client, size):
    began = time.monotonic()
    pieces = [list(range(first, min(first + size, COUNT))) for first in range(0, COUNT, size)]
    codes = [code for each in client.gather(client.map(run, pieces, pure=False)) for code in each]
    assert codes == [0] * COUNT
    return time.monotonic() - began


def by_xargs():
    began = time.monotonic()
    words = "\\n".join(map(str, range(COUNT))).encode()
    subprocess.run(["xargs", "-n", "1", "-P", str(AT_A_TIME), *COMMAND], input=words, env=PATH, check=True)
    return time.monotonic() - began


open("job.py", "w").write("import sys\\nassert sys.argv[1]\\n")
with LocalCluster(1, threads_per_worker=AT_A_TIME, processes=False, dashboard_address=None) as cluster:
    with Client(cluster) as client:
        run(range(10))
        print(json.dumps({"dask": by_dask(client, BATCH), "dask, singly": by_dask(client, 1), "xargs": by_xargs()}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--type", default="t3.small")
    add_images_option(parser)
    chosen = parser.parse_args()
    found: dict[str, list[float]] = {}
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        work = Path(folder)
        (work / "job.py").write_text(PROGRAM)
        (work / "floor.py").write_text(FLOOR)
        # The first of each makes an environment that the others take from the bucket.
        by_map(home, work, chosen.type, 1)
        floor(home, work, chosen.type, 1)
        for _ in range(chosen.rounds):
            for times in (
                by_map(home, work, chosen.type, chosen.inputs),
                floor(home, work, chosen.type, chosen.inputs),
            ):
                for title, seconds in times.items():
                    found.setdefault(title, []).append(seconds)
    report(found, chosen.inputs, chosen.rounds)


def by_map(home: Home, folder: Path, kind: str, count: int) -> Times:
    name, started = f"map-{secrets.token_hex(4)}", time.monotonic()
    skylift(home, folder, "map", "-q", "--name", name, "--type", kind, "--range", f"1..{count}", "job.py")
    whole = time.monotonic() - started
    s3, log, keys = client(home, "s3"), MapLog(), MapKeys(name)
    (bucket,) = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=keys.log):
        log.read(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in page["Contents"])
    assert len(log.outcomes) == count
    assert log.last is not None
    began = min(each.started for each in log.outcomes.values() if each.started is not None)
    return {"map": log.last - began, "whole": whole}


def floor(home: Home, folder: Path, kind: str, count: int) -> Times:
    said = skylift(home, folder, "run", "-q", "--type", kind, "floor.py", str(count), str(MOST_IN_A_BATCH))
    times: Times = json.loads(said)
    return times


def skylift(home: Home, folder: Path, *words: str) -> str:
    done = subprocess.run(
        [*SKYLIFT, *words], cwd=folder, env=environment(home), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"skylift {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def report(found: dict[str, list[float]], count: int, rounds: int) -> None:
    print(f"{rounds} rounds of {count} inputs; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for title, times in found.items():
        line = f"{title:14}{statistics.median(times) / count * 1000:8.2f} ms an input"
        if title not in ("map", "whole"):
            ratios = [ours / theirs for ours, theirs in zip(found["map"], times, strict=True)]
            line += f"   map takes {statistics.median(ratios):.2f} times as long"
        print(line)


if __name__ == "__main__":
    main()
