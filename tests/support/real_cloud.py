"""A cloud of a test's own, started as a user starts it, and the servers that a test boots in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from skylift.client.launch.cap import ROLE as CAP_ROLE
from skylift.cloud.compute.server.cgroup import processes
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import Home
from support.kernel_traces import traces
from support.ports import quiet_port
from support.real_server import Server, ending

UP: list[RealCloud] = []
"""Those that are there now, for whoever tells of a test that failed."""


class RealCloud:
    """One cloud under a directory of its own: state in `home`, AWS's files in `aws`, what tests write in `work`."""

    def __init__(self, base: Path, image_home: Home, work: Path | None = None) -> None:
        self.home = Home(base / "home")
        self.work = work or base / "work"
        self.number = 0
        self._clients: list[subprocess.Popen[bytes]] = []
        self._guard: subprocess.Popen[str] | None = None
        for directory in (self.home.path, self.work):
            directory.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SKYLIFT_"))}
        if "AWS_CA_BUNDLE" in os.environ:
            # Whom to trust is the machine's business, and servers inherit it.
            kept["AWS_CA_BUNDLE"] = os.environ["AWS_CA_BUNDLE"]
        self.environment = {
            **kept,
            "SKYLIFT_HOME": str(self.home.path),
            # Where the image is.
            "SKYLIFT_DATA": str(image_home.data.path.parents[1]),
            "AWS_CONFIG_FILE": str(base / "aws/config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(base / "aws/credentials"),
            # `skylift` and `aws` of the environment that the tests run in.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    # The cloud itself.

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "skylift.cli.main", *arguments]

    def skylift(self, *arguments: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line, as a user has it."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=cwd or self.work,
            env=self.environment,
        )
        assert not check or done.returncode == 0, f"{arguments} exited with {done.returncode}:\n{done.stderr}"
        return done

    def popen(self, *arguments: str, cwd: Path, **streams: Any) -> subprocess.Popen[bytes]:
        """The command line, under way. It does not outlive the cloud, which a client of it would start again."""
        streams = {"stdin": subprocess.DEVNULL, **streams}
        started = subprocess.Popen(self.command(*arguments), cwd=cwd, env=self.environment, **streams)
        self._clients.append(started)
        self.watch(started.pid)
        return started

    # From the first to the last moment.

    def guard(self) -> None:
        """Have somebody who takes it all away should this process be killed."""
        self._guard = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("cloud_guard.py"), self.home.path.parent],
            stdin=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """Have the guard end this client too: it would start the cloud again."""
        self._tell_guard(str(pid))

    def _tell_guard(self, line: str) -> None:
        assert self._guard is not None and self._guard.stdin is not None
        self._guard.stdin.write(f"{line}\n")
        self._guard.stdin.flush()

    def put_away(self) -> None:
        for client in self._clients:
            client.kill()
            client.wait()
        self.down()
        left = self.traces()
        assert left == [], f"{left}\n{self.facts()}"
        self._tell_guard("done")
        assert self._guard is not None
        self._guard.communicate()

    def up(self, *options: str) -> str:
        """What it says. A start may get another number than the last one had."""
        if self.home.endpoint() is None:
            # It will come back to this one, which nobody is given while it is away.
            options = ("--port", str(quiet_port()), *options)
        said = self.skylift("cloud", "up", *options).stdout
        self.number = int(self.endpoint.loopback.split(".")[1])
        return said

    def down(self) -> None:
        self.skylift("cloud", "down", "--force")

    def erase(self) -> None:
        """What is left of a cloud that is down."""
        self.skylift("cloud", "down", "--erase", "--yes")
        assert not self.home.data.path.exists()

    def kill(self) -> None:
        """What no program can prepare for."""
        with ending(self.endpoint.pid) as descriptor:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def switch_off(self) -> None:
        """What the machine says when it goes off in order."""
        with ending(self.endpoint.pid) as descriptor:
            signal.pidfd_send_signal(descriptor, signal.SIGPWR)

    def servers_processes(self) -> set[int]:
        return processes(f"skylift/{self.number}")

    @property
    def endpoint(self) -> Endpoint:
        found = self.home.endpoint()
        assert found is not None
        return found

    def traces(self) -> list[str]:
        """Everything of this cloud that the kernel has now."""
        return traces(self.number, self.home.path)

    def facts(self) -> str:
        """What there is to see of a cloud in which something went wrong: its log, and the consoles of its servers."""
        consoles = sorted(self.home.data.instances.glob("*/console.log"), key=written)
        parts = [(self.home.data.log, 80), *((file, 40) for file in consoles[-4:])]
        return "\n".join(f"----- the end of {file}\n{tail(file, lines)}" for file, lines in parts)

    # Its API.

    def client(self, service: str, key: tuple[str, str] | None = None, config: Config | None = None) -> Any:
        """boto3's client, with the root key unless another one is given."""
        if key is None:
            root = self.home.root_key()
            assert root is not None
            key = root.access_key_id, root.secret_access_key
        endpoint = self.endpoint
        return boto3.client(
            service,
            endpoint_url=endpoint.url,
            region_name=endpoint.region,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            config=config,
        )

    def job_roles(self) -> list[str]:
        """Of jobs and schedules. The role that ends their servers is the account's, and stays."""
        found = self.client("iam").list_roles(PathPrefix="/skylift/")["Roles"]
        return [each["RoleName"] for each in found if each["RoleName"] != CAP_ROLE]

    @cached_property
    def ec2(self) -> Any:
        return self.client("ec2")

    @cached_property
    def image(self) -> str:
        found = self.ec2.describe_images(Owners=["amazon"])["Images"]
        return str(max(found, key=lambda image: image["CreationDate"])["ImageId"])

    @cached_property
    def vpc(self) -> str:
        """The default VPC."""
        found = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])
        return str(found["Vpcs"][0]["VpcId"])

    @cached_property
    def key_file(self) -> Path:
        """The private half of the key pair `tests`."""
        made = self.ec2.create_key_pair(KeyName="tests", KeyType="ed25519")
        file = self.work / "tests.pem"
        file.touch(mode=0o600)
        file.write_text(made["KeyMaterial"])
        return file

    @cached_property
    def ssh_only(self) -> str:
        """A security group in the default VPC with SSH from the host and nothing else."""
        return self.security_group("ssh-only", self.vpc, (22, f"{self.endpoint.loopback}/32"))

    def security_group(self, name: str, vpc: str, *open_to: tuple[int, str]) -> str:
        """A group that lets TCP in to (port, CIDR or security group)."""
        made = self.ec2.create_security_group(GroupName=name, Description="of a test", VpcId=vpc)
        group = str(made["GroupId"])
        for port, source in open_to:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[allow(port, source)])
        return group

    def request(self, **wanted: Any) -> dict[str, Any]:
        """RunInstances' parameters for a server in the default VPC that tests can log in to."""
        request: dict[str, Any] = {
            "ImageId": self.image,
            "InstanceType": "t3.micro",
            "MinCount": 1,
            "MaxCount": 1,
            "KeyName": self.key_file.stem,
            "MetadataOptions": {"HttpTokens": "required"},
        }
        if "NetworkInterfaces" not in wanted:
            request["SecurityGroupIds"] = [self.ssh_only]
        return {**request, **wanted}

    def launch(self, via: Server | None = None, **wanted: Any) -> Server:
        """Boot a server and wait until it lets the host in by SSH. `wanted` goes over `request`'s parameters."""
        server = self.start(via, **wanted)
        server.await_ssh()
        return server

    def start(self, via: Server | None = None, **wanted: Any) -> Server:
        """Ask for a server and wait for nothing."""
        answer = self.ec2.run_instances(**self.request(**wanted))
        return Server(self, answer["Instances"][0]["InstanceId"], via)


def written(file: Path) -> float:
    """When; long ago, where it has just been removed."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def tail(file: Path, lines: int) -> str:
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)


def allow(port: int, source: str) -> dict[str, Any]:
    """One IpPermissions entry."""
    whence = (
        {"UserIdGroupPairs": [{"GroupId": source}]} if source.startswith("sg-") else {"IpRanges": [{"CidrIp": source}]}
    )
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **whence}


@contextmanager
def real_cloud(image_home: Home, *options: str) -> Iterator[RealCloud]:
    """A cloud that was started with these options; at the end it is down, with nothing of it left on the machine,
    whatever happened."""
    # Not pytest's own directory: that keeps the last runs', and servers' disks are large. Nor one that goes when this
    # process ends in the middle: the guard needs it to take the cloud away.
    base = Path(tempfile.mkdtemp(prefix="sky-"))
    cloud = RealCloud(base, image_home)
    try:
        with ExitStack() as end:
            cloud.guard()
            end.callback(cloud.erase)
            end.callback(cloud.put_away)
            cloud.up(*options)
            UP.append(cloud)
            end.callback(UP.remove, cloud)
            yield cloud
    except BaseException as error:
        # Of a cloud that goes with its test nobody else can tell.
        error.add_note(cloud.facts())
        raise
    finally:
        shutil.rmtree(base)
