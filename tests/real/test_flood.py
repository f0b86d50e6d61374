"""A cloud that may open few files, and more connections than it can have."""

from __future__ import annotations

import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from botocore.config import Config
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real

FILES = 300


@pytest.fixture
def narrow(own_cloud: RealCloud) -> Iterator[RealCloud]:
    """It was started from a shell that allows few open files."""
    own_cloud.kill()
    command = ["prlimit", f"--nofile={FILES}:{FILES}", *own_cloud.command("cloud", "up")]
    subprocess.run(command, check=True, env=own_cloud.environment, cwd=own_cloud.work, capture_output=True)
    yield own_cloud
    own_cloud.kill()
    own_cloud.up()


def test_a_flood_of_connections_keeps_nobody_out_who_is_in(narrow: RealCloud) -> None:
    once = narrow.client("ec2", config=Config(retries={"total_max_attempts": 1}))
    once.describe_regions()
    wanted = narrow.request()
    address = narrow.endpoint.url.removeprefix("http://").split(":")
    target = address[0], int(address[1])
    lines = len(narrow.home.data.log.read_text().splitlines())
    with ExitStack() as end:
        flood = [
            end.enter_context(socket.create_connection(target, 20, source_address=(f"127.0.0.{2 + number % 5}", 0)))
            for number in range(3 * FILES)
        ]
        last = flood[-1]
        assert last.recv(16).startswith(b"HTTP/1.1 503 ")
        assert once.describe_regions()["Regions"]
        # The cloud's own work goes on: a server is made.
        made = once.run_instances(**wanted)["Instances"][0]["InstanceId"]

        def runs() -> bool:
            found = once.describe_instances(InstanceIds=[made])["Reservations"][0]["Instances"][0]
            return bool(found["State"]["Name"] == "running")

        until(runs, "the server to run")
        log = narrow.home.data.log.read_text().splitlines()[lines:]
        assert len([line for line in log if "refused" in line]) in (1, 2), log
        assert not any("Traceback" in line or "Errno 24" in line for line in log), log
    # Everybody is served again; a client of AWS's asks again by itself until then.
    later = narrow.client("ec2", config=Config(retries={"total_max_attempts": 8, "mode": "standard"}))
    assert later.describe_regions()["Regions"]
    server = Server(narrow, made)
    server.await_ssh()
    server.terminate()


def test_a_cloud_takes_as_many_descriptors_as_it_may(own_cloud: RealCloud) -> None:
    own_cloud.kill()
    command = ["prlimit", "--nofile=400:4000", *own_cloud.command("cloud", "up")]
    subprocess.run(command, check=True, env=own_cloud.environment, cwd=own_cloud.work, capture_output=True)
    assert resource.prlimit(own_cloud.endpoint.pid, resource.RLIMIT_NOFILE) == (4000, 4000)
    server = own_cloud.launch()
    assert server.says("ulimit -Sn; ulimit -Hn").split() == ["1024", "4000"]
    server.terminate()
