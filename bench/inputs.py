"""What does the second run with the same inputs save? A large input and code, first sent, then found again; or many
small ones.

    sudo python bench/inputs.py [--size MIB | --files N] [--rounds N] [--images-of HOME]

Each round is a cloud of its own: a first run, one with nothing changed, one with other code, and one that takes the
input from S3. Beside them stands the floor of what none can do without: reading and hashing the input here, and
fetching it there, which is a copy through a loopback connection to another file, hashed on the way.

With --files, of 2 KiB each, what they add to a run is the whole command less the whole of one without them. The floor
is `tar | ssh` to a server of the same kind, which checks and keeps nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from own_cloud import SKYLIFT, add_images_option, client, cloud_up, environment, server_with

from skylift.cloud.state.home import Home

MIB = 1 << 20
CODE = "import os\nprint(os.path.getsize('data.bin'))\n"
COUNT = """import os, sys
found = [each for each in os.scandir("many")] if os.path.isdir("many") else []
sys.exit(0 if len(found) == %d and all(each.stat().st_size == 2048 for each in found) else 1)
"""
Times = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--files", type=int, default=0, metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    add_images_option(parser)
    chosen = parser.parse_args()
    if chosen.files:
        return many_files(chosen)
    runs: dict[str, list[Times]] = {}
    floors: list[Times] = []
    for _ in range(chosen.rounds):
        with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-inputs-") as folder:
            round_of(home, Path(folder), chosen.size, runs, floors)
    print(f"{chosen.size} MiB, {chosen.rounds} rounds, medians in seconds")
    report("floor", floors)
    for name, times in runs.items():
        report(name, times)
    return None


def many_files(chosen: argparse.Namespace) -> None:
    """The ways take turns, so that what else the machine does meets all of them."""
    count, runs, floors = chosen.files, dict[str, list[Times]](), list[float]()
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-inputs-") as base:
        folder, many = Path(base), Path(base, "many")
        (folder / "nothing.py").write_text("pass\n")
        ssh = server_with(home, folder, folder / "nothing.py")
        run(home, folder, "pass", [])  # the network, the key and the bucket
        for _ in range(chosen.rounds):
            shutil.rmtree(many, ignore_errors=True)
            many.mkdir()
            for number in range(count):
                (many / f"{number}.bin").write_bytes(os.urandom(2048))
            there = shlex.join([*ssh, "rm -rf there && mkdir there && tar xf - -C there"])
            subprocess.run([*ssh, "true"], check=True)
            began = time.perf_counter()
            subprocess.run(["sh", "-c", f"tar cf - many | {there}"], cwd=folder, check=True)
            floors.append(time.perf_counter() - began)
            runs.setdefault("without", []).append(run(home, folder, COUNT % 0, []))
            runs.setdefault("first", []).append(run(home, folder, COUNT % count, ["--in", "many"]))
            runs.setdefault("again", []).append(run(home, folder, COUNT % count, ["--in", "many"]))
            (many / "7.bin").write_bytes(os.urandom(2048))
            runs.setdefault("one changed", []).append(run(home, folder, COUNT % count, ["--in", "many"]))
    floor = statistics.median(floors)
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()}"
    print(f"{count} files of 2 KiB, {chosen.rounds} rounds, medians in seconds; {load}")
    print(f"  tar | ssh   {floor:.2f}")
    bare = statistics.median(each["whole"] for each in runs["without"])
    for name, times in runs.items():
        report(name, times)
        more = statistics.median(each["whole"] for each in times) - bare
        if name != "without":
            print(f"  {'':12}{more:.2f} more than without: {more / floor:.2f}x the floor")


def round_of(home: Home, folder: Path, size: int, runs: dict[str, list[Times]], floors: list[Times]) -> None:
    data = folder / "data.bin"
    with data.open("wb") as file:
        for _ in range(size):
            file.write(os.urandom(MIB))
    run(home, folder, "pass", [])  # the network, the key and the bucket
    local = ["--in", "data.bin"]
    for name, code in (("first", CODE), ("again", CODE), ("other code", f"{CODE}print('new')\n")):
        floors.append(floor(data))
        runs.setdefault(name, []).append(run(home, folder, code, local))
    s3 = client(home, "s3")
    s3.create_bucket(Bucket="bench-inputs")
    s3.upload_file(str(data), "bench-inputs", "data.bin")
    data.unlink()
    runs.setdefault("from S3", []).append(run(home, folder, CODE, ["--in", "s3://bench-inputs/data.bin"]))


def floor(data: Path) -> Times:
    began = time.perf_counter()
    with data.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    hashed = time.perf_counter() - began
    return {"hash here": hashed, "fetch and hash there": through_loopback(data)}


def through_loopback(data: Path, *, durable: bool = False) -> float:
    """From a file through a connection to another file, hashed on the way. `durable` waits for the disk as well."""
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile() as target:

        def send() -> None:
            connection, _ = server.accept()
            with connection, data.open("rb") as file:
                connection.sendfile(file)

        began = time.perf_counter()
        sender = threading.Thread(target=send)
        sender.start()
        with socket.create_connection(server.getsockname()) as connection:
            digest = hashlib.sha256()
            while piece := connection.recv(MIB):
                target.write(piece)
                digest.update(piece)
        sender.join()
        if durable:
            target.flush()
            os.fsync(target.fileno())
        return time.perf_counter() - began


def run(home: Home, folder: Path, code: str, options: list[str]) -> Times:
    (folder / "job.py").write_text(code)
    command = [*SKYLIFT, "run", "--json", "--type", "m7i.large", *options, "job.py"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(home), capture_output=True, text=True, check=False)
    whole = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"skylift run exited with {done.returncode}:\n{done.stderr}")
    steps: Times = json.loads(done.stdout)["steps"]
    return {"check": steps["check"], "upload": steps["upload"], "whole": whole}


def report(name: str, times: list[Times]) -> None:
    shown = ", ".join(f"{step} {statistics.median(each[step] for each in times):.2f}" for step in times[0])
    print(f"  {name:12}{shown}")


if __name__ == "__main__":
    main()
