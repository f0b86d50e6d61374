"""A job that is out to get whoever started it: it writes what it likes into its own record, with its role's
credentials, while its user looks at it, logs in, collects, cancels and forgets it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import roles

pytestmark = pytest.mark.real

ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202e\x9b"
PLANTED = "[core]\n\tfsmonitor = touch owned\n"
TOUCH = "touch owned; :"

# Puts what stands in a folder over its own record, again and again. The supervisor writes its status when it changes,
# the last time when the program runs: before that, a look may find the true one.
SOURCE = """\
# /// script
# ///
import json, os, signal, subprocess, sys, time
subprocess.run(["tar", "-xf", "server.tar"], check=True)
ask = ["aws", "s3", "cp", "--quiet", sys.argv[1] + "/status.json", "-"]
while "pid" not in json.loads(subprocess.run(ask, stdout=subprocess.PIPE, check=True).stdout):
    pass
copy = ["aws", "s3", "cp", "--quiet", "--recursive", "server", sys.argv[1]]
subprocess.run(copy, check=True)
print("ready", flush=True)
if os.fork() == 0:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        subprocess.run(copy, check=False)
time.sleep(600)
"""

LIES: dict[str, Any] = {
    "status.json": {
        "state": "failed",
        "final": True,
        "exit_code": 3,
        "role": "precious",
        "reason": f"{ESCAPES}All is well.",
        "detail": f"{ESCAPES}\nNothing to see.",
        "kept_until": 253402300000,
        "updated": "9999-12-31T23:59:59.000Z",
        "streams": {},
    },
    "hostkeys.json": {
        "user": "nobody",
        "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM"],
    },
}
RUBBISH: dict[str, Any] = {
    "status.json": {"state": f"{ESCAPES}running", "final": False, "kept_until": "soon", "role": "precious"},
    "hostkeys.json": {"user": f"-oProxyCommand={TOUCH}", "keys": [f"-oProxyCommand={TOUCH}"]},
    "manifest.json": {"results": [{"path": "../../owned", "size": 1, "sha256": "."}]},
}


@pytest.fixture
def home(cloud: RealCloud, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The user's working directory, in a folder of which nothing else may change."""
    place = cloud.work / request.node.name.replace("[", "-").rstrip("]")
    found = place / "home"
    (found / ".git").mkdir(parents=True)
    (found / ".git/config").write_text("[core]\n")
    (found / ".bashrc").write_text("# mine\n")
    (place / "outside").mkdir()
    (found / "link").symlink_to(place / "outside")
    (found / "job.py").write_text(SOURCE)
    yield found
    until(lambda: cloud.skylift("ps", "--json").stdout.strip() == "[]", "the servers of jobs to be gone")


@pytest.fixture
def precious(cloud: RealCloud) -> Iterator[None]:
    """A role that is nobody's job's, and that must be there as it was at the end."""
    iam, trust = cloud.client("iam"), {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [{**trust, "Action": "sts:AssumeRole"}]})
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    iam.create_role(RoleName="precious", AssumeRolePolicyDocument=document)
    iam.put_role_policy(RoleName="precious", PolicyName="job", PolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName="precious")
    iam.add_role_to_instance_profile(InstanceProfileName="precious", RoleName="precious")
    yield
    (profile,) = iam.list_instance_profiles_for_role(RoleName="precious")["InstanceProfiles"]
    assert profile["InstanceProfileName"] == "precious"
    iam.remove_role_from_instance_profile(InstanceProfileName="precious", RoleName="precious")
    iam.delete_instance_profile(InstanceProfileName="precious")
    iam.delete_role_policy(RoleName="precious", PolicyName="job")
    iam.delete_role(RoleName="precious")


def manifest_of(files: dict[str, str]) -> dict[str, Any]:
    import hashlib

    entries = [
        {"path": path, "size": len(body.encode()), "sha256": hashlib.sha256(body.encode()).hexdigest()}
        for path, body in files.items()
    ]
    return {"results": entries, "unmatched": [ESCAPES], "left_behind": [ESCAPES], "final": True}


def start(cloud: RealCloud, home: Path, name: str, always: dict[str, Any], files: dict[str, str]) -> None:
    """Until the job has written what it means to: `always` over its record, and `files` among its results."""
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    server = home.parent / "sent/server"
    for path, body in files.items():
        place = server / "results" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(body)
    for path, content in always.items():
        server.mkdir(parents=True, exist_ok=True)
        (server / path).write_text(json.dumps(content))
    with (home.parent / "server.tar").open("wb") as archive:
        subprocess.run(["tar", "-c", "-C", server.parent, "server"], stdout=archive, check=True)
    (home.parent / "server.tar").rename(home / "server.tar")
    shutil.rmtree(server.parent)
    own = f"s3://{bucket}/jobs/{name}/server"
    cloud.skylift("run", "-d", "--name", name, "--in", "server.tar", "--out", "out", "job.py", own, cwd=home)
    s3 = cloud.client("s3")

    def written() -> bool:
        keys = {f"jobs/{name}/server/{path}": content for path, content in always.items()}
        there = {each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix=f"jobs/{name}/").get("Contents", [])}
        bodies = (s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys)
        return there >= set(keys) and [json.loads(each) for each in bodies] == list(keys.values())

    until(written, "the job to have written its record")


def look(cloud: RealCloud, home: Path, *arguments: str) -> tuple[int, str]:
    """A command as the user types it: the exit code, and what came to the terminal, which obeys none of it."""
    done = cloud.skylift(*arguments, cwd=home, check=False)
    shown = done.stdout + done.stderr
    assert shown.replace("\n", "").isprintable(), shown
    assert "mistake in skylift" not in shown, shown
    return done.returncode, shown


def untouched(home: Path, *more: str) -> bool:
    """Nothing came but what was asked for."""
    names = sorted(path.relative_to(home.parent).as_posix() for path in home.parent.rglob("*"))
    known = [".bashrc", ".git", ".git/config", "job.py", "link", "server.tar", *more]
    assert names == sorted(["home", "outside", *(f"home/{each}" for each in known)])
    assert (home / ".git/config").read_text() == "[core]\n"
    return (home / ".bashrc").read_text() == "# mine\n" and (home / "job.py").read_text() == SOURCE


def test_lies(cloud: RealCloud, home: Path, precious: None) -> None:
    files = {
        ".git/config": PLANTED,
        ".bashrc": TOUCH,
        "job.py": TOUCH,
        "link/owned": TOUCH,
        "out/.git/config": PLANTED,
        f"out/{ESCAPES}": "good",
        "out/a": "good",
    }
    start(cloud, home, "lies", {**LIES, "manifest.json": manifest_of(files)}, files)
    code, shown = look(cloud, home, "ps", "--all")
    assert (code, "lies" in shown) == (0, True)
    code, shown = look(cloud, home, "results", "lies")
    assert code == 0, shown
    assert "not asked for with --out, so not written here: .git/config, .bashrc, job.py, link/owned" in shown
    assert untouched(home, "out", "out/a", f"out/{ESCAPES}")
    code, shown = look(cloud, home, "ssh", "lies", "uptime")
    assert code == 255, "no server has that host key"
    assert look(cloud, home, "wait", "lies")[0] == 3
    assert look(cloud, home, "sweep", "--dry-run")[0] == 0
    assert look(cloud, home, "cancel", "lies")[0] == 0
    until(lambda: json.loads(cloud.skylift("ps", "--json").stdout) == [], "the server to be gone")
    assert look(cloud, home, "rm", "lies")[0] == 0
    assert "skylift-lies" not in roles(cloud)
    assert untouched(home, "out", "out/a", f"out/{ESCAPES}")


def test_rubbish(cloud: RealCloud, home: Path, precious: None) -> None:
    start(cloud, home, "rubbish", RUBBISH, {})
    code, shown = look(cloud, home, "ps", "--all")
    assert (code, "damaged" in shown) == (0, True)
    for command in (["ssh", "rubbish", "uptime"], ["results", "rubbish"], ["wait", "rubbish"]):
        code, shown = look(cloud, home, *command)
        assert (code, "is damaged" in shown) == (125, True), command
    assert look(cloud, home, "logs", "rubbish")[0] == 125
    assert look(cloud, home, "rm", "rubbish")[0] == 125, "it has a server still"
    assert look(cloud, home, "cancel", "rubbish")[0] == 0
    until(lambda: json.loads(cloud.skylift("ps", "--json").stdout) == [], "the server to be gone")
    assert look(cloud, home, "rm", "rubbish")[0] == 0
    assert "rubbish" not in look(cloud, home, "ps", "--all")[1]
    assert "skylift-rubbish" not in roles(cloud)
    assert untouched(home)
