"""Jobs whose cloud is killed under them: the program goes on, and its results come home with its exit code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from real_cloud import PATIENCE, RealCloud, until

pytestmark = pytest.mark.real

WAITS = """
import os, sys, time
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
open("result.txt", "w").write("42")
print("done")
sys.exit(7)
"""


@pytest.fixture
def client(own_cloud: RealCloud, request: pytest.FixtureRequest) -> subprocess.Popen[bytes]:
    """`skylift run` of a program that has said `ready`, in the directory `work`/NAME OF THE TEST."""
    folder = own_cloud.work / request.node.name
    folder.mkdir()
    (folder / "job.py").write_text(WAITS)
    with (folder / "words").open("wb") as words:
        started = subprocess.Popen(
            own_cloud.command("run", "--out", "result.txt", "job.py"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            cwd=folder,
            env=own_cloud.environment,
        )
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n", (folder / "words").read_text()
    return started


def job_name(cloud: RealCloud) -> str:
    (listed,) = json.loads(cloud.skylift("ps", "--json").stdout)
    return str(listed["name"])


def open_way_in(cloud: RealCloud, name: str) -> list[str]:
    """`skylift ssh` as a plain OpenSSH command: it works without the cloud, which only knows the address."""
    (listed,) = json.loads(cloud.skylift("ps", "--json").stdout)
    cloud.skylift("ssh", name, "true")
    keys = cloud.home.path / "keys"
    (key,) = keys.glob("*.pem")
    settings = (f"UserKnownHostsFile={keys / 'known_hosts.d' / name}", "BatchMode=yes", "IdentitiesOnly=yes")
    options = [word for setting in settings for word in ("-o", setting)]
    return ["ssh", "-F", "/dev/null", "-i", str(key), *options, f"ec2-user@{listed['address']}"]


def came_home(client: subprocess.Popen[bytes], folder: Path) -> None:
    assert client.stdout is not None
    rest = client.stdout.read()
    assert client.wait(PATIENCE) == 7, (folder / "words").read_text()
    assert rest == b"done\n"
    assert (folder / "result.txt").read_text() == "42"


def test_a_cloud_that_is_killed_and_started_again_by_hand(
    own_cloud: RealCloud, client: subprocess.Popen[bytes], request: pytest.FixtureRequest
) -> None:
    name = job_name(own_cloud)
    own_cloud.kill()
    own_cloud.up()
    own_cloud.skylift("ssh", name, "touch", "job/go")
    came_home(client, own_cloud.work / request.node.name)
    until(lambda: json.loads(own_cloud.skylift("ps", "--json").stdout) == [], "the server to be gone")


def test_a_cloud_that_is_killed_and_that_nobody_starts_again(
    own_cloud: RealCloud, client: subprocess.Popen[bytes], request: pytest.FixtureRequest
) -> None:
    """The program ends while there is nobody to take its results: the client says so, and brings the cloud back."""
    folder = own_cloud.work / request.node.name
    way_in = open_way_in(own_cloud, job_name(own_cloud))
    own_cloud.kill()
    subprocess.run([*way_in, "touch job/go"], check=True, stdin=subprocess.DEVNULL)
    came_home(client, folder)
    assert "The cloud does not answer" in (folder / "words").read_text()
    assert json.loads(own_cloud.skylift("cloud", "status", "--json").stdout)["running"]


def test_a_client_that_is_killed_with_its_cloud(
    own_cloud: RealCloud, client: subprocess.Popen[bytes], request: pytest.FixtureRequest
) -> None:
    """Nobody is left but the server; what it has to say waits for a cloud that takes it."""
    name = job_name(own_cloud)
    way_in = open_way_in(own_cloud, name)
    client.kill()
    client.wait()
    own_cloud.kill()
    subprocess.run([*way_in, "touch job/go"], check=True, stdin=subprocess.DEVNULL)
    own_cloud.up()

    def ended() -> bool:
        return json.loads(own_cloud.skylift("ps", "--json").stdout) == []

    until(ended, "the server to turn itself off", patience=60)
    (listed,) = [each for each in json.loads(own_cloud.skylift("ps", "--all", "--json").stdout) if each["name"] == name]
    assert (listed["state"], listed["exit_code"]) == ("failed", 7)
    own_cloud.skylift("cancel", name)
