"""A job whose program has written what it liked below `server/`, against the commands that a user types."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from support.hostile_json import HOST_KEYS, MANIFEST, STATUS, files
from support.whole_run import Seen

from skylift.cli.main import perform
from skylift.client.errors import RecordDamaged, Refused, SkyliftError
from skylift.client.job.record import JobKeys
from skylift.client.job.settings import Settings
from skylift.client.job.tags import job_tags
from skylift.client.jobs.jobs import Jobs, _Sending
from skylift.client.jobs.sweep import Sweep
from skylift.client.jobs.wait import collect, wait
from skylift.client.launch import role
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.price.history import read_history
from skylift.client.remote.account import Account, open_account
from skylift.contract.map_progress import PROGRESS_LIMIT
from skylift.contract.status import STATUS_LIMIT
from skylift.contract.stream import FRAME_LIMIT

TRUST = json.dumps(role.TRUST)
NOTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
TERMINAL = "\x1b]0;title\x07\x1b[2J\u202e\x9b"


class Hostile:
    """One job with a record that its client wrote, and whatever else."""

    def __init__(self, account: Account) -> None:
        self.account, self.api = account, account.api
        ensure_bucket(self.api, account.bucket)
        role.ensure_boundary(self.api, account.number)
        self.record("x")

    def record(self, job: str, **more: Any) -> None:
        record = {"created": time.time() - 5000, "deadline": time.time() + 600, "argv": ["python", "job.py"]}
        record |= {"outputs": ["out"], "instance_type": "t3.small", "keep": 0, **more}
        self.put(JobKeys(job).record, record)

    def put(self, key: str, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.api.put(self.account.bucket, key, body)

    def status(self, job: str, **more: Any) -> None:
        self.put(JobKeys(job).status, {**STATUS, "role": None, "kept_until": None, **more})

    def server(self, job: str) -> str:
        image = self.api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
        tags = job_tags(job)
        made = self.api.call(
            "ec2",
            "run_instances",
            ImageId=image,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return str(made["Instances"][0]["InstanceId"])

    def role(self, name: str, *, path: str = "/", tag: str = "") -> None:
        """A role and a profile that somebody has made by hand."""
        tags = [{"Key": "skylift:job", "Value": tag}] if tag else []
        self.api.call("iam", "create_role", RoleName=name, Path=path, AssumeRolePolicyDocument=TRUST, Tags=tags)
        self.api.call("iam", "put_role_policy", RoleName=name, PolicyName="job", PolicyDocument=NOTHING)
        self.api.call("iam", "create_instance_profile", InstanceProfileName=name, Path=path, Tags=tags)
        self.api.call("iam", "add_role_to_instance_profile", InstanceProfileName=name, RoleName=name)

    def roles(self) -> set[str]:
        roles = {each["RoleName"] for each in self.api.pages("iam", "list_roles", "Roles")}
        for each in roles:
            assert self.api.call("iam", "list_role_policies", RoleName=each)["PolicyNames"] == ["job"]
            (profile,) = self.api.call("iam", "list_instance_profiles_for_role", RoleName=each)["InstanceProfiles"]
            assert profile["InstanceProfileName"] == each
        return roles


@pytest.fixture
def hostile(settings: Settings, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Hostile:
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    monkeypatch.setattr("skylift.place.settings.settings_of_running", lambda *_: settings)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("skylift.client.jobs.jobs._CANCEL_PATIENCE", 0.2)
    return Hostile(open_account(settings))


FOREIGN = (
    ("precious", "/", ""),
    ("skylift-other", "/skylift/", "other"),
    ("skylift-forged", "/", "x"),
    ("skylift-untagged", "/skylift/", ""),
    ("skylift-deeper", "/skylift/deeper/", "x"),
)


@pytest.mark.parametrize("command", ["cancel", "rm", "wait", "sweep"])
def test_no_role_goes_that_is_not_the_jobs(hostile: Hostile, command: str) -> None:
    """Neither one that its status names, nor one that only looks like it by name, path or tag."""
    for name, path, tag in FOREIGN:
        hostile.role(name, path=path, tag=tag)
    hostile.role("skylift-x", path="/skylift/", tag="x")
    hostile.record("other", created=time.time())
    everything = hostile.roles()
    for name, _, _ in FOREIGN:
        hostile.record("x")
        hostile.status("x", role=name)
        assert perform([command, "x"] if command != "sweep" else [command]) == 0
    assert hostile.roles() == everything - {"skylift-x"}


def test_a_role_that_was_given_on_by_half(hostile: Hostile) -> None:
    """A client was killed after it had given a kept server's role to its job, and before it had given the profile."""
    hostile.role("skylift-x", path="/skylift/", tag="x")
    tags = [{"Key": "skylift:job", "Value": "last"}]
    hostile.api.call("iam", "tag_instance_profile", InstanceProfileName="skylift-x", Tags=tags)
    hostile.record("x")
    hostile.status("x")
    assert perform(["cancel", "x"]) == 0
    assert hostile.roles() == set()
    with pytest.raises(Refused, match="NoSuchEntity"):
        hostile.api.call("iam", "get_instance_profile", InstanceProfileName="skylift-x")


def test_a_role_of_this_name_that_is_somebody_elses(hostile: Hostile) -> None:
    hostile.role("skylift-x", path="/")
    hostile.status("x")
    assert perform(["rm", "x"]) == 0
    assert hostile.roles() == {"skylift-x"}


PROGRESS = {"others": [{"instance_type": "t3.small", "market": "spot", "servers": 2, "seconds": 60.0}]}
FILES: dict[str, tuple[str, dict[str, Any], int, dict[str, Any]]] = {
    "status": (JobKeys("x").status, STATUS, STATUS_LIMIT, {}),
    "manifest": (JobKeys("x").manifest, MANIFEST, STATUS_LIMIT, {}),
    "host-keys": (JobKeys("x").host_keys, HOST_KEYS, FRAME_LIMIT, {}),
    "progress": (JobKeys("x").progress, PROGRESS, PROGRESS_LIMIT, {"map": {"group": "skylift-workers.x"}}),
}


@pytest.mark.parametrize(("key", "like", "limit", "more"), FILES.values(), ids=FILES)
def test_any_file_and_every_command(
    hostile: Hostile, key: str, like: dict[str, Any], limit: int, more: dict[str, Any], folder: Path
) -> None:
    """What is wrong is told by an error that is meant for users, or as a row; nothing comes into the folder but what
    was asked for, and the job can be forgotten."""

    account, home = hostile.account, folder / "home"
    jobs, quiet = Jobs(account.settings, account), Seen()
    commands: list[Callable[[], object]] = [
        lambda: jobs.listed(ended=True),
        lambda: asyncio.run(wait(account, "x", quiet)),
        lambda: collect(account, "x", home, quiet),
        lambda: jobs.cancel("x"),
        lambda: read_history(account),
    ]

    @hypothesis_settings(max_examples=10, suppress_health_check=list(HealthCheck), deadline=None)
    @given(files(like))
    @example(b" " * (limit + 1))
    def holds(data: bytes) -> None:
        hostile.record("x", **more)
        hostile.status("x", streams={})
        hostile.put(key, data)
        for command in commands:
            with suppress(SkyliftError):
                command()
        assert [each.name for each in jobs.listed(ended=True)] == ["x"]
        assert [each.job for each in Sweep(account).find() if each.kind != "damaged"] == []
        assert {path.name for path in home.iterdir()} <= {"out"}
        jobs.remove("x")
        assert account.recorded() == []

    home.mkdir()
    holds()


DAMAGE = {
    "list": b"[1,2]",
    "until": json.dumps({**STATUS, "kept_until": "soon"}).encode(),
    "nul": json.dumps({**STATUS, "state": "a\0"}).encode(),
    "deep": b"[" * 100_000,
    "huge": b" " * (2 << 20),
}


@pytest.mark.parametrize("data", [b" " * (PROGRESS_LIMIT + 1), b"[1,2]"], ids=["too-large", "list"])
def test_a_progress_that_cannot_be_read_hides_no_job_and_no_outcome(
    hostile: Hostile, capfd: pytest.CaptureFixture[str], data: bytes
) -> None:
    hostile.record("x", map={"group": "skylift-workers.x"})
    hostile.status("x", streams={})
    hostile.put(JobKeys("x").progress, data)
    hostile.put(JobKeys("x").manifest, {"results": [], "unmatched": [], "left_behind": [], "final": True})
    assert perform(["ps", "--all", "--json"]) == 0
    assert [(each["name"], each["state"]) for each in json.loads(capfd.readouterr().out)] == [("x", "succeeded")]
    assert perform(["wait", "x"]) == 0
    assert perform(["rm", "--ended", "--yes"]) == 0
    assert hostile.account.recorded() == []


def test_one_bad_record_is_one_row(hostile: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    hostile.status("x")
    for job, data in DAMAGE.items():
        hostile.record(job)
        hostile.put(JobKeys(job).status, data)
    assert perform(["ps", "--all", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capfd.readouterr().out)}
    assert {name: each["state"] for name, each in listed.items()} == {
        "x": "succeeded",
        **dict.fromkeys(DAMAGE, "damaged"),
    }
    assert listed["until"]["reason"] == "jobs/until/server/status.json is damaged: `kept_until` is not a number."
    assert perform(["ps", "--all"]) == 0
    out, err = capfd.readouterr()
    assert sorted(line.split()[0] for line in out.splitlines() if " damaged " in line) == sorted(DAMAGE)
    assert "deep: jobs/deep/server/status.json is damaged: it is nested too deeply." in err
    assert perform(["wait", "--json", "until", "x"]) == 125
    waited = json.loads(capfd.readouterr().out)
    assert [(each["name"], each["state"], each["exit_code"]) for each in waited] == [
        ("until", "damaged", 125),
        ("x", "succeeded", 0),
    ]
    for job in DAMAGE:
        assert perform(["rm", job]) == 0
    assert hostile.account.recorded() == ["x"]


def test_a_damaged_record_is_told_by_sweep_and_left(hostile: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    hostile.put(JobKeys("x").status, b"[1,2]")
    hostile.put(JobKeys("x").result("out/a"), b"all that there is of it")
    hostile.put(JobKeys("mine").record, b"{")
    assert perform(["sweep", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [(each["kind"], each["id"], each["removed"]) for each in found] == [
        ("damaged", "jobs/mine/record.json", False),
        ("damaged", "jobs/x/server/status.json", False),
    ]
    assert hostile.account.recorded() == ["mine", "x"]


def test_a_job_that_runs_with_a_damaged_record_can_be_ended(hostile: Hostile) -> None:
    server = hostile.server("x")
    hostile.put(JobKeys("x").status, b"[1,2]")
    assert perform(["rm", "x"]) == 125
    assert perform(["cancel", "x"]) == 0
    (state,) = hostile.api.call("ec2", "describe_instances", InstanceIds=[server])["Reservations"][0]["Instances"]
    assert state["State"]["Name"] in ("shutting-down", "terminated")
    (listed,) = Jobs(hostile.account.settings).listed(ended=True)
    assert (listed.state, listed.exit_code) == ("cancelled", 137)
    assert perform(["rm", "x"]) == 0


@pytest.mark.parametrize("comes", [True, False])
def test_results_are_waited_for_until_the_server_must_be_off(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    """Longer than for an answer; but a server may say for ever that it sends results."""
    monkeypatch.setattr("skylift.client.jobs.jobs._CANCEL_PATIENCE", 0.0)
    monkeypatch.setattr("skylift.client.jobs.jobs._SILENCE", 0.0)
    hostile.record("x", deadline=time.time() + 600)
    hostile.status("x", state="uploading", updated="9999-01-01T00:00:00.000Z", final=False)
    server, told = hostile.server("x"), list[str]()

    def tell(words: str) -> None:
        told.append(words)
        if comes:
            hostile.status("x", state="failed", exit_code=7)
        else:
            hostile.record("x", deadline=time.time() - 1)

    assert Jobs(hostile.account.settings).cancel("x", tell) == "cancelled"
    (words,) = told
    assert words.startswith("its program has ended; waiting until its results are in S3, until 20")
    (found,) = hostile.api.call("ec2", "describe_instances", InstanceIds=[server])["Reservations"][0]["Instances"]
    assert found["State"]["Name"] in ("shutting-down", "terminated")
    (listed,) = Jobs(hostile.account.settings).listed(ended=True)
    assert (listed.state, listed.exit_code) == (("failed", 7) if comes else ("cancelled", 137))


@pytest.mark.parametrize("hurry", [True, False])
def test_a_server_that_only_says_that_it_sends_results_is_terminated(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch, hurry: bool
) -> None:
    """Its deadline may be days ahead. Nobody waits for it any longer than something comes, or the user wants to."""
    monkeypatch.setattr("skylift.client.jobs.jobs._STALLED", 600.0 if hurry else 0.0)
    hostile.record("x", deadline=time.time() + 86400)
    hostile.status("x", state="uploading", updated="9999-01-01T00:00:00.000Z", final=False)
    server, told, at_once = hostile.server("x"), list[str](), threading.Event()
    if hurry:
        at_once.set()
    assert Jobs(hostile.account.settings).cancel("x", told.append, at_once) == "cancelled"
    why = "its server is terminated, without what is not in S3 yet"
    assert told == [why if hurry else "it has sent nothing for 0.00 s; its server is terminated"]
    (found,) = hostile.api.call("ec2", "describe_instances", InstanceIds=[server])["Reservations"][0]["Instances"]
    assert found["State"]["Name"] in ("shutting-down", "terminated")


def test_a_second_ctrl_c_waits_for_no_results(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("skylift.client.jobs.jobs._SILENCE", 0.0)
    hostile.record("x", deadline=time.time() + 86400)
    hostile.status("x", state="uploading", final=False)
    hostile.server("x")
    told: list[str] = []

    def tell(words: str, *, to_stderr: bool) -> None:
        assert to_stderr
        told.append(words.removeprefix("x: "))
        if "waiting" in words:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("skylift.cli.cancel.say", tell)
    before = signal.getsignal(signal.SIGINT)
    assert perform(["cancel", "x"]) == 0
    assert told[1:] == ["its server is terminated, without what is not in S3 yet"]
    shown = capfd.readouterr()
    assert shown.out == "x: cancelled\n"
    assert "Ctrl-C once more terminates the server at once" in shown.err
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("in_parts", [True, False])
def test_what_comes_to_s3_counts_as_sending(hostile: Hostile, monkeypatch: pytest.MonkeyPatch, in_parts: bool) -> None:
    monkeypatch.setattr("skylift.client.jobs.jobs._STALLED", 0.0)
    bucket, key = hostile.account.bucket, JobKeys("x").result("a")
    sending = _Sending(hostile.account, "x")
    if in_parts:
        upload = hostile.api.call("s3", "create_multipart_upload", Bucket=bucket, Key=key)["UploadId"]
        part = {"Bucket": bucket, "Key": key, "UploadId": upload, "PartNumber": 1}
        hostile.api.call("s3", "upload_part", **part, Body=b"1")
    else:
        hostile.put(key, b"1")
    assert [sending.has_stalled(), sending.has_stalled()] == [False, True]


def test_a_server_that_does_not_answer_is_terminated_and_that_is_told(
    hostile: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    hostile.status("x", state="running", final=False)
    hostile.server("x")
    assert perform(["cancel", "x"]) == 0
    told = capfd.readouterr()
    assert (told.out, told.err) == ("x: cancelled\n", "x: it has not answered for 0 s; its server is terminated\n")


def test_no_server_is_kept_because_it_says_so(hostile: Hostile) -> None:
    """Its record says until when it may be there."""
    hostile.record("x", deadline=time.time() - 1000)
    hostile.status("x", updated="9999-01-01T00:00:00.000Z", kept_until=253402300000)
    server = hostile.server("x")
    assert [each.id for each in Sweep(hostile.account).find() if each.kind == "instance"] == [server]
    (listed,) = Jobs(hostile.account.settings).listed()
    assert listed.off_by is not None
    assert listed.off_by < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def test_ssh_takes_no_login_user_for_an_option(hostile: Hostile) -> None:
    hostile.server("x")
    hostile.put(JobKeys("x").host_keys, {**HOST_KEYS, "user": "-oProxyCommand=touch here"})
    with pytest.raises(RecordDamaged, match="`user` cannot be '-oProxyCommand=touch here'"):
        Jobs(hostile.account.settings).shell("x", ("uptime",))


@pytest.mark.parametrize("command", ["ps", "wait", "results", "sweep", "cancel", "rm"])
def test_nothing_of_a_server_reaches_the_terminal_as_it_is(
    hostile: Hostile, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    hostile.status("x", state="failed", reason=f"{TERMINAL}reason", detail=f"one\n{TERMINAL}two", streams={})
    names = [f"out/{TERMINAL}a", f".{TERMINAL}b"]
    for name in names:
        hostile.put(JobKeys("x").result(name), b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    sent = [{"path": name, "size": 0, "sha256": empty} for name in names]
    hostile.put(JobKeys("x").manifest, {"results": sent, "unmatched": [TERMINAL], "left_behind": [TERMINAL]})
    perform({"ps": ["ps", "--all"], "sweep": ["sweep", "--dry-run"]}.get(command, [command, "x"]))
    shown = "".join(capfd.readouterr())
    assert shown.replace("\n", "").isprintable(), shown
    assert command not in ("wait", "results") or r"\x1b]0;title\x07\x1b[2J\u202e\x9b" in shown


def test_names_that_no_job_has(hostile: Hostile) -> None:
    """As prefixes in the bucket and as tags, where somebody else may have made them."""
    hostile.put("jobs/../x/record.json", {"created": 1, "deadline": 2})
    hostile.put(f"jobs/{TERMINAL}/record.json", {"created": 1, "deadline": 2})
    hostile.server("../../x")
    hostile.server("a\u202eb")
    hostile.status("x")
    assert [each.name for each in Jobs(hostile.account.settings).listed(ended=True)] == ["x"]
    assert [each.kind for each in Sweep(hostile.account).find()] == []
