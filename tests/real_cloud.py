"""A cloud of a test's own, started as a user starts it, and the servers that a test boots in it."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
from kernel_traces import traces

from skylift.cloud.home import Endpoint, Home

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a test no longer believes in what it waits for; nothing is measured with it."""


def until(look: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """What `look` finds, as soon as it finds something true."""
    give_up = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < give_up, f"waited in vain for {what}"
        time.sleep(0.02)


class RealCloud:
    """One cloud under a directory of its own: state in `home`, AWS's files in `aws`, what tests write in `work`."""

    def __init__(self, base: Path, image_home: Home) -> None:
        self.home = Home(base / "home")
        self.work = base / "work"
        self.number = 0
        for directory in (self.home.path, self.work):
            directory.mkdir()
        self.home.images.symlink_to(image_home.images)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SKYLIFT_"))}
        if "AWS_CA_BUNDLE" in os.environ:
            # Whom to trust is the machine's business, and servers inherit it.
            kept["AWS_CA_BUNDLE"] = os.environ["AWS_CA_BUNDLE"]
        self.environment = {
            **kept,
            "SKYLIFT_HOME": str(self.home.path),
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

    def up(self, *options: str) -> str:
        """What it says. A start may get another number than the last one had."""
        said = self.skylift("cloud", "up", *options).stdout
        self.number = int(self.endpoint.loopback.split(".")[1])
        return said

    def down(self) -> None:
        self.skylift("cloud", "down")

    def kill(self) -> None:
        """What no program can prepare for."""
        descriptor = os.pidfd_open(self.endpoint.pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            assert select.select([descriptor], [], [], PATIENCE)[0]
        finally:
            os.close(descriptor)

    @property
    def endpoint(self) -> Endpoint:
        found = self.home.endpoint()
        assert found is not None
        return found

    def traces(self) -> list[str]:
        """Everything of this cloud that the kernel has now."""
        return traces(self.number, self.home.path)

    # Its API.

    def client(self, service: str, key: tuple[str, str] | None = None) -> Any:
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
        )

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


def allow(port: int, source: str) -> dict[str, Any]:
    """One IpPermissions entry."""
    whence = (
        {"UserIdGroupPairs": [{"GroupId": source}]} if source.startswith("sg-") else {"IpRanges": [{"CidrIp": source}]}
    )
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **whence}


class Server:
    """An instance, as its owner deals with it."""

    def __init__(self, cloud: RealCloud, instance: str, via: Server | None = None) -> None:
        """`via` is the server to go through to one that the host cannot reach."""
        self.cloud = cloud
        self.id = instance
        self.via = via

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.ec2.describe_instances(InstanceIds=[self.id])
        instance: dict[str, Any] = found["Reservations"][0]["Instances"][0]
        return instance

    @property
    def state(self) -> str:
        return str(self.describe()["State"]["Name"])

    def await_state(self, state: str, patience: float = PATIENCE) -> None:
        until(lambda: self.state == state, f"{self.id} to be {state}", patience)

    @property
    def public_ip(self) -> str:
        return str(self.describe()["PublicIpAddress"])

    @property
    def private_ip(self) -> str:
        return str(self.describe()["PrivateIpAddress"])

    @property
    def console(self) -> str:
        return str(self.cloud.ec2.get_console_output(InstanceId=self.id, Latest=True).get("Output", ""))

    def terminate(self) -> None:
        self.cloud.ec2.terminate_instances(InstanceIds=[self.id])
        self.await_state("terminated")

    # On the host.

    @property
    def init(self) -> int:
        """The host's pid of the server's PID 1."""
        return int(Path(f"/run/skylift/{self.cloud.number}/{self.id}/init.pid").read_text())

    @property
    def disk(self) -> Path:
        """Where the server's writes are on the host."""
        return self.cloud.home.instances / self.id / "upper"

    # By SSH.

    def await_ssh(self) -> None:
        """Take the host keys from the console, then try until SSH lets us in."""
        until(lambda: "END SSH HOST KEY KEYS" in self.console, f"the host keys of {self.id}")
        shown = self.console.split("BEGIN SSH HOST KEY KEYS-----")[1].split("-----END SSH")[0]
        keys = [line for line in shown.splitlines() if line.startswith(("ssh-", "ecdsa-"))]
        self.known_hosts.write_text("".join(f"{self.id} {key}\n" for key in keys))
        until(lambda: self.ssh("true", check=False).returncode == 0, f"SSH to {self.id}")

    def reboot(self, command: str = "sudo reboot") -> None:
        """Have it reboot itself, and wait until it is back: /run is in memory, so what was there is gone then."""
        self.ssh("sudo touch /run/before-reboot")
        self.ssh(command, check=False)
        until(lambda: self.ssh("test ! -e /run/before-reboot", check=False).returncode == 0, f"{self.id} to be back")

    @property
    def known_hosts(self) -> Path:
        return self.cloud.work / f"{self.id}.known_hosts"

    def ssh_command(self, *options: str) -> list[str]:
        """OpenSSH's own client up to the server's name, with nothing of this user's settings."""
        settings = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "HostKeyAlias": self.id,
            "ConnectTimeout": "10",
            "LogLevel": "ERROR",
        }
        if self.via is not None:
            settings["ProxyCommand"] = shlex.join(self.via.ssh_command("-W", f"{self.private_ip}:22"))
        return [
            *("ssh", "-F", os.devnull, "-i", str(self.cloud.key_file)),
            *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
            *options,
            f"ec2-user@{self.public_ip if self.via is None else self.private_ip}",
        ]

    def ssh(self, command: str, *, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a shell command as ec2-user; `text` is its standard input."""
        argv = [*self.ssh_command(), command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, input=text or "")
        assert not check or done.returncode == 0, f"{command!r} exited with {done.returncode}:\n{done.stderr}"
        return done

    def says(self, command: str) -> str:
        """What a command that succeeds prints."""
        return self.ssh(command).stdout.strip()

    def python(self, code: str, *, root: bool = False, **values: str) -> str:
        """What a Python program prints there; `values` are its environment variables."""
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        done = self.ssh(f"{'sudo ' if root else ''}env {settings} python3 -", text=code)
        return done.stdout.strip()


@contextmanager
def real_cloud(image_home: Home) -> Iterator[RealCloud]:
    """A cloud that is up; at the end it is down, with nothing of it left on the machine, whatever happened."""
    # Not pytest's own directory: that keeps the last runs', and servers' disks are large.
    with tempfile.TemporaryDirectory(prefix="sky-") as base, ExitStack() as end:
        cloud = RealCloud(Path(base), image_home)
        end.callback(_put_away, cloud)
        cloud.up()
        yield cloud


def _put_away(cloud: RealCloud) -> None:
    cloud.down()
    assert cloud.traces() == []
