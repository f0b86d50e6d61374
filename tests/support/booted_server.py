"""One server with nothing around it: no network but its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from skylift.cloud.compute.server.dmi import firmware_words
from skylift.cloud.compute.server.oci import ServerPlan
from skylift.cloud.compute.server.seed_files import Inheritance, seed_files
from skylift.cloud.compute.server.server import HostKeys, no_host_keys
from support.killed_runs import own_name, remove_servers, servers_in


def wait_for(path: str) -> str:
    return f"timeout 100 sh -c 'until test -e {path}; do sleep 0.05; done'"


class Booted:
    """One server, its disk, and a way in."""

    def __init__(
        self,
        place: Path,
        image: Path,
        user_data: str | bytes,
        programs: Mapping[str, str],
        host_keys: HostKeys = no_host_keys,
        lxcfs: Path | None = None,
    ) -> None:
        """`programs` are scripts that its disk has in place of the image's own, by path."""
        self.id = f"i-{secrets.token_hex(8)}"
        self.place = place
        self._ended = threading.Event()
        self.code: int | None = None
        self._name = own_name()
        self._servers = servers_in(self._name, place, self._on_exit, host_keys)
        self._plan = ServerPlan(
            id=self.id,
            image=image,
            disk=place / self.id,
            uid_base=1_900_000_000,
            hostname="ip-10-0-0-5",
            cpus=2,
            memory=1 << 30,
            swap_accounting=False,
            firmware=firmware_words(self.id, "t3.micro", "nitro"),
            lxcfs=lxcfs,
        )
        self.upper.mkdir(parents=True)
        for path, script in programs.items():
            file = self.upper / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(script)
            file.chmod(0o755)
            for each in (file, *file.relative_to(self.upper).parents):
                # The server's own root may delete them.
                os.chown(self.upper / each, self._plan.uid_base, self._plan.uid_base)
        self._user_data = user_data if isinstance(user_data, bytes) else user_data.encode()
        self._key = place / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)

    @property
    def upper(self) -> Path:
        return self._plan.disk / "upper"

    def boot(self) -> None:
        self._ended.clear()
        seed = seed_files(
            instance_id=self.id,
            hostname="ip-10-0-0-5.ec2.internal",
            private_ip="10.0.0.5",
            name_servers=["10.0.0.2"],
            search="ec2.internal",
            region="eu-west-3",
            public_key=self._key.with_suffix(".pub").read_text(),
            user_data=self._user_data,
            inheritance=Inheritance({"PIP_INDEX_URL": "https://user:pa$s@index.test/?a=b&c=d"}, {}),
        )
        pid = self._servers.create(self._plan, seed)
        self._inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
        subprocess.run([*self._inside, "ip", "link", "set", "lo", "up"], check=True)
        self._servers.start(self.id)
        self._as_root = ["nsenter", f"--target={pid}", "--all", "--"]

    @property
    def first_process(self) -> int:
        return self._servers.running()[self.id]

    def do(self, command: str, *, check: bool = True) -> None:
        """As root, without SSH."""
        subprocess.run([*self._as_root, "sh", "-c", command], check=check, timeout=120)

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectionAttempts=60",
        ]
        whole = [*self._inside, "ssh", "-i", str(self._key), *(word for option in options for word in ("-o", option))]
        return subprocess.run(
            [*whole, "ec2-user@127.0.0.1", command], capture_output=True, text=True, check=False, timeout=120
        )

    def said(self, command: str) -> str:
        done = self.ssh(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def until_first_boot_is_over(self) -> None:
        self.said(wait_for("/var/lib/cloud/instance/boot-finished"))

    def ended(self) -> int | None:
        assert self._ended.wait(120), self.console()
        return self.code

    def console(self) -> str:
        console = self._servers.console(self.id)
        return console.text if console else ""

    def processes(self) -> list[str]:
        """The programs that run in it, with their arguments, as the host sees them."""
        own, found = os.readlink(f"/proc/{self.first_process}/ns/pid"), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, PermissionError, ProcessLookupError):
                if os.readlink(process / "ns/pid") == own:
                    words = (process / "cmdline").read_bytes().decode().rstrip("\0").split("\0")
                    found.append(" ".join(words).rpartition("/")[2])
        return found

    def press_power_button(self) -> None:
        self._servers.request_shutdown(self.id)

    def off(self) -> None:
        """What the cloud does with a server that has ended, but for its disk."""
        self._servers.clear(self.id)

    def close(self) -> None:
        if self.id in self._servers.running():
            self._servers.kill(self.id)
            self._ended.wait(60)
        self._servers.destroy(self.id)
        remove_servers(self._servers, self._name)

    def _on_exit(self, server_id: str, code: int | None) -> None:
        self.code = code
        self._ended.set()
