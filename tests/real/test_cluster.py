"""`skylift.Cluster` as a program has it: it computes, grows and shrinks, survives a lost server, and leaves nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.shared_images import one_at_a_time

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
UV = [sys.executable, "-m", "uv"]
DASK = "distributed==2026.8.*"
SERVERS_PYTHON = "3.13"
"""As the servers' image has it: others are downloaded, where servers may."""


@pytest.fixture(scope="module")
def python(shared: Path) -> Path:
    """The Python of a user's project, with skylift and Dask."""
    place = shared / "cluster-client"
    with one_at_a_time(place):
        if not (place / "complete").exists():
            subprocess.run([*UV, "venv", "--quiet", "--python", SERVERS_PYTHON, str(place)], check=True)
            into = [*UV, "pip", "install", "--quiet", "--python", str(place / "bin/python")]
            subprocess.run([*into, "--editable", str(ROOT), DASK], check=True)
            (place / "complete").touch()
    return place / "bin/python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = project(tmp_path_factory.mktemp("project"), DASK)
    (place / "ours.py").write_text("def cube(number):\n    return number ** 3\n")
    return place


def project(place: Path, *packages: str) -> Path:
    """A folder of a project that has locked these."""
    (place / "pyproject.toml").write_text(
        '[project]\nname = "project"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f"dependencies = {json.dumps(packages)}\n"
    )
    subprocess.run([*UV, "lock", "--quiet"], cwd=place, check=True)
    return place


class Program:
    """One that is under way, and is told to go on by a line."""

    def __init__(self, cloud: RealCloud, python: Path, folder: Path, text: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", text],
            cwd=folder,
            env=cloud.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        cloud.watch(self._process.pid)

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def says(self) -> Any:
        line = self._output.readline()
        assert line, self.end()[1]
        return json.loads(line)

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        _, words = self._process.communicate()
        return self._process.returncode, words


@pytest.fixture
def run(cloud: RealCloud, python: Path, folder: Path) -> Iterator[Any]:
    started: list[Program] = []

    def start(text: str, place: Path = folder) -> Program:
        started.append(Program(cloud, python, place, text))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.end()


def left_of(cloud: RealCloud, cluster: str) -> list[str]:
    """Whatever is there of a cluster: live servers, security groups, roles, records."""
    states = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
    tagged = [{"Name": "tag:skylift:job", "Values": [cluster, f"{cluster}-w*"]}]
    servers = cloud.ec2.describe_instances(Filters=[*states, *tagged])["Reservations"]
    groups = cloud.ec2.describe_security_groups(Filters=tagged)["SecurityGroups"]
    roles = cloud.client("iam").list_roles()["Roles"]
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    objects = cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"jobs/{cluster}").get("Contents", [])
    return [
        *(each["Instances"][0]["InstanceId"] for each in servers),
        *(each["GroupId"] for each in groups),
        *(each["RoleName"] for each in roles if each["RoleName"].startswith(f"skylift-{cluster}")),
        *(each["Key"] for each in objects),
    ]


LISTENING = """
import psutil

def listening():
    found = psutil.Process().net_connections("tcp")
    return [each.laddr.port for each in found if each.status == psutil.CONN_LISTEN]
"""
COMPUTE = (
    LISTENING
    + """
import json, os, socket, subprocess, sys, time
import skylift
from distributed import Client
from ours import cube

def tell(what):
    print(json.dumps(what), flush=True)

def slow(number):
    time.sleep(0.5)
    return number

with skylift.Cluster(servers=2, name="crew") as cluster:
    client = Client(cluster)
    client.wait_for_workers(2)
    there = client.run(lambda: (socket.gethostname(), sys.version_info[:2]))
    tell([sum(client.gather(client.map(cube, range(100)))), sorted(there.values())])
    tell([cluster.dashboard_link, cluster.scheduler_address, listening()])
    # Another program finds the cluster by its environment.
    program = "from distributed import Client; print(Client().submit(sum, [1, 2]).result())"
    environ = {**os.environ, **cluster.environ("certificates")}
    tell(subprocess.check_output([sys.executable, "-c", program], env=environ, text=True))
    # A worker's server is lost in the middle of its work, and what it had computed with it.
    numbers = client.map(slow, range(12))
    numbers[0].result()
    tell("working")
    sys.stdin.readline()
    tell(client.submit(sum, numbers).result())
"""
)


def test_a_cluster(cloud: RealCloud, run: Any) -> None:
    program = run(COMPUTE)
    total, ((first, version), (second, _)) = program.says()
    assert total == sum(number**3 for number in range(100))
    assert first != second
    assert ".".join(map(str, version)) == SERVERS_PYTHON
    link, address, ports = program.says()
    assert (link, [f"tls://127.0.0.1:{port}" for port in sorted(set(ports))]) == ("", [address]), (
        "no port is for Dask's pages"
    )
    assert program.says() == "3\n"
    (listed,) = json.loads(cloud.skylift("cluster", "ls", "--json").stdout)
    assert (listed["name"], listed["scheduler"], listed["workers"]) == ("crew", True, 2)
    assert program.says() == "working"
    worker = [{"Name": "tag:skylift:job", "Values": ["crew-w1"]}]
    (found,) = cloud.ec2.describe_instances(Filters=worker)["Reservations"]
    cloud.ec2.terminate_instances(InstanceIds=[found["Instances"][0]["InstanceId"]])
    program.go_on()
    assert program.says() == sum(range(12))
    code, words = program.end()
    assert code == 0, words
    assert "Traceback" not in words
    assert left_of(cloud, "crew") == []


PAGES = (
    LISTENING
    + """
import json, urllib.request
import skylift

direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with skylift.Cluster((0, 1), name="pages", dashboard=True) as cluster:
    with direct.open(cluster.dashboard_link, timeout=120) as page:
        print(json.dumps([page.status, page.read().decode(), cluster.dashboard_link, listening()]), flush=True)
print(json.dumps(listening()), flush=True)
"""
)


@pytest.mark.nightly
def test_dasks_pages_are_at_a_port_of_this_machine(cloud: RealCloud, run: Any, tmp_path: Path) -> None:
    """They need bokeh, and numpy with it."""
    program = run(PAGES, project(tmp_path, DASK, "bokeh"))
    status, page, link, ports = program.says()
    assert status == 200
    assert 'id="status-cluster-memory"' in page
    assert link in [f"http://127.0.0.1:{port}/status" for port in ports]
    assert len(set(ports)) == 2
    assert program.says() == []
    code, words = program.end()
    assert code == 0, words
    assert left_of(cloud, "pages") == []


SCALED = """
import json, time
from pathlib import Path
import skylift
import skylift.python.cluster.size
from distributed import Client
from ours import cube

skylift.python.cluster.size.IDLE = 1

with skylift.Cluster(servers=(0, 2), name="scaled") as cluster:
    client = Client(cluster)
    for number in (3, 4):
        # Without work there is no worker, also when there has been one.
        while client.scheduler_info(n_workers=-1)["workers"]:
            time.sleep(0.05)
        # As an editor saves it: there is another file at its path then.
        new = Path("ours.new")
        new.write_text(Path("ours.py").read_text())
        new.replace("ours.py")
        print(client.submit(cube, number).result(), flush=True)
"""


@pytest.mark.nightly
def test_workers_come_with_work_and_go_without(cloud: RealCloud, run: Any) -> None:
    program = run(SCALED)
    assert (program.says(), program.says()) == (27, 64)
    code, words = program.end()
    assert code == 0, words
    assert left_of(cloud, "scaled") == []


@pytest.mark.nightly
def test_a_cluster_for_the_shell(cloud: RealCloud, python: Path, folder: Path) -> None:
    def skylift(*words: str) -> str:
        done = subprocess.run(
            [python, "-m", "skylift.cli.main", "cluster", *words],
            cwd=folder,
            env=cloud.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    words = [python, "-m", "skylift.cli.main", "cluster", "up", "--name", "shell", "-s", "0..1"]
    up = subprocess.Popen(words, cwd=folder, env=cloud.environment, stderr=subprocess.PIPE, text=True)
    cloud.watch(up.pid)
    assert up.stderr is not None
    assert up.stderr.readline().startswith("Starting a cluster")
    assert "is up after" in up.stderr.readline()
    program = (
        "from distributed import Client; c = Client(); c.wait_for_workers(2); print(c.submit(sum, [1, 2]).result())"
    )
    script = f'eval "$1"; exec "$0" -c "{program}"'
    skylift("scale", "shell", "2")
    done = subprocess.run(
        ["sh", "-c", script, python, skylift("env", "shell")], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"
    assert skylift("down", "shell") == "shell: removed\n"
    assert up.wait() == 0
    assert up.stderr.read().endswith("The cluster shell has ended.\n")
    assert left_of(cloud, "shell") == []


@pytest.mark.nightly
def test_a_spot_worker_hands_over_what_it_has_at_a_notice(cloud: RealCloud, run: Any) -> None:
    program = run(SPOT)
    assert program.says() == 20
    spot = [
        {"Name": "tag:skylift:job", "Values": ["market-w1"]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    (found,) = cloud.ec2.describe_instances(Filters=spot)["Reservations"]
    cloud.skylift("cloud", "interrupt", found["Instances"][0]["InstanceId"])
    program.go_on()
    assert program.says() == [list(range(20)), []], "nothing is computed again"
    code, words = program.end()
    assert code == 0, words
    assert left_of(cloud, "market") == []


SPOT = """
import json, os, sys, time
import skylift
from distributed import Client, wait

def once(number):
    # In the files of the one worker that computes it.
    path = f"/tmp/computed-{number}"
    assert not os.path.exists(path)
    open(path, "w").close()
    return number

def computed():
    return sorted(name for name in os.listdir("/tmp") if name.startswith("computed-"))

with skylift.Cluster(servers=2, name="market", spot=True) as cluster:
    client = Client(cluster)
    client.wait_for_workers(2)
    numbers = client.map(once, range(20))
    wait(numbers)
    before = client.run(computed)
    print(len(sum(before.values(), [])), flush=True)
    sys.stdin.readline()
    while "market-w1" in {each["name"] for each in client.scheduler_info(n_workers=-1)["workers"].values()}:
        time.sleep(0.05)
    found = client.gather(numbers)
    after = client.run(computed)
    again = [name for worker, names in after.items() for name in names if name not in before.get(worker, [])]
    print(json.dumps([found, again]), flush=True)
"""


KILLED = """
import skylift.python.cluster.server as server
from skylift.python.cluster import cluster, guardian

if not GUARDED:
    server.ALONE = 15
    # As when the machine loses power: nobody is left who could take anything down.
    guardian.Guardian.__init__ = lambda *words: None
    guardian.Guardian.dismiss = lambda *words: None
made = cluster.Cluster(1, name=NAME)
from distributed import Client
Client(made).wait_for_workers(1)
print("true", flush=True)
input()
"""


def test_a_client_that_is_killed_leaves_nothing(cloud: RealCloud, run: Any) -> None:
    program = run(f"NAME, GUARDED = 'client-killed', True\n{KILLED}")
    assert program.says()
    program.kill()
    until(
        lambda: left_of(cloud, "client-killed") == [], "all to be gone", facts=lambda: left_of(cloud, "client-killed")
    )


DIES = """
import importlib, os, signal

module, kind, step = PLACE.split(":")
owner = getattr(importlib.import_module(module), kind)
made = getattr(owner, step)

def dies(self, *words):
    if AFTER:
        made(self, *words)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, step, dies)
importlib.import_module("skylift").Cluster(1, name=NAME)
"""
CLUSTER = "skylift.python.cluster.cluster:Cluster"


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("place", "after"),
    [
        (f"{CLUSTER}:_make_group", True),
        ("skylift.client.launch.boot:Boot:wait", False),
        (f"{CLUSTER}:_start_scheduler", True),
        (f"{CLUSTER}:_start_worker", True),
    ],
    ids=["group", "launched", "scheduler", "worker"],
)
def test_a_client_that_is_killed_at_its_start_leaves_nothing(
    cloud: RealCloud, run: Any, place: str, *, after: bool
) -> None:
    name = f"dies-{place.rpartition(':')[2].strip('_').replace('_', '-')}"
    program = run(f"NAME, PLACE, AFTER = {name!r}, {place!r}, {after}\n{DIES}")
    code, words = program.end()
    assert code == -signal.SIGKILL, words
    until(lambda: left_of(cloud, name) == [], "all to be gone", facts=lambda: left_of(cloud, name))


@pytest.mark.nightly
def test_a_client_whose_machine_is_lost_leaves_nothing_that_costs(cloud: RealCloud, run: Any) -> None:
    program = run(f"NAME, GUARDED = 'dark', False\n{KILLED}")
    assert program.says()
    program.kill()
    tagged = [{"Name": "tag:skylift:job", "Values": ["dark", "dark-w*"]}]

    def states() -> set[str]:
        found = cloud.ec2.describe_instances(Filters=tagged)["Reservations"]
        return {each["Instances"][0]["State"]["Name"] for each in found}

    until(lambda: states() == {"terminated"}, "the servers to end by themselves", facts=states)
    cloud.skylift("sweep")
    records = [each for each in left_of(cloud, "dark") if not each.startswith("jobs/dark")]
    assert records == [], "logs stay, as of every job"


@pytest.mark.nightly
def test_another_minor_version_of_python_is_refused(cloud: RealCloud, folder: Path, tmp_path: Path) -> None:
    """A lambda of one ends a worker of another with a segmentation fault."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "project"\nversion = "1"\nrequires-python = ">=3.13"\ndependencies = ["distributed"]\n'
    )
    text = "import skylift; skylift.Cluster(1, name='older')"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, env=cloud.environment, capture_output=True, text=True, check=False
    )
    version = "{}.{}".format(*sys.version_info[:2])
    assert f"and Python {version}, which runs here." in done.stderr, done.stderr
    assert left_of(cloud, "older") == []
