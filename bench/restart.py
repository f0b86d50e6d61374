"""How long until a killed cloud is back? From the start of its process to the first answer, and to all servers adopted.

    sudo python bench/restart.py [--servers N] [--rounds N] [--other TREE] [--images-of HOME]

A cloud with N idle servers is ended by SIGKILL and its process started anew. DescribeInstances is asked from then on,
and tells of all of them; the last one is then stopped by force, which takes that it has been adopted. The floor of the
answer is Python importing the same code; that of the adoption, one look of the runtime at all servers; that of the
stop, the same on a cloud that has been up for a while. Where the time of a start goes is what the cloud's log says.

`--other` names a tree of skylift of another version, whose starts alternate with ours. Processor time is told too: it
says more than the clock on a machine that others use.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from own_cloud import add_images_option, cloud_up, environment, small_server
from ssh_way import await_banner

import skylift
from skylift.cloud.compute.server.server import find_programs
from skylift.cloud.state.home import Home

Times = dict[str, float]
"""Seconds, by what they are of."""

PACKAGE = Path(skylift.__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path, metavar="TREE", help="a directory that holds another version's `skylift`")
    add_images_option(parser)
    chosen = parser.parse_args()
    versions = {"this version": None, **({"the other version": chosen.other} if chosen.other else {})}
    with cloud_up(chosen.images_of) as home:
        crowd = Crowd(home, chosen.servers)
        for tree in versions.values():
            crowd.restart(tree)  # for whatever is slow only once, compiling above all
        rounds: dict[str, list[Times]] = {name: [] for name in versions}
        for _ in range(chosen.rounds):
            for name, tree in versions.items():
                rounds[name].append(crowd.restart(tree))
    for name, times in rounds.items():
        report(f"{name}, {chosen.servers} servers", times)


class Crowd:
    """Idle servers of one cloud, and the ends and starts of its process."""

    def __init__(self, home: Home, count: int) -> None:
        self._home = home
        self._ec2 = self._client()
        made = self._ec2.run_instances(**small_server(home, "restart"), MinCount=count, MaxCount=count)["Instances"]
        self._ids = sorted(each["InstanceId"] for each in made)
        self._until_all_run()

    def restart(self, tree: Path | None) -> Times:
        times = {f"floor: {name}": seconds for name, seconds in self._floors(tree).items()}
        self._kill()
        written = self._home.data.log.stat().st_size
        began = time.perf_counter()
        process, ready = self._start(tree)
        try:
            states = self._first_answer()
            times["first answer"] = time.perf_counter() - began
            times["processor, to the first answer"] = processor(process.pid)
            assert states == dict.fromkeys(self._ids, "running"), states
            self._ec2.stop_instances(InstanceIds=self._ids[-1:], Force=True)
            assert ready.readline() == b"ready\n"
            # It may have said so before: what is seen is when it is heard.
            times["ready"] = time.perf_counter() - began
            self._until(self._ids[-1], "stopped")
            times["a server is stopped"] = time.perf_counter() - began
        finally:
            ready.close()
        times |= self._phases(written)
        self._ec2.start_instances(InstanceIds=self._ids[-1:])
        self._until_all_run()
        return {**times, "load": os.getloadavg()[0]}

    def _floors(self, tree: Path | None) -> Times:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-P", "-c", "import skylift.cloud.main"], env=self._environment(tree), check=True
        )
        imported = time.perf_counter() - began
        began = time.perf_counter()
        state = self._run / "oci"
        command = [find_programs().runtime, "--root", str(state), "list", "--format", "json"]
        subprocess.run(command, check=True, capture_output=True)
        listed = time.perf_counter() - began
        began = time.perf_counter()
        self._ec2.stop_instances(InstanceIds=self._ids[-1:], Force=True)
        self._until(self._ids[-1], "stopped")
        stopped = time.perf_counter() - began
        self._ec2.start_instances(InstanceIds=self._ids[-1:])
        self._until_all_run()
        return {"Python imports it": imported, "the runtime lists them": listed, "a server is stopped": stopped}

    @property
    def _run(self) -> Path:
        endpoint = self._home.endpoint()
        assert endpoint is not None
        return Path("/run/skylift", endpoint.loopback.split(".")[1])

    def _environment(self, tree: Path | None) -> dict[str, str]:
        return {**environment(self._home), **({"PYTHONPATH": str(tree)} if tree else {})}

    def _start(self, tree: Path | None) -> tuple[subprocess.Popen[bytes], Any]:
        """As `skylift cloud up` starts it, which itself takes as long as any command."""
        reading, writing = os.pipe()
        module = "skylift.cloud"
        if not (tree / "skylift" if tree else PACKAGE).joinpath("cloud/__main__.py").exists():
            module = "skylift.cloud.main"
        command = [sys.executable, "-P", "-m", module, "--home", str(self._home.path), "--ready-fd", str(writing)]
        with self._home.data.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd="/",
                env=self._environment(tree),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                start_new_session=True,
            )
        os.close(writing)
        return process, os.fdopen(reading, "rb")

    def _kill(self) -> None:
        pid = self._home.running_pid()
        assert pid is not None
        descriptor = os.pidfd_open(pid)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        with suppress(ChildProcessError):
            # Of ours, but for the first.
            os.waitpid(pid, 0)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
        os.close(descriptor)

    def _client(self) -> Any:
        """It tries once: what is measured is the endpoint's time, not a pause between two tries."""
        endpoint, key = self._home.endpoint(), self._home.root_key()
        assert endpoint is not None and key is not None
        return boto3.client(
            "ec2",
            endpoint_url=endpoint.url,
            region_name=endpoint.region,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
        )

    def _first_answer(self) -> dict[str, str]:
        while True:
            try:
                return dict(self._states())
            except BotoCoreError:
                time.sleep(0.01)

    def _states(self) -> Iterator[tuple[str, str]]:
        for reservation in self._ec2.describe_instances()["Reservations"]:
            for each in reservation["Instances"]:
                yield each["InstanceId"], each["State"]["Name"]

    def _until(self, instance_id: str, state: str) -> None:
        while dict(self._states())[instance_id] != state:
            time.sleep(0.02)

    def _until_all_run(self) -> None:
        while set(dict(self._states()).values()) != {"running"}:
            time.sleep(0.1)
        for reservation in self._ec2.describe_instances()["Reservations"]:
            for each in reservation["Instances"]:
                await_banner(each["PublicIpAddress"], patience=600)

    def _phases(self, written: int) -> Times:
        """`started: modules 612 ms, ...` and `adopted: network 80 ms, ...`, in the order of the log."""
        with self._home.data.log.open("rb") as log:
            log.seek(written)
            said = log.read().decode()
        found: Times = {}
        for kind, laps in re.findall(r"(started|adopted): (.*)", said):
            found |= {f"{kind}: {name}": int(ms) / 1000 for name, ms in re.findall(r"(\w[a-z ]*) (\d+) ms", laps)}
        return found


def processor(pid: int) -> float:
    """Seconds of processor time of a process and its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def report(title: str, rounds: list[Times]) -> None:
    print(f"{title}, {len(rounds)} rounds, medians in ms (load: a number)")
    for name in rounds[0]:
        values = [each[name] for each in rounds if name in each]
        if name == "load":
            print(f"  {name:44}{statistics.median(values):8.1f}")
        else:
            print(f"  {name:44}{statistics.median(values) * 1000:8.0f}")
    for name, floor in (("first answer", "Python imports it"), ("a server is stopped", "a server is stopped")):
        ratio = statistics.median(each[name] / each[f"floor: {floor}"] for each in rounds)
        print(f"  {name + ' / floor':44}{ratio:8.2f}x")


if __name__ == "__main__":
    main()
