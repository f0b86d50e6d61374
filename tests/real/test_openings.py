"""A LAN beside the host, as servers of a real cloud see it: closed, but for the package index and what was allowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from support.kernel_world import answering, beside_the_host, reaches
from support.killed_runs import ending_with_us
from support.real_cloud import RealCloud
from support.real_server import Server, until

from skylift.cloud.compute.network.namespace import Namespace

pytestmark = pytest.mark.real

NEAR, FAR = (str(IPv4Address("10.214.0.0") + 4 * (os.getpid() % 16384) + end) for end in (1, 2))
INDEX, DATABASE, OTHER = 8080, 5432, 5433

KNOCK = """
import errno, os, socket
link = socket.socket()
link.settimeout(5)
code = link.connect_ex((os.environ["HOST"], int(os.environ["PORT"])))
print(errno.errorcode.get(code, code) if code else link.recv(100).decode())
"""


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """A database, another service, and a package index with one package in it."""
    packages = tmp_path_factory.mktemp("index")
    make_wheel(packages / "simple" / "from-the-lan")
    with beside_the_host(NEAR, FAR) as there, ExitStack() as stack:
        for port in (DATABASE, OTHER):
            stack.enter_context(answering(there, "0.0.0.0", port))
        stack.enter_context(serving(there, packages))
        yield there


def make_wheel(directory: Path) -> None:
    directory.mkdir(parents=True)
    name = "from_the_lan-1.0"
    with zipfile.ZipFile(directory / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("from_the_lan.py", "said = 'from the LAN'\n")
        wheel.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: from-the-lan\nVersion: 1.0\n")
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")


@contextmanager
def serving(namespace: Namespace, directory: Path) -> Iterator[None]:
    """A folder by HTTP, from within a namespace."""
    server = [sys.executable, "-m", "http.server", str(INDEX), "--directory", str(directory)]
    command = ending_with_us("ip", "netns", "exec", namespace.name, *server)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: connects(FAR, INDEX), "the index")
        yield
    finally:
        process.kill()
        process.wait()


def connects(host: str, port: int) -> bool:
    return (
        subprocess.run(["curl", "-s", "-o", os.devnull, f"http://{host}:{port}/simple/"], check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def opened_cloud(own_cloud: RealCloud, lan: Namespace) -> RealCloud:
    """Its environment has an index on the LAN, and its owner let servers reach the database there."""
    own_cloud.down()
    own_cloud.environment["UV_INDEX"] = f"http://{FAR}:{INDEX}/simple"
    own_cloud.up("--allow", f"{FAR}:{DATABASE}")
    return own_cloud


@pytest.fixture(scope="module")
def server(opened_cloud: RealCloud) -> Server:
    return opened_cloud.launch()


def knock(server: Server, host: str, port: int) -> str:
    """What root there hears, or the error."""
    return server.python(KNOCK, root=True, HOST=host, PORT=str(port))


def test_the_database_can_be_reached_and_nothing_beside_it(server: Server) -> None:
    assert knock(server, FAR, DATABASE) == NEAR
    assert reaches(FAR, OTHER)
    assert knock(server, FAR, OTHER) == "EHOSTUNREACH"
    with answering(None, NEAR, 0) as port:
        assert reaches(NEAR, port)
        assert knock(server, NEAR, port) == "EHOSTUNREACH"


def test_packages_come_from_an_index_on_the_lan(server: Server) -> None:
    server.ssh("uv venv -q ~/env && uv pip install -q --python ~/env from-the-lan")
    assert server.says("~/env/bin/python -c 'import from_the_lan; print(from_the_lan.said)'") == "from the LAN"


def test_a_name_that_means_a_private_address_opens_nothing(server: Server) -> None:
    server.ssh(f"echo {FAR} rebound.example.test | sudo tee -a /etc/hosts")
    assert knock(server, "rebound.example.test", OTHER) == "EHOSTUNREACH"


def test_the_internets_own_ranges_go_on(server: Server, opened_cloud: RealCloud) -> None:
    """Names, metadata and the endpoint are link-local, and public addresses are loopback of the host."""
    token = "curl -s -X PUT -H X-aws-ec2-metadata-token-ttl-seconds:60 http://169.254.169.254/latest/api/token"
    got = f'curl -s -H "X-aws-ec2-metadata-token: $({token})" http://169.254.169.254/latest/meta-data/instance-id'
    assert server.says(got) == server.id
    group = opened_cloud.security_group("ssh-from-all", opened_cloud.vpc, (22, "0.0.0.0/0"))
    other = opened_cloud.launch(SecurityGroupIds=[group])
    assert knock(server, other.public_ip, 22).startswith("SSH-2.0")
    other.terminate()


def test_doctor_and_status_say_what_is_open(opened_cloud: RealCloud) -> None:
    listed = json.loads(opened_cloud.skylift("doctor", "--json").stdout)
    found = [one["found"] for one in listed if one["name"] == "open to servers"]
    assert f"{FAR}:{DATABASE}, asked for with --allow" in found
    assert f"{FAR}:{INDEX}, package index (UV_INDEX)" in found
    assert f"{FAR}:{DATABASE}, {FAR}:{INDEX}" in opened_cloud.skylift("cloud", "status").stdout


def test_what_is_wrong_is_said_before_anything_is_done(opened_cloud: RealCloud) -> None:
    for text, words in (
        ("127.0.0.1:80", "loopback"),
        ("db.lan:5432", "Names are not taken"),
        ("10.0.0.1/8", "10.0.0.0/8"),
    ):
        done = opened_cloud.skylift("cloud", "up", "--allow", text, check=False)
        assert done.returncode == 2
        assert words in done.stderr and "Traceback" not in done.stderr
    done = opened_cloud.skylift("cloud", "up", "--allow", f"{FAR}:{OTHER}", check=False)
    assert done.returncode == 2
    assert "with other openings" in done.stderr
    opened_cloud.skylift("cloud", "up", "--allow", f"{FAR}:{DATABASE}/tcp")


def test_the_setting_stays_until_it_is_changed(server: Server, opened_cloud: RealCloud) -> None:
    opened_cloud.kill()
    assert knock(server, FAR, DATABASE) == NEAR
    opened_cloud.up()
    assert knock(server, FAR, DATABASE) == NEAR
    assert knock(server, FAR, OTHER) == "EHOSTUNREACH"
    opened_cloud.kill()
    opened_cloud.up("--allow", "none")
    assert knock(server, FAR, DATABASE) == "EHOSTUNREACH"
    opened_cloud.kill()
    opened_cloud.up()
    assert knock(server, FAR, DATABASE) == "EHOSTUNREACH"
