"""What does an answer cost the endpoint? Processor time and time of signed requests, without boto3 in the way.

    python bench/answers.py [--rounds N] [--against TREE] [--only TEXT]

The endpoint runs with its services and store and nothing behind it (beside_moto.py). `TREE` is another checkout of
this repository, whose endpoint is asked the same in turns: rounds alternate, and who goes first. The floor is
stub_server.py, which sends the same answers and looks at nothing. Processor time is that of the server's process with
all of its threads: it means something on a busy machine, too. Other work only adds to either, by waiting and by caches
that it fills: shown is the first quartile of the rounds, and the ratios of these.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from beside_moto import HERE, REGION, SMALL, Server, skylift
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SERVERS, KEYS = 10, 100
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True)
class Ask:
    """One kind of request, and how often a round sends it. Its body is `unit`, so many times in a row."""

    service: str
    method: str
    path: str
    unit: bytes = b""
    times: int = 40
    units: int = 1

    @property
    def body(self) -> bytes:
        """Made when it is sent: a large one is no burden to whoever asks for something else."""
        return self.unit * self.units


ASKED = {
    "GetCallerIdentity": Ask("sts", "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15"),
    f"DescribeInstances of {SERVERS}": Ask("ec2", "POST", "/", b"Action=DescribeInstances&Version=2016-11-15"),
    "GET of 1 KiB": Ask("s3", "GET", "/bench/small"),
    "PUT of 1 KiB": Ask("s3", "PUT", "/bench/put", SMALL),
    f"ListObjectsV2 of {KEYS}": Ask("s3", "GET", "/bench?list-type=2&prefix=many%2F"),
    "DescribeInstanceTypes, 100 of them": Ask(
        "ec2", "POST", "/", b"Action=DescribeInstanceTypes&MaxResults=100&Version=2016-11-15", times=4
    ),
    "PUT of 64 MiB": Ask("s3", "PUT", "/bench/large", SMALL, times=1, units=65536),
    "PUT of 256 MiB": Ask("s3", "PUT", "/bench/large", SMALL, times=1, units=262144),
}


class Side:
    """One endpoint, and a connection to it."""

    def __init__(self, url: str, key: Credentials, pid: int) -> None:
        place = urlsplit(url)
        self._url, self._key, self._host, self._pid = url, key, place.netloc, pid
        self._socket = socket.create_connection((str(place.hostname), place.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def measure(self, ask: Ask) -> tuple[float, float]:
        """Milliseconds of the server's processor and of time, of one request among many."""
        requests = [self._signed(ask) for _ in range(ask.times)]
        taken, before = [], self._processor_time()
        for request in requests:
            began = time.perf_counter()
            self._send(request)
            taken.append(time.perf_counter() - began)
        return (self._processor_time() - before) / ask.times / 1e6, statistics.median(taken) * 1e3

    def answer(self, ask: Ask) -> bytes:
        return self._send(self._signed(ask))

    def _processor_time(self) -> int:
        """Nanoseconds. The number of a process's clock is made as clock_getcpuclockid(3) makes it."""
        return time.clock_gettime_ns((~self._pid << 3) | 2)

    def _signed(self, ask: Ask) -> bytes:
        body = ask.body
        request = AWSRequest(ask.method, self._url + ask.path, headers=FORM if ask.method == "POST" else {}, data=body)
        signer = S3SigV4Auth if ask.service == "s3" else SigV4Auth
        signer(self._key, ask.service, REGION).add_auth(request)  # type: ignore[no-untyped-call]
        headers = {"Host": self._host, "Content-Length": str(len(body)), **dict(request.headers.items())}
        lines = [f"{ask.method} {ask.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _send(self, request: bytes) -> bytes:
        self._socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))[15:])
        while len(body) < length:
            body += self._more()
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit((head + b"\n" + body).decode())
        return body

    def _more(self) -> bytes:
        piece = self._socket.recv(1 << 20)
        if not piece:
            raise SystemExit("the server has closed the connection")
        return piece


@contextmanager
def endpoint_of(tree: Path) -> Iterator[Side]:
    """The endpoint of a checkout, with what is asked for in it."""
    with (
        tempfile.TemporaryDirectory(prefix="answers-") as directory,
        skylift(Path(directory), tree=tree.resolve()) as server,
    ):
        fill(server)
        yield side_of(server)


def side_of(server: Server) -> Side:
    url, key, secret = server.address
    return Side(url, Credentials(key, secret), server.pid)


def fill(server: Server) -> None:
    image = server.ec2.describe_images()["Images"][0]["ImageId"]
    server.ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=SERVERS, MaxCount=SERVERS)
    server.s3.create_bucket(Bucket="bench")
    for key in ("small", *(f"many/{number:03}" for number in range(KEYS))):
        server.s3.put_object(Bucket="bench", Key=key, Body=SMALL)


@contextmanager
def floor_of(ask: Ask, answer: bytes) -> Iterator[Side]:
    with tempfile.TemporaryDirectory(prefix="answers-") as directory:
        # The stub answers a GET with the one and a POST with the other.
        for name in ("answer", "object"):
            Path(directory, name).write_bytes(answer)
        command = [sys.executable, str(HERE / "stub_server.py"), directory]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
                yield Side(url, Credentials("AKIDBENCH", "secret"), process.pid)
            finally:
                process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--against", type=Path, metavar="TREE", help="another checkout, measured in turns")
    parser.add_argument("--only", default="", metavar="TEXT", help="what has this in its name")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        sides = {"this": stack.enter_context(endpoint_of(HERE.parent))}
        if chosen.against:
            sides["other"] = stack.enter_context(endpoint_of(chosen.against))
        print(f"{chosen.rounds} rounds; milliseconds: processor, time\n")
        print(f"{'':36}{''.join(f'{name:>16}' for name in ('floor', *sides))}   ratios")
        for name, ask in ((name, ask) for name, ask in ASKED.items() if chosen.only in name):
            with floor_of(ask, sides["this"].answer(ask)) as floor:
                asked = {side: (one, ask) for side, one in {"floor": floor, **sides}.items()}
                show(name, measured(asked, chosen.rounds))
    print(f"load {os.getloadavg()[0]:.1f}")


def measured(sides: dict[str, tuple[Side, Ask]], rounds: int) -> list[dict[str, tuple[float, float]]]:
    """What each side needed for its question, by rounds that alternate who goes first."""
    found = []
    for number in range(rounds + 1):
        order = list(sides) if number % 2 else list(sides)[::-1]
        found.append({name: side.measure(ask) for name, (side, ask) in ((name, sides[name]) for name in order)})
    # Without the first, in which some things are done only once.
    return found[1:]


def quartiles(rounds: list[dict[str, tuple[float, float]]]) -> dict[str, list[float]]:
    """The first quartiles of processor time and time, by side."""
    return {
        side: [statistics.quantiles((each[side][at] for each in rounds), n=4)[0] for at in (0, 1)] for side in rounds[0]
    }


def show(name: str, rounds: list[dict[str, tuple[float, float]]]) -> None:
    figures = quartiles(rounds)
    compared = [("this", to) for to in ("floor", "other") if to in figures]
    ratios = (
        f"this/{to} "
        + " ".join(f"{ours / theirs:.2f}" for ours, theirs in zip(figures[side], figures[to], strict=True))
        for side, to in compared
    )
    shown = "".join(f"{processor:8.2f}{taken:8.2f}" for processor, taken in figures.values())
    print(f"{name:36}{shown}   {', '.join(ratios)}", flush=True)


if __name__ == "__main__":
    main()
