"""Does the cloud's process grow with the jobs that it has seen? Its memory over a thousand of them.

    sudo python bench/memory.py [--cycles N] [--jobs N] [--at-once N] [--every N] [--trace FILE] [--images-of HOME]

Two kinds of lives go through one cloud, `--at-once` beside each other, and each with names of its own:

- a *cycle* is what `skylift run` asks of the endpoint for one job, with a server that boots and is terminated, without
  Python on either side of it: role, policy, profile; bundle and record; RunInstances with tags, user data and a token;
  what the supervisor asks for with the role's credentials: the record and the bundle read, status, logs and results
  written, some of them larger than what is kept in the database; the end of the server, of the role, of the objects;
- a *job* is `skylift run -- true`, whole.

After every so many of them it is looked at: the process's resident memory (PSS, and what of it is anonymous), threads,
descriptors; the database and its log; what there is of the cloud in the kernel. There is no floor but the first line;
`per life` is what is left over, by least squares, of the second half of the lines.

With `--trace` the cloud runs under tracemalloc, which makes it slower and larger; what it has allocated, and how many
objects of each type there are, is written to the file at each look.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import botocore.session
from botocore.credentials import Credentials
from own_cloud import SKYLIFT, add_images_option, client, cloud_up, environment, fresh_home, small_server

from skylift.cloud.compute.server import cgroup
from skylift.cloud.state.home import Home
from skylift.place.start import make_data

BUCKET = "memory-bench"
LARGE = 200 << 10
"""Bytes of an object that is a file beside the database."""
PATIENCE = 120.0
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--every", type=int, default=50, help="lives between two looks")
    parser.add_argument("--rest", type=float, default=0, metavar="SECONDS", help="look again after so long, at the end")
    parser.add_argument("--trace", type=Path, metavar="FILE")
    add_images_option(parser)
    chosen = parser.parse_args()
    up = traced(chosen.images_of, chosen.trace) if chosen.trace else cloud_up(chosen.images_of)
    with up as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        for what, life, number in (
            ("cycles", Cycles(home).live, chosen.cycles),
            ("jobs", Jobs(home, Path(folder)).live, chosen.jobs),
        ):
            if number:
                series = Series(home, chosen.trace)
                print(f"{number} {what}, {chosen.at_once} at a time")
                live(life, number, chosen.at_once, chosen.every, series.look)
                series.report()
        if chosen.rest:
            print(f"{chosen.rest:.0f} s of rest")
            time.sleep(chosen.rest)
            Series(home, chosen.trace).look(0)


def live(life: Callable[[int], None], number: int, at_once: int, every: int, look: Callable[[int], None]) -> None:
    """Looks when nothing is under way."""
    life(-1)  # for whatever is made only once
    look(0)
    with ThreadPoolExecutor(at_once) as pool:
        for begin in range(0, number, every):
            end = min(begin + every, number)
            list(pool.map(life, range(begin, end)))
            look(end)


class Cycles:
    """The requests of a job's life, and its server."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._local = threading.local()
        self._request = small_server(home, "memory")
        self._key = client(home, "ec2").create_key_pair(KeyName="memory", KeyType="ed25519")["KeyName"]
        client(home, "s3").create_bucket(Bucket=BUCKET)
        endpoint = home.endpoint()
        assert endpoint is not None
        self._account = endpoint.account

    def live(self, number: int) -> None:
        job = f"job-{number}-{secrets.token_hex(3)}"
        iam, s3, ec2 = (self._client(service) for service in ("iam", "s3", "ec2"))
        prefix = f"jobs/{job}"
        profile = self._make_role(iam, job, prefix)
        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/record.json", Body=json.dumps({"job": job}), IfNoneMatch="*")
        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/in/bundle.tar.gz", Body=secrets.token_bytes(LARGE))
        tags = [{"Key": "skylift:job", "Value": job}, {"Key": "Name", "Value": job}]
        instance = ec2.run_instances(
            **self._request,
            KeyName=self._key,
            MinCount=1,
            MaxCount=1,
            ClientToken=job,
            UserData=f"#!/bin/sh\n# {job} {'x' * 8000}\ntrue\n",
            IamInstanceProfile={"Arn": profile},
            InstanceInitiatedShutdownBehavior="terminate",
            MetadataOptions={"HttpTokens": "required"},
            TagSpecifications=[
                {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
            ],
        )["Instances"][0]["InstanceId"]
        self._until(ec2, instance, "running")
        self._as_supervisor(job, prefix)
        ec2.terminate_instances(InstanceIds=[instance], SkipOsShutdown=True)
        for key in ("stdout/0", "results.tar", "status.json"):
            s3.get_object(Bucket=BUCKET, Key=f"{prefix}/server/{key}")["Body"].read()
        self._until(ec2, instance, "terminated")
        self._remove_role(iam, job)
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/")["Contents"]
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": each["Key"]} for each in listed]})

    def _make_role(self, iam: Any, job: str, prefix: str) -> str:
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "ec2.amazonaws.com", "AWS": f"arn:aws:iam::{self._account}:root"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": ["s3:GetObject", "s3:PutObject"],
                    "Resource": f"arn:aws:s3:::{BUCKET}/{prefix}/*",
                },
                {
                    "Effect": "Allow",
                    "Action": ["ec2:StopInstances", "ec2:TerminateInstances"],
                    "Resource": "*",
                    "Condition": {"StringEquals": {"aws:ResourceTag/skylift:job": job}},
                },
            ],
        }
        iam.create_role(RoleName=job, Path="/memory/", AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=job, PolicyName="job", PolicyDocument=json.dumps(policy))
        profile = iam.create_instance_profile(InstanceProfileName=job, Path="/memory/")["InstanceProfile"]
        iam.add_role_to_instance_profile(InstanceProfileName=job, RoleName=job)
        return str(profile["Arn"])

    def _remove_role(self, iam: Any, job: str) -> None:
        iam.remove_role_from_instance_profile(InstanceProfileName=job, RoleName=job)
        iam.delete_instance_profile(InstanceProfileName=job)
        iam.delete_role_policy(RoleName=job, PolicyName="job")
        iam.delete_role(RoleName=job)

    def _as_supervisor(self, job: str, prefix: str) -> None:
        role = f"arn:aws:iam::{self._account}:role/memory/{job}"
        given = self._client("sts").assume_role(RoleArn=role, RoleSessionName=job)["Credentials"]
        s3, credentials = self._of_the_role
        credentials.access_key, credentials.secret_key = given["AccessKeyId"], given["SecretAccessKey"]
        credentials.token = given["SessionToken"]
        for key in ("record.json", "in/bundle.tar.gz"):
            s3.get_object(Bucket=BUCKET, Key=f"{prefix}/{key}")["Body"].read()
        for key, size in (("stdout/0", 100), ("stderr/0", 10), ("results.tar", LARGE), ("status.json", 200)):
            s3.put_object(Bucket=BUCKET, Key=f"{prefix}/server/{key}", Body=secrets.token_bytes(size))

    def _until(self, ec2: Any, instance: str, state: str) -> None:
        give_up = time.monotonic() + PATIENCE
        while True:
            asked = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
            if asked["State"]["Name"] == state:
                return
            if time.monotonic() > give_up:
                raise SystemExit(f"{instance} is not {state} after {PATIENCE} s but {asked['State']['Name']}")
            # Nearly nothing, so that who waits does not take the processor from who works.
            time.sleep(0.2)

    def _client(self, service: str) -> Any:
        """This thread's own."""
        clients: dict[str, Any] = self._local.__dict__.setdefault("clients", {})
        if service not in clients:
            clients[service] = client(self._home, service)
        return clients[service]

    @property
    def _of_the_role(self) -> tuple[Any, Credentials]:
        """This thread's client, and the credentials that it signs with: a client of its own for each job would take
        longer than the job's requests."""
        if not hasattr(self._local, "of_the_role"):
            credentials = Credentials("", "")
            session = botocore.session.get_session()
            session._credentials = credentials
            endpoint = self._home.endpoint()
            assert endpoint is not None
            s3 = session.create_client("s3", endpoint_url=endpoint.url, region_name=endpoint.region)
            self._local.of_the_role = s3, credentials
        found: tuple[Any, Credentials] = self._local.of_the_role
        return found


class Jobs:
    """Whole jobs, by the command line."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home, self._folder = home, folder

    def live(self, number: int) -> None:
        done = subprocess.run(
            [*SKYLIFT, "run", "--quiet", "--", "true"],
            cwd=self._folder,
            env=environment(self._home),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise SystemExit(f"job {number} exited with {done.returncode}:\n{done.stderr}")


@dataclass(frozen=True)
class Sample:
    rss: float
    pss: float
    anonymous: float
    threads: int
    descriptors: int
    database: float
    log: float
    namespaces: int
    mounts: int
    groups: int
    instances: int


class Series:
    def __init__(self, home: Home, trace: Path | None) -> None:
        self._home, self._trace = home, trace
        self._samples: list[tuple[int, Sample]] = []
        self._began = time.monotonic()

    def look(self, lives: int) -> None:
        if not self._samples:
            print("   lives    min " + " ".join(f"{one.name:>11}" for one in fields(Sample)))
        if self._trace:
            ask_for_trace(self._home, self._trace)
        sample = look(self._home)
        self._samples.append((lives, sample))
        values = (getattr(sample, one.name) for one in fields(Sample))
        shown = " ".join(f"{value:11.1f}" if isinstance(value, float) else f"{value:11}" for value in values)
        print(f"  {lives:6} {(time.monotonic() - self._began) / 60:6.1f} {shown}", flush=True)

    def report(self) -> None:
        late = self._samples[len(self._samples) // 2 :]
        for name in ("rss", "pss", "anonymous"):
            print(f"  {name}, per life: {slope([(lives, getattr(one, name)) for lives, one in late]) * 1024:.1f} KiB")


def slope(points: list[tuple[int, float]]) -> float:
    """By least squares."""
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return float(above / sum((x - mean_x) ** 2 for x, _ in points))


def look(home: Home) -> Sample:
    endpoint = home.endpoint()
    assert endpoint is not None
    process = Path(f"/proc/{endpoint.pid}")
    memory = dict(line.split(":", 1) for line in (process / "smaps_rollup").read_text().splitlines()[1:])
    number = endpoint.loopback.split(".")[1]
    rss, pss, anonymous = (int(memory[name].split()[0]) / 1024 for name in ("Rss", "Pss", "Anonymous"))
    database = home.data.database
    return Sample(
        rss=rss,
        pss=pss,
        anonymous=anonymous,
        threads=len(list((process / "task").iterdir())),
        descriptors=len(list((process / "fd").iterdir())),
        database=size_of(database) / MIB,
        log=size_of(database.with_name(f"{database.name}-wal")) / MIB,
        namespaces=len(list(Path("/run/netns").glob(f"skylift-{number}-*"))),
        mounts=sum(f"/skylift/{number}/" in line for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        groups=len({each.name for place in cgroup.hierarchies() for each in (place / f"skylift/{number}").glob("i-*")}),
        instances=kept_instances(home),
    )


def kept_instances(home: Home) -> int:
    """Rows, terminated ones as well. Not by a request: its answer would be the largest that the cloud ever gave."""
    with closing(sqlite3.connect(f"{home.data.database.as_uri()}?mode=ro", uri=True)) as connection:
        found: int = connection.execute("SELECT count(*) FROM instances").fetchone()[0]
    return found


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@contextmanager
def traced(images_of: Path, trace: Path) -> Iterator[Home]:
    """A cloud whose process tells what it holds (traced_cloud.py)."""
    with fresh_home(images_of) as home:
        make_data(home)
        reading, writing = os.pipe()
        own = [sys.executable, "-P", str(Path(__file__).with_name("traced_cloud.py")), str(trace.resolve())]
        process = subprocess.Popen(
            [*own, "--home", str(home.path), "--ready-fd", str(writing)], env=environment(home), pass_fds=[writing]
        )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = pipe.readline()
        if answer.strip() != "ready":
            raise SystemExit(f"the cloud did not start: {answer}")
        try:
            yield home
        finally:
            process.terminate()
            process.wait()


def ask_for_trace(home: Home, trace: Path) -> None:
    """Returns when it is written."""
    endpoint = home.endpoint()
    assert endpoint is not None
    before = size_of(trace)
    os.kill(endpoint.pid, signal.SIGUSR1)
    give_up = time.monotonic() + PATIENCE
    while size_of(trace) == before and time.monotonic() < give_up:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
