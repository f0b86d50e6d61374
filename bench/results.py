"""How long are results on their way home? One large file, from the end of the program to the user's disk; or many
small ones.

    sudo python bench/results.py [--size MIB | --files N] [--rounds N] [--images-of HOME]

`run` is from the end of the program to the end of `skylift run`: the server hashes and sends the file to S3, the client
fetches and checks it and takes the server down. The other ways begin with a file that is there already: `skylift
results`, `aws s3 cp` of the object (which checks nothing that it could compare), and `scp` from a server of the same
kind, each as a whole command. The floor is that file through a loopback connection to another file, hashed on the way.
`floor, durable` also waits until that file is on the disk, as S3 does before it acknowledges a part.

With --files, of 2 KiB each, the floor is `tar | ssh` from a server of the same kind, which checks and keeps nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from inputs import through_loopback
from own_cloud import SKYLIFT, add_images_option, aws_environment, client, cloud_up, environment, server_with

from skylift.cloud.state.home import Home

MIB = 1 << 20
PROGRAM = """import os, sys, time
with open("data.bin", "wb") as file:
    for _ in range(int(sys.argv[1])):
        file.write(os.urandom(1 << 20))
    os.fsync(file.fileno())
print(time.time())
"""
MANY = """import os, sys, time
os.mkdir("many")
for number in range(int(sys.argv[1])):
    with open("many/%d.bin" % number, "wb") as file:
        file.write(os.urandom(2048))
print(time.time())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--files", type=int, default=0, metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    add_images_option(parser)
    chosen = parser.parse_args()
    if chosen.files:
        return many_files(chosen)
    times: dict[str, list[float]] = {}
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as base:
        folder = Path(base)
        program = folder / "job.py"
        program.write_text(PROGRAM)
        job, steps = "", dict[str, list[float]]()
        for _ in range(chosen.rounds):
            job, seconds, fetched = run(home, folder, chosen.size)
            times.setdefault("run", []).append(seconds)
            steps.setdefault("fetching", []).append(fetched)
        ssh = server_with(home, folder, program)
        subprocess.run([*ssh, "python3", program.name, str(chosen.size)], check=True)
        data = folder / "data.bin"
        known = digest(data)
        for _ in range(chosen.rounds):
            times.setdefault("floor", []).append(through_loopback(data))
            times.setdefault("floor, durable", []).append(through_loopback(data, durable=True))
            for way, command in ways(home, job, ssh).items():
                times.setdefault(way, []).append(fetched_by(home, data, command))
                # scp's is what the other server has made.
                if way != "scp" and digest(data) != known:
                    raise SystemExit(f"{way} brought something else")
    print(f"{chosen.size} MiB, {chosen.rounds} rounds, medians; load {os.getloadavg()[0]:.1f} on {os.cpu_count()}")
    floor = statistics.median(times["floor"])
    for way, taken in times.items():
        seconds = statistics.median(taken)
        print(f"  {way:16}{seconds:7.2f} s{chosen.size / seconds:8.0f} MiB/s{seconds / floor:7.2f}x the floor")
    print(f"  (of `run`, {statistics.median(steps['fetching']):.2f} s are the client's fetching)")
    return None


def many_files(chosen: argparse.Namespace) -> None:
    """The ways take turns, so that what else the machine does meets all of them."""
    times: dict[str, list[float]] = {}
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as base:
        folder = Path(base)
        program = folder / "job.py"
        program.write_text(MANY)
        ssh = server_with(home, folder, program)
        subprocess.run([*ssh, "python3", program.name, str(chosen.files)], check=True)
        tar = f"{shlex.join([*ssh, 'tar', 'cf', '-', 'many'])} | tar xf -"
        for _ in range(chosen.rounds):
            job, seconds, fetched = run(home, folder, chosen.files, "many")
            times.setdefault("run", []).append(seconds)
            times.setdefault("  of it, fetching", []).append(fetched)
            for way, command in {"tar | ssh": ["sh", "-c", tar], "skylift results": [*SKYLIFT, "results", job]}.items():
                shutil.rmtree(folder / "many")
                began = time.perf_counter()
                subprocess.run(command, cwd=folder, env=environment(home), check=True, stdout=subprocess.DEVNULL)
                times.setdefault(way, []).append(time.perf_counter() - began)
                if len(list((folder / "many").iterdir())) != chosen.files:
                    raise SystemExit(f"{way} has not brought all")
            shutil.rmtree(folder / "many")
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()}"
    print(f"{chosen.files} files of 2 KiB, {chosen.rounds} rounds, medians; {load}")
    floor = statistics.median(times["tar | ssh"])
    for way, taken in times.items():
        seconds = statistics.median(taken)
        print(f"  {way:20}{seconds:7.2f} s{seconds / floor:7.2f}x the floor")


def run(home: Home, folder: Path, size: int, out: str = "data.bin") -> tuple[str, float, float]:
    (folder / "data.bin").unlink(missing_ok=True)
    command = [*SKYLIFT, "run", "--json", "--out", out, "job.py", str(size)]
    done = subprocess.run(command, cwd=folder, env=environment(home), capture_output=True, text=True, check=False)
    now = time.time()
    if done.returncode != 0:
        raise SystemExit(f"skylift run exited with {done.returncode}:\n{done.stderr}")
    told = json.loads(done.stdout)
    return told["name"], now - float(told["stdout_tail"]), told["steps"]["results"]


def ways(home: Home, job: str, ssh: Sequence[str]) -> dict[str, list[str]]:
    (bucket,) = [each["Name"] for each in client(home, "s3").list_buckets()["Buckets"]]
    url = f"s3://{bucket}/jobs/{job}/server/results/data.bin"
    aws = str(Path(sys.executable).with_name("aws"))
    return {
        "skylift results": [*SKYLIFT, "results", job],
        "aws s3 cp": [aws, "s3", "cp", "--quiet", url, "data.bin"],
        "scp": ["scp", "-q", *ssh[1:-1], f"{ssh[-1]}:data.bin", "data.bin"],
    }


def fetched_by(home: Home, data: Path, command: Sequence[str]) -> float:
    data.unlink()
    env = aws_environment(home)
    began = time.perf_counter()
    subprocess.run(command, cwd=data.parent, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
