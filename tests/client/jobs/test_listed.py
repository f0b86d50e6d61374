"""Which jobs `skylift ps` lists, in which order, and what it says of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.hostile_json import STATUS

from skylift.cli.complete import job_name
from skylift.cli.main import perform
from skylift.client.job.record import INDEX, JobKeys
from skylift.client.job.settings import Settings
from skylift.client.job.tags import TAG_WORKER, job_tags
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api


def iso(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))


class Past:
    """Jobs whose records are there, each submitted so many seconds ago."""

    def __init__(self, account: Account) -> None:
        self.account, self.now = account, time.time()
        ensure_bucket(account.api, account.bucket)

    def put(self, key: str, content: dict[str, Any]) -> None:
        self.account.api.put(self.account.bucket, key, json.dumps(content).encode())

    def job(
        self,
        name: str,
        ago: float,
        state: str = "succeeded",
        of_map: dict[str, str] | None = None,
        *,
        indexed: bool = False,
        **more: Any,
    ) -> None:
        record = {
            "map": of_map,
            "created": self.now - ago,
            "deadline": self.now + 600,
            "python": True,
            "argv": ["python", f"{name}.py", "--all", "a b"],
        }
        self.put(JobKeys(name).record, {**record, "instance_type": "t3.small", "keep": 0, "outputs": []})
        if indexed:
            self.put(f"{INDEX}{name}", {})
        times = {
            "booted": iso(self.now - ago + 1),
            "started": iso(self.now - ago + 2),
            "ended": iso(self.now - ago + 62),
        }
        told = {**STATUS, "state": state, "role": None, "kept_until": None, **times, "program_seconds": 60.0, **more}
        self.put(JobKeys(name).status, told)

    def server(self, job: str, *, worker: bool = False) -> None:
        image = self.account.api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
        tags = [*job_tags(job), *([{"Key": TAG_WORKER, "Value": "yes"}] if worker else [])]
        specified = [{"ResourceType": "instance", "Tags": tags}]
        self.account.api.call(
            "ec2",
            "run_instances",
            ImageId=image,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=specified,
        )


@pytest.fixture
def past(settings: Settings, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Past:
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    monkeypatch.setattr("skylift.place.settings.settings_of_running", lambda *_: settings)
    monkeypatch.chdir(folder)
    return Past(open_account(settings))


def listed(capfd: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert perform(["ps", "--json", *options]) == 0
    found: list[dict[str, Any]] = json.loads(capfd.readouterr().out)
    return found


def test_newest_first_and_the_last_ones(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(25):
        age = (number * 7) % 25
        past.job(f"job-{age:02}", ago=100 + 60 * age, state="failed" if number else "idle")
    wanted = [f"job-{number:02}" for number in range(25)]
    assert [each["name"] for each in listed(capfd, "--all")] == wanted
    assert [each["name"] for each in listed(capfd, "-n", "3")] == wanted[:3]
    assert [each["name"] for each in listed(capfd, "--name", "job-1?", "-n", "2")] == ["job-10", "job-11"]
    assert [each["name"] for each in listed(capfd, "--state", "idle")] == ["job-00"]
    assert listed(capfd) == []
    assert perform(["ps", "--all"]) == 0
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:]] == wanted[:20]
    assert err == "There are older ones: skylift ps --all -n 100\n"
    assert perform(["ps", "-n", "25"]) == 0
    assert capfd.readouterr().err == ""


@pytest.fixture
def read(past: Past, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs of which an object was read, in this order."""
    jobs: list[str] = []
    get = Api.get

    def noted(api: Api, bucket: str, key: str, *most: int) -> bytes | None:
        jobs.append(key.split("/")[1])
        return get(api, bucket, key, *most)

    monkeypatch.setattr(Api, "get", noted)
    return jobs


def test_no_more_is_read_than_is_shown(past: Past, read: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """However many jobs there were. The index has their times, and a schedule's runs have them in their names."""
    for number in range(40):
        past.job(f"job-{number:02}", ago=10000, indexed=True)
    past.job("run-20200101-0000", ago=10)
    past.job("run-20400101-0000", ago=10)
    # Times of the index are S3's own, in seconds: all these jobs are of the same few.
    ages = past.account.submitted()
    wanted = ["run-20400101-0000", *sorted(ages, key=lambda name: (int(ages[name]), name), reverse=True)]
    assert [each["name"] for each in listed(capfd, "-n", "3")] == wanted[:3]
    assert set(read) == set(wanted[:4]), "with the one that tells whether there are more"
    read.clear()
    assert perform(["ps", "--all"]) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()[1:]] == wanted[:20]
    assert set(read) == set(wanted[:21])
    read.clear()
    assert len(listed(capfd, "--all")) == 42
    assert len(set(read)) == 42
    read.clear()
    assert [each["name"] for each in listed(capfd, "--name", "run-*")] == ["run-20400101-0000", "run-20200101-0000"]
    assert set(read) == {"run-20400101-0000", "run-20200101-0000"}


def test_a_state_is_looked_for_from_the_newest_one_on(
    past: Past, read: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 31):
        past.job(f"run-204001{number:02}-0000", ago=10, state="failed" if number in (1, 25) else "succeeded")
    found = listed(capfd, "--state", "failed", "-n", "1")
    assert [each["name"] for each in found] == ["run-20400125-0000"]
    looked_at = len(set(read))
    read.clear()
    assert len(listed(capfd, "--state", "failed")) == 2
    assert looked_at == len(set(read)) == 30, "it is also looked whether there is another one"


def test_jobs_that_are_not_in_the_index_are_in_their_order(
    past: Past, read: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """They are of an earlier version, or their client was killed before it had entered them."""
    past.job("old", ago=5000)
    past.job("new", ago=-5000)
    past.job("known", ago=10, indexed=True)
    past.account.api.put(past.account.bucket, f"{INDEX}gone", b"")
    assert [each["name"] for each in listed(capfd, "--all")] == ["new", "known", "old"]
    assert [each["name"] for each in listed(capfd, "-n", "1")] == ["new"]


def test_a_job_that_is_removed_leaves_the_index(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    past.job("one", ago=1000, indexed=True)
    assert perform(["rm", "one"]) == 0
    assert past.account.submitted() == {}


def test_what_was_done_to_each_is_told_before_the_next_one(past: Past, endpoint: str, tmp_path: Path) -> None:
    """Also into a pipe. Whoever has gone away does not keep the others from being done."""
    for name in ("one", "two", "three", "four"):
        past.job(name, ago=1000)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SKYLIFT_HOME": str(tmp_path / "home"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": past.account.settings.region,
    }
    rm = [sys.executable, "-m", "skylift.cli.main", "rm", "--on", "aws"]

    def end(*names: str, stdout: int, stderr: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*rm, *names], check=False, text=True, env=environment, stdout=stdout, stderr=stderr)

    both = end("one", "nobody-knows", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert [line.split()[0] for line in both.stdout.splitlines()[:2]] == ["one:", "skylift:"]
    reading, writing = os.pipe()
    os.close(reading)
    unread = end("two", "three", "four", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert unread.stderr == ""
    assert past.account.recorded() == []


def test_what_is_said_of_one(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    past.job("one", ago=1000, market=None, instance_type=None, exit_code=0)
    (found,) = listed(capfd, "--all")
    assert found["program"] == "one.py --all 'a b'"
    assert found["created"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(past.now - 1000))
    assert (found["seconds"], found["type"], found["exit_code"]) == (60.0, "t3.small", 0)
    # 61 seconds of t3.small in us-east-1.
    assert found["cost_usd"] == pytest.approx(0.0208 * 61 / 3600, rel=0.02)


def test_a_map_has_the_servers_and_the_cost_of_all(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    past.server("many", worker=True)
    past.server("many", worker=True)
    past.server("many")
    past.job("many", ago=1000, of_map={"group": "skylift-workers.many"}, market=None)
    hour = {"instance_type": "t3.small", "market": "on-demand", "servers": 3, "seconds": 3600}
    past.put(JobKeys("many").progress, {"others": [hour]})
    (found,) = listed(capfd)
    assert found["servers"] == 3
    assert found["cost_usd"] == pytest.approx(0.0208 * (1 + 61 / 3600), rel=0.01)
    assert perform(["ps"]) == 0
    assert f"{found['instance']} +2 " in capfd.readouterr().out
    # A server writes it: what cannot be is nothing.
    past.put(JobKeys("many").progress, {"others": [{**hour, "seconds": "long"}]})
    (found,) = listed(capfd)
    assert found["cost_usd"] == pytest.approx(0.0208 * 61 / 3600, rel=0.02)


def test_a_job_on_a_kept_server_has_its_own_time(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    """The server was launched now, long after one job was submitted; for another it is long before."""
    past.server("mine")
    past.job("mine", ago=-3600, state="running", final=False, ended=None)
    (found,) = listed(capfd)
    assert found["created"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(past.now + 3600))
    assert found["launched"] < found["created"]


def test_one_that_vanished_before_it_told_anything(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    past.job("old", ago=500)
    past.job("lost", ago=100)
    past.account.api.call("s3", "delete_object", Bucket=past.account.bucket, Key=JobKeys("lost").status)
    first, second = listed(capfd, "--all")
    assert (first["name"], first["state"], first["seconds"], first["cost_usd"]) == ("lost", "lost", None, None)
    assert second["name"] == "old"


def test_forget_all_that_have_ended(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    past.job("kept", ago=300)
    past.server("kept")
    past.job("runs", ago=200, state="running", final=False, ended=None)
    past.server("runs")
    past.job("old", ago=900)
    past.job("failed", ago=800, state="failed", exit_code=1)
    # A client writes the record before it starts the server.
    for name, ago in (("lost", 1000), ("begins", 10)):
        past.job(name, ago=ago)
        past.account.api.call("s3", "delete_object", Bucket=past.account.bucket, Key=JobKeys(name).status)
    assert perform(["rm", "--ended"]) == 2
    assert "--ended would forget 3 jobs: failed, old, lost." in capfd.readouterr().err
    assert len(past.account.recorded()) == 6
    assert perform(["rm", "--ended", "--yes", "old"]) == 2
    assert perform(["rm"]) == 2
    capfd.readouterr()
    assert perform(["rm", "--ended", "--yes"]) == 0
    assert [line.split(":")[0] for line in capfd.readouterr().out.splitlines()] == ["failed", "old", "lost"]
    assert sorted(past.account.recorded()) == ["begins", "kept", "runs"]
    assert perform(["rm", "--ended"]) == 0
    assert capfd.readouterr().err == "No job has ended.\n"


def test_the_shell_is_offered_their_names(past: Past) -> None:
    for name in ("train-1", "train-2", "test"):
        past.job(name, ago=100)
    assert job_name(Line(), "tr") == ["train-1", "train-2"]


class Line:
    """What a line that is being typed has said so far."""

    params: ClassVar = {"on": None}
