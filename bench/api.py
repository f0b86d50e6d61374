"""How fast does the endpoint answer? DescribeInstances of ten, and S3 with small and large objects.

    sudo python bench/api.py [--rounds N] [--large MIB] [--images-of HOME]

boto3 asks on the same cores, and costs most of the time itself; the floor is the same client with the same answers
from a server that looks at nothing (stub_server.py: no signatures, no parsing, no database, no fsync). `bare` are the
same signed requests, prepared beforehand and sent without boto3, so that the server alone is measured. Rounds
alternate; shown are medians, and the median of each round's ratio.
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from own_cloud import add_images_option, cloud_up

from skylift.cloud.state.home import Home

COUNT = 200
"""Requests of one kind in one round."""
SERVERS = 10
KIB, MIB = 1 << 10, 1 << 20
FORM = "Action=DescribeInstances&Version=2016-11-15"

Seconds = dict[str, float]


class Endpoint:
    """What is measured of one endpoint: ours, or the stub."""

    def __init__(self, url: str, key: tuple[str, str]) -> None:
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        self._url = url
        self._key = Credentials(*key)
        self.ec2, self.s3 = (
            boto3.client(
                service,
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id=key[0],
                aws_secret_access_key=key[1],
                config=config,
            )
            for service in ("ec2", "s3")
        )

    def measure(self, large: bytes) -> Seconds:
        small = os.urandom(KIB)
        return {
            "DescribeInstances": repeated(self.ec2.describe_instances),
            "DescribeInstances, bare": self._bare(),
            "PUT 1 KiB": repeated(lambda: self.s3.put_object(Bucket="bench", Key="small", Body=small)),
            "GET 1 KiB": repeated(lambda: self._get("small")),
            "PUT large": once(lambda: self.s3.put_object(Bucket="bench", Key="large", Body=io.BytesIO(large))),
            "GET large": once(lambda: self._get("large")),
        }

    def answer(self) -> bytes:
        """DescribeInstances' answer, as it is on the wire."""
        return self._send(self._connect(), self._signed())

    def _get(self, key: str) -> None:
        body = self.s3.get_object(Bucket="bench", Key=key)["Body"]
        while body.read(MIB):
            pass

    def _bare(self) -> float:
        connection = self._connect()
        requests = iter([self._signed() for _ in range(COUNT)])
        return repeated(lambda: self._send(connection, next(requests)))

    def _connect(self) -> http.client.HTTPConnection:
        place = urlsplit(self._url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _signed(self) -> dict[str, str]:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = AWSRequest("POST", f"{self._url}/", headers=headers, data=FORM)
        SigV4Auth(self._key, "ec2", "us-east-1").add_auth(request)
        return dict(request.headers.items())

    def _send(self, connection: http.client.HTTPConnection, headers: dict[str, str]) -> bytes:
        connection.request("POST", "/", FORM, headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"DescribeInstances answered {answer.status}: {body.decode()}")
        return body


def repeated(act: Callable[[], Any]) -> float:
    """Median seconds of one call among many."""
    return statistics.median(once(act) for _ in range(COUNT))


def once(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=256, help="MiB of the large object")
    add_images_option(parser)
    chosen = parser.parse_args()
    large = os.urandom(MIB) * chosen.large
    with ExitStack() as stack:
        home = stack.enter_context(cloud_up(chosen.images_of))
        ours = prepared(home)
        stub = stack.enter_context(stub_server(home, ours.answer()))
        for endpoint in (ours, stub):
            endpoint.measure(b"")  # for whatever is slow only once
        rounds = [(stub.measure(large), ours.measure(large)) for _ in range(chosen.rounds)]
    report(rounds, chosen.large)


def prepared(home: Home) -> Endpoint:
    """Our endpoint, with ten running servers and a bucket."""
    found, key = home.endpoint(), home.root_key()
    assert found is not None and key is not None
    ours = Endpoint(found.url, (key.access_key_id, key.secret_access_key))
    image = ours.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ours.ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=SERVERS, MaxCount=SERVERS)
    while set(states(ours.ec2)) != {"running"}:
        time.sleep(0.1)
    ours.s3.create_bucket(Bucket="bench")
    return ours


def states(ec2: Any) -> list[str]:
    found = ec2.describe_instances()["Reservations"]
    return [instance["State"]["Name"] for reservation in found for instance in reservation["Instances"]]


@contextmanager
def stub_server(home: Home, answer: bytes) -> Iterator[Endpoint]:
    """Its files are on the file system of skylift's own."""
    with tempfile.TemporaryDirectory(prefix="stub-", dir=home.path) as directory:
        Path(directory, "answer").write_bytes(answer)
        program = Path(__file__).with_name("stub_server.py")
        process = subprocess.Popen([sys.executable, str(program), directory], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield Endpoint(f"http://127.0.0.1:{process.stdout.readline().strip()}", ("AKIDBENCH", "secret"))
        finally:
            process.terminate()
            process.wait()


def report(rounds: list[tuple[Seconds, Seconds]], large: int) -> None:
    print(f"{len(rounds)} rounds of {COUNT} requests, medians; large is {large} MiB\n")
    print(f"{'':26}{'floor':>16}{'skylift':>16}{'ratio':>8}")
    for name in rounds[0][0]:
        floor, ours = (statistics.median(each[side][name] for each in rounds) for side in (0, 1))
        ratio = statistics.median(each[1][name] / each[0][name] for each in rounds)
        shown = [f"{large / value:.0f} MiB/s" if "large" in name else spell(value) for value in (floor, ours)]
        print(f"{name:26}{shown[0]:>16}{shown[1]:>16}{ratio:7.1f}x")


def spell(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms {1 / seconds:5.0f}/s"


if __name__ == "__main__":
    main()
