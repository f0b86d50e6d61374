"""A `skylift run` that is under way, in a test's hands."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

from support.real_cloud import RealCloud

# Says `ready`, runs until there is a file `go` beside it, leaves a result, and exits with 7.
WAITS = """
import os, sys, time
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
open("result.txt", "w").write("42")
print("done")
sys.exit(7)
"""


class RunningJob:
    """A job whose program has said `ready`. `folder` is where it was started from."""

    def __init__(self, cloud: RealCloud, folder: Path, *options: str, source: str = WAITS) -> None:
        self._cloud = cloud
        self.folder = folder
        self.name = options[options.index("--name") + 1] if "--name" in options else f"job-{secrets.token_hex(4)}"
        named = () if "--name" in options else ("--name", self.name)
        (folder / "job.py").write_text(source)
        with (folder / "words").open("wb") as words:
            self.client = cloud.popen(
                "run", *named, *options, "job.py", cwd=folder, stdout=subprocess.PIPE, stderr=words
            )
        assert self.client.stdout is not None
        line = self.client.stdout.readline()
        assert line == b"ready\n", self.words
        (listed,) = [each for each in jobs(cloud) if each["name"] == self.name]
        self.instance, self.address = listed["instance"], listed["address"]

    @property
    def words(self) -> str:
        """Standard error so far."""
        return (self.folder / "words").read_text()

    def go(self) -> None:
        self._cloud.skylift("ssh", self.name, "touch", "job/go")

    def finish(self) -> tuple[int, bytes]:
        """Exit code and the rest of standard output."""
        assert self.client.stdout is not None
        rest = self.client.stdout.read()
        return self.client.wait(), rest

    def way_in(self) -> list[str]:
        """`skylift ssh` as a plain OpenSSH command, which works without the cloud."""
        self._cloud.skylift("ssh", self.name, "true")
        keys = self._cloud.home.path / "keys"
        (key,) = keys.glob("*.pem")
        settings = (f"UserKnownHostsFile={keys / 'known_hosts.d' / self.name}", "BatchMode=yes", "IdentitiesOnly=yes")
        options = [word for setting in settings for word in ("-o", setting)]
        return ["ssh", "-F", "/dev/null", "-i", str(key), *options, f"ec2-user@{self.address}"]


def jobs(cloud: RealCloud, *options: str) -> list[dict[str, Any]]:
    """What `skylift ps --json` lists."""
    found: list[dict[str, Any]] = json.loads(cloud.skylift("ps", "--json", *options).stdout)
    return found


def up(cloud: RealCloud) -> set[str]:
    """The names of the jobs that `skylift ps` lists. Servers of other files' jobs may be kept in this cloud: a test
    compares these with those that were there before it, or looks for its own."""
    return {each["name"] for each in jobs(cloud)}


def ended_job(cloud: RealCloud, name: str) -> tuple[str, int]:
    """State and exit code of a job that may have ended."""
    (found,) = [each for each in jobs(cloud, "--all") if each["name"] == name]
    return found["state"], found["exit_code"]


def roles(cloud: RealCloud) -> set[str]:
    """The names of all roles and instance profiles of jobs. Tests share a cloud: a test compares them with those that
    were there before it, or looks for its own."""
    iam = cloud.client("iam")
    made = set(cloud.job_roles())
    profiles = iam.list_instance_profiles(PathPrefix="/skylift/")["InstanceProfiles"]
    return made | {profile["InstanceProfileName"] for profile in profiles}
