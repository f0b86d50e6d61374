"""A user of this machine without root and without sudo: sets up a cloud of their own, runs jobs, and erases it."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.real_server import until

from skylift.cloud.state.home import Home
from skylift.cloud.state.rootless import STORED, UIDS

pytestmark = pytest.mark.real

REPOSITORY = Path(__file__).parents[2]
TUN = Path("/dev/net/tun")
PREFIX = "skylift-test-"
GROUP = 2_147_000_000
NAME = f"{PREFIX}{os.getpid()}"
Done = subprocess.CompletedProcess[str]
SUBIDS = (Path("/etc/subuid"), Path("/etc/subgid"))

# Their Python, its packages and skylift may be below a directory of root's alone: these are shown, and nothing else.
SHOW = """
for place; do
    shift
    test "$place" != -- || break
    mount --bind "$place" /mnt
    top=/$(echo "$place" | cut -d/ -f2)
    test -x "$top/.shown" || mount -t tmpfs -o mode=755 shown "$top"
    mkdir -p "$place" "$top/.shown"
    mount --move /mnt "$place"
done
cd "$HOME"
exec "$@"
"""


@dataclass(frozen=True)
class Person:
    """Somebody with a home of their own, and the ids `first` and on of /etc/subuid."""

    uid: int
    home: Path
    first: int

    @property
    def state(self) -> Path:
        return self.home / ".local/share/skylift"

    def runs(self, *command: str, check: bool = True, group: int | None = None, **more: str) -> Done:
        """A command in an environment as after a login, and `more`; also in a group that is not their first one."""
        closed = [str(place) for place in (sys.base_prefix, sys.prefix, REPOSITORY) if not _is_open(Path(place))]
        environment = {
            "HOME": str(self.home),
            "USER": NAME,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            **{name: value for name, value in os.environ.items() if name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE")},
            **more,
        }
        whole = ["unshare", "--mount", "sh", "-euc", SHOW, "show", *closed, "--"]
        whole += ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}"]
        whole.append("--clear-groups" if group is None else f"--groups={group}")
        done = subprocess.run(
            [*whole, *command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def skylift(self, *arguments: str, check: bool = True) -> Done:
        return self.runs(sys.executable, "-m", "skylift.cli.main", *arguments, check=check)

    def processes(self) -> list[int]:
        """Theirs, and those of their servers."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                status = (process / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            uid = int(status.split("\nUid:\t", 1)[1].split()[0])
            if (uid == self.uid or self.first <= uid < self.first + UIDS) and "\nState:\tZ" not in status:
                found.append(int(process.name))
        return found

    def give_ids(self) -> None:
        if f"{NAME}:" in SUBIDS[0].read_text():
            return
        last = self.first + UIDS - 1
        for option in ("--add-subuids", "--add-subgids"):
            subprocess.run(["usermod", option, f"{self.first}-{last}", NAME], check=True)

    def give_image(self, image_home: Home) -> None:
        """The one that is kept, with the owners that it would have if they had built it. A build takes a minute."""
        images = self.state / "data/images"
        (manifest,) = image_home.data.images.glob("ami-*.json")
        place = images / manifest.stem
        made = [place, *place.parents][: len(place.relative_to(self.home).parts)]
        for directory in reversed(made):
            directory.mkdir(mode=0o711, exist_ok=True)
        shutil.copy(manifest, images)
        copy = 'mount --bind -o "$1" "$2/root" /mnt && exec cp --archive /mnt "$3/root"'
        shown = f"X-mount.idmap=b:{STORED}:{self.first}:{UIDS}"
        command = ["unshare", "--mount", "sh", "-euc", copy, "copy", shown, str(manifest.with_suffix("")), str(place)]
        subprocess.run(command, check=True)
        for each in (*made, images / manifest.name):
            os.chown(each, self.uid, self.uid)


def _is_open(place: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (place, *place.parents))


def _remove(person: Person, name: str) -> None:
    for pid in person.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not person.processes(), "their processes to end", 30)
    subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


def _first_ids(name: str) -> int:
    found = [int(line.split(":")[1]) for line in SUBIDS[0].read_text().splitlines() if line.startswith(f"{name}:")]
    return found[0] if found else STORED


def _free_ids() -> int:
    lines = [line.split(":") for file in SUBIDS for line in file.read_text().splitlines()]
    return max((int(first) + int(count) for _, first, count in lines), default=100_000)


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    """Somebody who may have ranges of ids, and has none yet."""
    for left in pwd.getpwall():
        # Of a run that was killed.
        if left.pw_name.startswith(PREFIX) and not Path("/proc", left.pw_name.removeprefix(PREFIX)).exists():
            _remove(Person(left.pw_uid, Path(left.pw_dir), _first_ids(left.pw_name)), left.pw_name)
    mode = TUN.stat().st_mode
    # As udev has it; some machines without udev keep it for root.
    TUN.chmod(0o666)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", "--key", "SUB_UID_COUNT=0", NAME], check=True)
    known = pwd.getpwnam(NAME)
    for option in ("--del-subuids", "--del-subgids"):
        subprocess.run(["usermod", option, "1-4294967294", NAME], check=True)
    made = Person(known.pw_uid, Path(known.pw_dir), _free_ids())
    try:
        yield made
    finally:
        _remove(made, NAME)
        TUN.chmod(mode)
        assert not [file for file in SUBIDS if f"{NAME}:" in file.read_text()]


def test_without_ids_it_is_refused_by_name(person: Person) -> None:
    done = person.skylift("setup", "--rootless", check=False)
    assert done.returncode == 2
    assert f"/etc/subuid has no {UIDS} ids for {NAME}" in done.stderr
    assert "An administrator can add a line" in done.stderr
    assert not (person.state / "holder").exists(), "the next command asks again"


def test_what_is_closed_to_them_is_named(person: Person) -> None:
    person.give_ids()
    TUN.chmod(0o600)
    try:
        done = person.skylift("setup", "--rootless", check=False)
    finally:
        TUN.chmod(0o666)
    said = [f"skylift: {TUN} is not open to you.", f"An administrator can: chmod 666 {TUN}"]
    assert [line.strip() for line in done.stderr.splitlines()] == said
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir="/var/tmp") as place:
        (home := Path(place, "home")).mkdir()
        os.chown(home, person.uid, person.uid)
        os.chown(place, 0, GROUP)
        Path(place).chmod(0o710)
        setup = (sys.executable, "-m", "skylift.cli.main", "setup", "--rootless")
        done = person.runs(*setup, check=False, group=GROUP, SKYLIFT_HOME=str(home))
    assert f"{home} is open to you by a group besides your first one" in done.stderr
    assert done.returncode == 2


def test_who_has_no_sudo_is_told_of_it(person: Person) -> None:
    (person.home / "job.py").write_text("print('hello')")
    done = person.skylift("run", "job.py", check=False)
    assert done.returncode == 2, done.stderr
    assert "skylift setup --rootless" in done.stderr


def test_a_cloud_of_their_own_from_setup_to_erase(person: Person, image_home: Home) -> None:
    person.give_ids()
    person.give_image(image_home)
    done = person.skylift("setup", "--rootless")
    assert done.stderr.splitlines()[0] == "This cloud runs without root, in namespaces of your own:"
    assert len(done.stderr.splitlines()) == 5
    assert done.stdout.startswith("Ready: the cloud is up at http://127.0.0.1:")

    done = person.skylift("run", "job.py")
    assert done.stdout == "hello\n"
    assert "MISSING" not in person.skylift("doctor").stdout

    (person.home / "job.py").write_text("import os; open('found.txt', 'w').write(os.uname().nodename)")
    done = person.skylift("run", "--keep", "10m", "--out", "found.txt", "--name", "kept", "job.py")
    result = person.home / "found.txt"
    assert (result.read_text()[:3], result.stat().st_uid) == ("ip-", person.uid)
    assert person.skylift("ssh", "kept", "sudo id -u; sudo touch /etc/mine; stat -c %u /etc/mine").stdout == "0\n0\n"
    by_name = "import boto3; boto3.client('ec2').create_volume(Size=1, AvailabilityZone='us-east-1a')"
    exports = person.skylift("cloud", "env").stdout.replace("\n", ";")
    line = f"{exports} exec {shlex.quote(sys.executable)} -c {shlex.quote(by_name)}"
    refused = person.skylift("cloud", "enter", "sh", "-c", line, check=False)
    assert "CreateVolume is not supported by a cloud without root" in refused.stderr
    done = person.runs(sys.executable, "-c", "import skylift; skylift.run('job.py')", check=False)
    assert "namespaces that this program is not in" in done.stderr

    (person.home / "each.py").write_text("import os, sys, time; time.sleep(4); print(os.uname().nodename)")
    for name in "ab":
        (person.home / name).touch()
    person.skylift("map", "--servers", "2", "--per-server", "1", "--name", "both", "each.py", "a", "b")

    person.skylift("cloud", "down", "--force")
    until(lambda: not person.processes(), "the end of what the cloud had", 30)
    assert "skylift cloud up" in person.skylift("ps", check=False).stderr
    assert {path.name for path in person.state.iterdir()} == {"cache", "credentials.json", "data", "holder", "keys"}
    # The cloud is started by the program that has read its input, and the umask is a strict one.
    line = f"umask 077; echo a | SUDO_UID=1 {shlex.quote(sys.executable)} -m skylift.cli.main map --inputs - each.py"
    assert "1 of 1 inputs succeeded" in person.runs("sh", "-c", line).stderr
    modes = person.skylift("cloud", "enter", "stat", "--format=%a", "/etc/resolv.conf", "/run/netns", "/run/.machine")
    assert modes.stdout.split() == ["644", "755", "755"], "others than root in there look names up, too"

    person.skylift("cloud", "down", "--erase", "--yes")
    until(lambda: not person.processes(), "the end of all that is theirs", 30)
    assert {path.name for path in person.state.iterdir()} <= {"cache", "keys"}
    left = [path for path in person.home.rglob("*") if path.lstat().st_uid not in (0, person.uid)]
    assert left == [], "they could not remove these themselves"
