"""A Debian 13 with systemd, unified cgroups and AppArmor, booted under User-Mode Linux.

Kernel and disk are made once a machine and kept by their recipes, in the user's cache directory or where
SKYLIFT_TEST_VM says. A guest writes into a file of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from support.killed_runs import own_name
from support.shared_images import ensure_kept_image, kept_images, one_at_a_time

from skylift.cloud.compute.image.recipe import read_recipe
from skylift.cloud.state.data import Data

HERE = Path(__file__).parent
TOP = HERE.parents[1]
ADDRESS = "10.99.0.2"
SENT = ("skylift", "examples", "README.md", "LICENSE", "pyproject.toml")
PACKAGED = """
# /// script
# dependencies = ["six"]
# ///
import six
print("six", six.__version__)
"""
"""A program with a package of an index, which the server fetches."""
BOOT = 90
"""Seconds until SSH answers, at most."""


def cache() -> Path:
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SKYLIFT_TEST_VM") or usual / "skylift-tests" / "vm")


def kernel() -> Path:
    return _kept("kernel", ["kernel.sh", "kernel.config"], []) / "linux"


def disk() -> Path:
    """The folder with the disk and the key of its users."""
    image, dependencies = read_recipe().image_id, (TOP / "pyproject.toml").read_text()
    with tempfile.TemporaryDirectory(prefix="skylift-tests-image-", dir="/var/lib") as place:
        ensure_kept_image(Data(Path(place, "user", "cloud")))
    return _kept("disk", ["disk.sh", "customize.sh"], [str(kept_images()), image], dependencies)


def _kept(kind: str, recipe: Sequence[str], arguments: list[str], more: str = "") -> Path:
    """The folder that the first file of the recipe has filled."""
    text = "".join([(HERE / each).read_text() for each in recipe] + arguments + [more])
    folder = cache() / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    cache().mkdir(parents=True, exist_ok=True)
    with one_at_a_time(cache() / kind):
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            with (unfinished / "log").open("wb") as log:
                subprocess.run([HERE / recipe[0], *arguments], cwd=unfinished, stdout=log, stderr=log, check=True)
            unfinished.rename(folder)
    return folder


class Guest:
    """`place` has what it writes. It is off until `boot`."""

    def __init__(self, place: Path) -> None:
        self._kernel, self._disk = kernel(), disk()
        self._place, self.name = place, own_name()
        self._running: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        command = [HERE / "boot.sh", self.name, self._kernel, self._disk / "disk.raw", self._place / "cow"]
        self._running = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + BOOT
        while self._ssh("dev", "true", capture_output=True).returncode != 0:
            assert time.monotonic() < deadline, f"the guest does not answer:\n{self.console()}"
            assert self._running.poll() is None, f"the guest is off:\n{self.console()}"

    def power_off(self) -> None:
        """In order, as `systemctl poweroff` does it."""
        assert self._running is not None
        self._ssh("root", "systemctl poweroff", capture_output=True)
        self._running.wait(timeout=180)
        self._hang_up()

    def cut_off(self) -> None:
        """The power goes, with whatever has not reached the disk."""
        self.kill()
        self._hang_up()

    def kill(self) -> None:
        if self._running is not None:
            # Its processes are all in the namespace, and nothing else is.
            pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
            subprocess.run(["kill", "-KILL", *pids.stdout.split()], check=False)
            self._running.wait()

    def _hang_up(self) -> None:
        self._running = None
        for user in ("dev", "root"):
            (self._place / user).unlink(missing_ok=True)

    def console(self) -> str:
        return "\n".join((self._place / "cow.log").read_text(errors="replace").splitlines()[-30:])

    def run(self, command: str, *, user: str = "dev", code: int = 0, patience: int = 240) -> str:
        """What a login shell's command wrote, both streams."""
        script = f". ~/.profile; export PATH=$HOME/.skylift/bin:$PATH; {command}"
        done = self._ssh(
            user, f"exec 2>&1; {script}", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience
        )
        said = done.stdout.decode(errors="replace")
        assert done.returncode == code, f"{command}: exit code {done.returncode}\n{said}"
        return said

    def write(self, name: str, text: str) -> None:
        self.run(f"mkdir -p programs && cat > programs/{name} <<'END'\n{text}\nEND")

    def install(self) -> None:
        """README's first line."""
        self._send(SENT, "skylift")
        self.run("cd skylift && python3 -m venv ~/.skylift && ~/.skylift/bin/pip install -q .")

    def _send(self, names: Sequence[str], to: str) -> None:
        """These files and folders of the checkout."""
        packed = BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name in names:
                archive.add(TOP / name, name, filter=_without_caches)
        command = f"mkdir -p {to} && tar x -C {to}"
        assert self._ssh("dev", command, input=packed.getvalue(), capture_output=True).returncode == 0

    def _ssh(self, user: str, command: str, **more: object) -> subprocess.CompletedProcess[bytes]:
        options = [
            *(
                "-i",
                str(self._disk / "id"),
                "-q",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ),
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={self._place / user}", "-o", "ControlPersist=60"),
            *("-o", "ConnectTimeout=3"),
        ]
        full = ["ip", "netns", "exec", self.name, "ssh", *options, f"{user}@{ADDRESS}", command]
        return subprocess.run(full, check=False, **more)  # type: ignore[call-overload,no-any-return]


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name else entry


@contextmanager
def booted(place: Path) -> Iterator[Guest]:
    guest = Guest(place)
    try:
        guest.boot()
        yield guest
    finally:
        guest.kill()
