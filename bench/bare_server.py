"""The floor of a boot: the same server by bare calls, without anything of skylift's control plane."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from ssh_way import await_banner, say_hello

from skylift.cloud.compute.server import cgroup
from skylift.cloud.compute.server.lxcfs import SHARED
from skylift.cloud.compute.server.oci import CAPABILITIES, UIDS, ServerPlan, oci_config
from skylift.cloud.compute.server.rootfs import SeedFile, is_mounted
from skylift.cloud.compute.server.seccomp import oci_seccomp, read_profile
from skylift.cloud.compute.server.seed_files import Inheritance, seed_files
from skylift.cloud.compute.server.server import find_programs
from skylift.cloud.state.home import Home
from skylift.cloud.state.rootless import STORED

Times = dict[str, float]

FIRST_UID = 900_000_000
"""Below every cloud's."""
NETWORK = IPv4Network("198.18.0.0/15")
"""What RFC 2544 keeps for benchmarks. Each process takes four addresses of it, so that two do not meet."""
HOST, SERVER = (str(NETWORK[os.getpid() % (NETWORK.num_addresses // 4) * 4 + each]) for each in (1, 2))
LINK = GROUP = f"bench{os.getpid()}"


@contextmanager
def bare_server(image: Path, home: Home) -> Iterator[BareServer]:
    """Nothing of its boots is left at the end. Disks are on the file system of skylift's own."""
    with (
        tempfile.TemporaryDirectory(prefix="skylift-floor-", dir=home.data.path) as state,
        tempfile.TemporaryDirectory(prefix="skylift-floor-", dir="/run") as run,
    ):
        # A runtime with a user namespace has to pass through.
        Path(run).chmod(0o711)
        try:
            yield BareServer(image, Path(state), Path(run))
        finally:
            cgroup.remove(GROUP)


class BareServer:
    """One boot after the other, each of a new root. `state` is where disks are, `run` a directory below /run."""

    def __init__(self, image: Path, state: Path, run: Path) -> None:
        self._image = image
        self._state = state
        self._run = run
        self._programs = find_programs()
        self._number = 0
        self._key = state / "floor.pem"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key], check=True)

    def measure(self) -> Times:
        self._number += 1
        boot = _Boot(self._image, self._state, self._run, f"bench-{self._number}")
        try:
            return boot.run(self._key, self._programs.runtime, self._programs.conmon)
        finally:
            boot.clear(self._programs.runtime)


class _Boot:
    def __init__(self, image: Path, state: Path, run: Path, name: str) -> None:
        self._name = name
        self._image = image
        self._disk = state / name
        self._bundle = run / name
        self._oci = run / "oci"
        self._uid = FIRST_UID

    def run(self, key: Path, runtime: str, conmon: str) -> Times:
        seed = self._prepare(key)
        times = {}
        began = time.perf_counter()

        def done(step: str) -> None:
            times[step] = time.perf_counter() - began

        self._mount()
        for file in seed:
            self._write(file)
        done("root")
        pid = self._create(runtime, conmon)
        done("create")
        self._connect(pid)
        done("network")
        subprocess.run([runtime, "--root", self._oci, "start", self._name], check=True)
        done("start")
        await_banner(SERVER)
        done("banner")
        say_hello(SERVER, key, "ec2-user")
        done("output")
        return times

    def _prepare(self, key: Path) -> tuple[SeedFile, ...]:
        """What skylift has ready before a launch: the configuration's parts, and what goes into the new root."""
        for directory in (self._bundle, self._root, self._lower, self._disk, self._disk / "upper", self._disk / "work"):
            directory.mkdir(mode=0o711)
        for name in ("upper", "work"):
            os.chown(self._disk / name, self._uid, self._uid)
        plan = ServerPlan(
            self._name,
            self._image,
            self._disk,
            self._uid,
            hostname="bench.internal",
            cpus=2,
            memory=2 << 30,
            swap_accounting=cgroup.swap_accounting(),
            lxcfs=SHARED if is_mounted(SHARED) else None,
        )
        seccomp = oci_seccomp(read_profile(), CAPABILITIES)
        config = oci_config(plan, self._root, f"/{GROUP}/{self._name}", seccomp)
        (self._bundle / "config.json").write_text(json.dumps(config))
        return seed_files(
            instance_id=self._name,
            hostname="bench.internal",
            private_ip=SERVER,
            name_servers=(HOST,),
            search="",
            region="us-east-1",
            public_key=key.with_suffix(".pem.pub").read_text(),
            user_data=None,
            inheritance=Inheritance({}, {}),
        )

    @property
    def _root(self) -> Path:
        return self._bundle / "root"

    @property
    def _lower(self) -> Path:
        return self._bundle / "lower"

    def _mount(self) -> None:
        options = f"ro,X-mount.idmap=b:{STORED}:{self._uid}:{UIDS}"
        subprocess.run(["mount", "--bind", "-o", options, self._image, self._lower], check=True)
        layers = f"lowerdir={self._lower},upperdir={self._disk / 'upper'},workdir={self._disk / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", self._root], check=True)

    def _write(self, file: SeedFile) -> None:
        path = self._root / file.path.lstrip("/")
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir()
                os.chown(parent, self._uid + file.uid, self._uid + file.gid)
        path.unlink(missing_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
        os.chown(path, self._uid + file.uid, self._uid + file.gid)

    def _create(self, runtime: str, conmon: str) -> int:
        reading, writing = os.pipe()
        command = [
            *(conmon, "--api-version", "1", "--cid", self._name, "--cuuid", self._name),
            *("--runtime", runtime, "--bundle", str(self._bundle), "--full-attach"),
            *(
                "--container-pidfile",
                str(self._bundle / "init.pid"),
                "--conmon-pidfile",
                str(self._bundle / "conmon.pid"),
            ),
            *("--log-path", f"k8s-file:{self._disk / 'console.log'}", "--exit-dir", str(self._bundle)),
            *("--runtime-arg", "--root", "--runtime-arg", str(self._oci)),
        ]
        environment = {"PATH": os.environ["PATH"], "_OCI_SYNCPIPE": str(writing)}
        subprocess.run(
            command, pass_fds=[writing], env=environment, check=True, stdin=subprocess.DEVNULL, start_new_session=True
        )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            pid = int(json.loads(pipe.readline())["data"])
        if pid <= 0:
            raise SystemExit(f"{runtime} would not create {self._bundle}")
        return pid

    def _connect(self, pid: int) -> None:
        here = f"""\
link add {LINK} type veth peer name eth0 netns {pid}
address add {HOST}/30 dev {LINK}
link set {LINK} up
"""
        there = f"""\
link set lo up
address add {SERVER}/30 dev eth0
link set eth0 up
route add default via {HOST}
"""
        subprocess.run(["ip", "-batch", "-"], input=here.encode(), check=True)
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-"]
        subprocess.run(inside, input=there.encode(), check=True)

    def clear(self, runtime: str) -> None:
        if (self._oci / self._name).exists():
            subprocess.run([runtime, "--root", self._oci, "delete", "--force", self._name], check=True)
        subprocess.run(["ip", "link", "delete", LINK], check=False, stderr=subprocess.DEVNULL)
        for directory in (self._root, self._lower):
            if is_mounted(directory):
                subprocess.run(["umount", "--lazy", directory], check=True)
            # Refused where something is still mounted: what deletes the rest must never walk into the image.
            directory.rmdir()
        for directory in (self._bundle, self._disk):
            shutil.rmtree(directory)
