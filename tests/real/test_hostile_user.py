"""A program of the user who started the cloud, without sudo, does what it can to the cloud's files, and gains nothing.

The cloud is started as sudo starts it: by root, with SUDO_UID of a user who was added for this.
"""

from __future__ import annotations

import io
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support.real_cloud import RealCloud
from support.real_server import Server, until

import skylift
from skylift.cli.main import perform
from skylift.cloud.compute.network.loopback_range import DIRECTORY
from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

LARGE = 1 << 20
"""Bytes of an object that is a file of its own."""

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nbm90IG9uZSBvZiB0aGUgcGFja2FnZWQ=\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


MARK = "theirs-alone"
EXECUTES = ("BASH_ENV", "ENV", "PERL5LIB", "APT_CONFIG", "OPENSSL_CONF", "GCONV_PATH", "TMPDIR", "AWS_DATA_PATH")
"""Variables by which what root starts would run or read a file of theirs."""


@contextmanager
def added_user() -> Iterator[pwd.struct_passwd]:
    name = f"sky{os.getpid()}"
    subprocess.run(["useradd", "--create-home", "--user-group", "--shell", "/bin/sh", name], check=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


class Them:
    """The user, with a directory of theirs, and a file of root's that they may not read."""

    def __init__(self, entry: pwd.struct_passwd, base: Path, secret: Path) -> None:
        self.uid, self.gid = entry.pw_uid, entry.pw_gid
        self.base = base
        self.secret = secret
        self.cloud: RealCloud

    def sh(
        self, script: str, *arguments: object, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", script, "sh", *map(str, arguments)],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd=self.base,
            env={"PATH": os.defpath, **variables},
            capture_output=True,
            text=True,
            check=check,
        )

    def finds(self, true: Callable[[], bool]) -> bool:
        """In a process of theirs: whether the interpreter of these tests is theirs to start is another matter."""
        child = os.fork()
        if child == 0:
            code = 2
            try:
                os.setgroups([])
                os.setgid(self.gid)
                os.setuid(self.uid)
                code = 0 if true() else 1
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def skylift(self, *arguments: str) -> tuple[int, str]:
        """A command that only looks, in a process of theirs: its exit code, and all that it says. Root imports what it
        needs, with a look at a home that is none.
        """
        with pytest.MonkeyPatch.context() as patch, (self.secret.parent / "said").open("w+") as said:
            patch.setenv("SKYLIFT_HOME", str(self.secret.parent / "none"))
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                perform([*arguments])

            def performs() -> bool:
                os.environ.update(self.cloud.environment)
                with redirect_stdout(said), redirect_stderr(said):
                    print(perform([*arguments]), flush=True)
                return True

            assert self.finds(performs)
            said.seek(0)
            *lines, code = said.read().splitlines()
            return int(code), "\n".join(lines)


@pytest.fixture(scope="module")
def them(image_home: Home) -> Iterator[Them]:
    with ExitStack() as end:
        entry = end.enter_context(added_user())
        base = Path(tempfile.mkdtemp(prefix="sky-", dir=entry.pw_dir))
        # Where only root gets to, and in a place of its own, so that nothing else is the reason why they do not.
        secret = Path(tempfile.mkdtemp(prefix="sky-")) / "shadow"
        end.callback(shutil.rmtree, secret.parent)
        secret.parent.chmod(0o755)
        secret.write_text("root:hash:1\n")
        secret.chmod(0o600)
        them = Them(entry, base, secret)
        cloud = RealCloud(base, image_home)
        cloud.environment |= {"SUDO_UID": str(entry.pw_uid), "SUDO_GID": str(entry.pw_gid), "SUDO_USER": entry.pw_name}
        # skylift is installed there, and Python looks there first, as it does in a user's virtual environment.
        cloud.environment["PYTHONPATH"] = str(base / "lib")
        cloud.environment |= dict.fromkeys(EXECUTES, str(base / MARK))
        cloud.environment |= {"PIP_CONFIG_FILE": str(base / "pip.conf"), "PIP_CERT": str(base / "bundle.pem")}
        for path in (base, cloud.home.path, cloud.work):
            os.chown(path, them.uid, them.gid)
        cloud.home.data.make()
        package = Path(skylift.__file__).parent
        them.sh('mkdir lib; ln -s "$1" pip.conf; printf %s "$2" >bundle.pem', secret, KEY + CERTIFICATE)
        them.sh('ln -s "$1" lib; echo "echo >>$PWD/root-was-here" >$2', package, MARK)
        secret.write_text("[global]\nindex-url = https://root.test/simple\n")
        cloud.guard()
        end.callback(cloud.erase)
        end.callback(cloud.put_away)
        cloud.up()
        them.cloud = cloud
        yield them


@pytest.fixture(scope="module")
def server(them: Them) -> Server:
    return them.cloud.launch()


@pytest.fixture(autouse=True)
def unharmed(them: Them) -> Iterator[None]:
    """Whatever a test tries: root's file is as it was, and root's alone."""
    before = them.secret.read_text()
    yield
    found = them.secret.stat()
    assert them.secret.read_text() == before
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o600)


def test_what_is_in_the_state_directory_is_theirs_and_no_more(them: Them) -> None:
    home = them.cloud.home
    assert {path.name for path in home.path.iterdir()} == {"credentials.json"}
    assert (home.path / "credentials.json").stat().st_uid == them.uid
    assert them.sh('cat "$1"', home.path / "credentials.json").stdout
    pid, key = them.cloud.endpoint.pid, home.root_key()
    assert them.finds(lambda: (home.running_pid(), home.root_key()) == (pid, key))
    assert them.sh('cat "$1" >/dev/null', home.data.log).returncode == 0
    assert json.loads(them.sh('cat "$1"', home.data.path / "cloud.json").stdout)["url"] == them.cloud.endpoint.url


def test_an_address_that_only_root_can_read_is_told_and_the_next_up_mends_it(them: Them) -> None:
    """As an earlier version wrote it where the umask was strict."""
    data = them.cloud.home.data
    files = [data.path / "cloud.json", data.path / "open.json"]
    unreadable = f"may not read {files[0]}, which has"
    try:
        for file in files:
            file.chmod(0o600)
        for command in (["cloud", "status"], ["ps"]):
            code, said = them.skylift(*command)
            assert code == 2, said
            assert "is up, but" in said
            assert unreadable in said
            assert "skylift cloud up" in said
        code, said = them.skylift("doctor")
        assert code == 1, said
        assert unreadable in " ".join(said.split())
        assert "is up at" in them.cloud.up()
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o644] * 2
        assert them.skylift("cloud", "status")[0] == 0
    finally:
        # The cloud is also that of the tests after this one.
        for file in files:
            file.chmod(0o644)


def test_a_range_that_only_root_can_read_does_not_end_the_doctor(them: Them) -> None:
    file = DIRECTORY / str(them.cloud.number)
    before = stat.S_IMODE(file.stat().st_mode)
    file.chmod(0o600)
    try:
        code, said = them.skylift("doctor")
        assert code in (0, 1), said
        # Perhaps another one's, which a test beside this one has.
        assert re.search(rf"{DIRECTORY}/\d+ can be read by root only", " ".join(said.split())), said
    finally:
        file.chmod(before)


def test_nothing_of_roots_can_be_swapped_read_or_written(them: Them) -> None:
    data = them.cloud.home.data
    entries = [path for path in data.path.iterdir() if path.name not in ("cloud.json", "cloud.log")]
    assert {"captures", "objects", "instances", "volumes", "snapshots", "state.db"} <= {path.name for path in entries}
    for entry in (*entries, data.path, data.images, data.path.parent):
        attempts = [
            'mv "$1" "$1-away"',
            'ln -s /etc "$1/planted"',
            'touch "$1"',
            'rmdir "$1"',
            'rm -f "$1"',
            'ls "$1"/',
        ]
        succeeded = [attempt for attempt in attempts if them.sh(attempt, entry, check=False).returncode == 0]
        assert succeeded == [], entry
    for name in ("cloud.json", "cloud.log"):
        attempts = ['echo >>"$1"', 'mv "$1" away', 'chmod 666 "$1"', 'rm -f "$1"', 'ln -s "$2" "$1.new"']
        succeeded = [
            each for each in attempts if them.sh(each, data.path / name, them.secret, check=False).returncode == 0
        ]
        assert succeeded == [], name


def test_what_the_caller_may_not_read_reaches_no_server(server: Server) -> None:
    assert "root.test" not in server.says("cat /etc/environment")
    bundle = server.says("cat /etc/ssl/certs/ca-certificates.crt")
    assert "bm90IG9uZSBvZiB0aGUgcGFja2FnZWQ=" in bundle
    assert "PRIVATE" not in bundle and "c2VjcmV0" not in bundle


def test_nothing_that_root_starts_has_their_variables(them: Them, server: Server) -> None:
    """The cloud's process, and each program that it has started for servers and their networks."""
    number, seen = str(them.cloud.number), set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if str(them.cloud.home.path) in words or any(f"/{number}/" in f"{word}/" for word in words):
                seen.add(Path(words[0]).name)
                variables = (process / "environ").read_bytes().decode(errors="replace")
                assert MARK not in variables and "PYTHON" not in variables, words
    assert {"conmon", Path(sys.executable).name} <= seen
    assert not (them.base / "root-was-here").exists()


def test_a_module_that_they_put_where_python_looks_is_not_run_by_root(them: Them, server: Server) -> None:
    """Of every name that Python's own library has; the cloud does a bit of everything meanwhile."""
    cloud, planted, mark = them.cloud, them.base / "lib", them.base / "root-was-here"
    names = sorted(name for name in sys.stdlib_module_names if name not in ("__main__", "antigravity", "this"))
    code = f"open({str(mark)!r}, 'w').close()"
    them.sh('cd "$1"; shift; for name; do printf %s "$code" >"$name.py"; done', planted, *names, code=code)
    try:
        s3, iam = cloud.client("s3"), cloud.client("iam")
        s3.create_bucket(Bucket="of-modules")
        s3.put_object(Bucket="of-modules", Key="large", Body=b"x" * LARGE)
        s3.delete_object(Bucket="of-modules", Key="large")
        s3.delete_bucket(Bucket="of-modules")
        iam.create_user(UserName="of-modules")
        iam.delete_user(UserName="of-modules")
        cloud.client("ssm").describe_parameters()
        cloud.client("sts").get_caller_identity()
        cloud.client("cloudwatch").describe_alarms()
        cloud.client("autoscaling").describe_auto_scaling_groups()
        with pytest.raises(ClientError):
            cloud.ec2.describe_instances(InstanceIds=["i-0123456789abcdef0"])
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(cloud.endpoint.url, data=b"\xff{", method="POST"))
        assert server.says("curl -s http://169.254.169.254/latest/ -o /dev/null -w %{http_code}") in ("200", "401")
        cloud.ec2.reboot_instances(InstanceIds=[server.id])
        twin = cloud.launch()
        twin.terminate()
        server.await_way_in("SSH after the reboot")
        late = [line for line in cloud.home.data.log.read_text().splitlines() if "import" in line]
        assert (mark.exists(), late) == (False, [])
    finally:
        them.sh('rm -rf "$1"/*.py "$1"/__pycache__', planted)


def test_directories_of_the_same_names_in_their_own_are_nothing_to_the_cloud(them: Them, server: Server) -> None:
    """What was enough before: a `captures` in which root left a setuid program, and `objects` that leads elsewhere."""
    home = them.cloud.home
    them.sh(
        'cd "$1"; mkdir captures images instances volumes snapshots; ln -s "$2" objects; ln -s "$3" .cloud.log.new;'
        'ln -s "$3" cloud.log; ln -s "$3" cloud.lock; ln -s "$3" up.lock',
        home.path,
        them.secret.parent,
        them.secret,
    )
    s3 = them.cloud.client("s3")
    s3.create_bucket(Bucket="of-a-user")
    s3.put_object(Bucket="of-a-user", Key="large", Body=b"x" * LARGE)
    server.ssh("sudo cp /bin/sh /var/tmp/shell; sudo chmod 6755 /var/tmp/shell; sync")
    image = them.cloud.ec2.create_image(InstanceId=server.id, Name="with a setuid shell", NoReboot=True)["ImageId"]

    def made() -> bool:
        state = them.cloud.ec2.describe_images(ImageIds=[image])["Images"][0]["State"]
        assert state != "failed"
        return bool(state == "available")

    until(made, "the image to be made", patience=300)
    assert [path for path in home.path.rglob("*") if path.is_file() and not path.is_symlink()] == [
        home.path / "credentials.json"
    ]
    shells = list(home.data.captures.glob("*/root/var/tmp/shell"))
    assert len(shells) == 1
    # And nothing of what is stored has an id that the host gives to anybody.
    for tree in (home.data.captures, home.data.instances, home.data.images):
        for path in tree.rglob("*"):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_ISUID | stat.S_ISGID):
                assert min(found.st_uid, found.st_gid) >= 1_000_000_000, path
    them.cloud.down()
    them.cloud.up()
    assert s3.get_object(Bucket="of-a-user", Key="large")["Body"].read() == b"x" * LARGE


def test_files_that_root_writes_for_them_go_nowhere_else(them: Them) -> None:
    home = them.cloud.home
    key = home.root_key()
    them.sh('cd "$1"; rm credentials.json; ln -s "$2" credentials.json; ln -s "$2" ca.pem', home.path, them.secret)
    them.cloud.down()
    them.cloud.up("--tls")
    for name in ("credentials.json", "ca.pem"):
        assert not (home.path / name).is_symlink()
        assert (home.path / name).stat().st_uid == them.uid
    assert home.root_key() not in (None, key)


def test_a_state_directory_that_leads_to_roots_is_refused(them: Them) -> None:
    home, hidden = them.cloud.home.path, them.secret.parent / "hidden"
    hidden.mkdir(mode=0o700)
    them.sh('mv "$1" "$1-away" && ln -s "$2" "$1"', home, hidden)
    try:
        refused = them.cloud.skylift("cloud", "up", check=False)
        assert refused.returncode == 2, refused.stderr
        assert list(hidden.iterdir()) == []
    finally:
        them.sh('rm "$1" && mv "$1-away" "$1"', home)
        hidden.rmdir()


def test_what_is_remembered_of_profiles_names_no_file_of_roots(them: Them) -> None:
    remembered = {"name": "x", "config": str(them.secret), "credentials": str(them.secret)}
    texts = {"config_text": "index-url", "credentials_text": "index-url"}
    them.sh('printf %s "$2" >"$1/profiles.json"', them.cloud.home.path, json.dumps([{**remembered, **texts}]))
    refused = them.cloud.skylift("cloud", "down", check=False)
    assert refused.returncode == 2
    assert f"{them.secret} cannot be read: Permission denied" in refused.stderr
    them.sh('rm "$1/profiles.json"', them.cloud.home.path)
    them.cloud.up()
