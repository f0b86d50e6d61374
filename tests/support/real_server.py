"""A server that a test has booted: what EC2 says of it, what is of it on the host, and the way in by SSH."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from support.real_cloud import RealCloud

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which a test no longer believes in what it waits for; nothing is measured with it."""


def until(
    look: Callable[[], T],
    what: str,
    patience: float = PATIENCE,
    facts: Callable[[], object] | None = None,
    *,
    pause: float = 0.02,
) -> T:
    """What `look` finds, as soon as it finds something true. `facts` is what to tell when that never comes. `pause` is
    longer where several look beside each other."""
    give_up = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > give_up:
            raise AssertionError(f"waited in vain for {what}" + (f"\n{facts()}" if facts else ""))
        time.sleep(pause)


@contextmanager
def ending(pid: int) -> Iterator[int]:
    """A process's descriptor, to do with it what ends it; at the end it has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
        assert select.select([descriptor], [], [], PATIENCE)[0], f"process {pid} goes on"
    finally:
        os.close(descriptor)


class Server:
    """An instance, as its owner deals with it."""

    def __init__(self, cloud: RealCloud, instance: str, via: Server | None = None) -> None:
        """`via` is the server to go through to one that the host cannot reach."""
        self.cloud = cloud
        self.id = instance
        self.via = via
        self.address = ""

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.ec2.describe_instances(InstanceIds=[self.id])
        instance: dict[str, Any] = found["Reservations"][0]["Instances"][0]
        return instance

    @property
    def state(self) -> str:
        return str(self.describe()["State"]["Name"])

    def await_state(self, state: str, patience: float = PATIENCE) -> None:
        until(lambda: self.state == state, f"{self.id} to be {state}", patience, self.describe)

    @property
    def public_ip(self) -> str:
        return str(self.describe()["PublicIpAddress"])

    @property
    def private_ip(self) -> str:
        return str(self.describe()["PrivateIpAddress"])

    @property
    def console(self) -> str:
        return str(self.cloud.ec2.get_console_output(InstanceId=self.id, Latest=True).get("Output", ""))

    def with_volume(self) -> str:
        """A new volume of 1 GiB that it has at /mnt/sdf."""
        ec2, zone = self.cloud.ec2, self.describe()["Placement"]["AvailabilityZone"]
        volume = str(ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"])

        def described() -> dict[str, Any]:
            found: dict[str, Any] = ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]
            return found

        until(lambda: described()["State"] == "available", f"{volume} to be made")
        ec2.attach_volume(VolumeId=volume, InstanceId=self.id, Device="/dev/sdf")
        until(lambda: described()["Attachments"][0]["State"] == "attached", f"{volume} to be attached")
        return volume

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
        """Where the server's writes are on the host, as long as it runs."""
        return Path(f"/run/skylift/{self.cloud.number}/volumes/{self.root_volume}/upper")

    @property
    def place(self) -> Path:
        """What is of the server on the host, besides its disk, until it is terminated."""
        return self.cloud.home.data.instances / self.id

    @property
    def root_volume(self) -> str:
        return str(self.describe()["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])

    def kept(self, path: str) -> str:
        """The content of a file that a server which is off has written."""
        image = self.cloud.home.data.volumes / f"{self.root_volume}.img"
        read = ["debugfs", "-R", f"cat /upper/{path}", str(image)]
        return subprocess.run(read, capture_output=True, text=True, check=True).stdout

    # By SSH.

    def await_ssh(self) -> None:
        """Take the host keys from the console, then try until SSH lets us in.

        The address is remembered: SSH must work without asking a cloud that is not there.
        """
        until(lambda: "END SSH HOST KEY KEYS" in self.console, f"the host keys of {self.id}")
        shown = self.console.split("BEGIN SSH HOST KEY KEYS-----")[1].split("-----END SSH")[0]
        keys = [line for line in shown.splitlines() if line.startswith(("ssh-", "ecdsa-"))]
        self.known_hosts.write_text("".join(f"{self.id} {key}\n" for key in keys))
        self.address = self.public_ip if self.via is None else self.private_ip
        tried = partial(self.ssh, "true", check=False)
        until(lambda: tried().returncode == 0, f"SSH to {self.id}", facts=lambda: tried().stderr)

    def await_way_in(self, what: str) -> None:
        """Until SSH lets us in again, at whatever public address the server has by now."""

        def reached() -> bool:
            self.address = self.public_ip
            return self.ssh("true", check=False).returncode == 0

        until(reached, what)

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
            settings["ProxyCommand"] = shlex.join(self.via.ssh_command("-W", f"{self.address}:22"))
        return [
            *("ssh", "-F", os.devnull, "-i", str(self.cloud.key_file)),
            *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
            *options,
            f"ec2-user@{self.address}",
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
