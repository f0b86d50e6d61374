"""What is left of jobs that are gone: found with its reason, and removed; what lives is left alone."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from skylift.cli.main import perform
from skylift.client.errors import Unreachable
from skylift.client.job.record import STARTING, JobKeys, workers_name
from skylift.client.job.settings import Settings
from skylift.client.job.tags import TAG_WORKER, job_tags
from skylift.client.jobs import jobs
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.sweep import Sweep
from skylift.client.launch import role
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.environment_image import OLDEST, make_request
from skylift.client.launch.server import live_servers, live_workers, terminate
from skylift.client.launch.worker_group import worker_groups
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.ship.blob_store import BLOBS


class Left:
    """Jobs in any state, as a client or a server may leave them."""

    def __init__(self, account: Account) -> None:
        self.account, self.api = account, account.api
        self.now = time.time()
        ensure_bucket(self.api, account.bucket)
        role.ensure_boundary(self.api, account.number)

    def role(self, job: str) -> None:
        role.create_role(self.api, job, self.account.number)
        role.equip_role(self.api, job, self.account.bucket, self.account.number)

    def record(self, job: str, *, age: float = 0, deadline: float = 7200) -> None:
        record = {"created": self.now - age, "deadline": self.now - age + deadline}
        self.api.put(self.account.bucket, JobKeys(job).record, json.dumps(record).encode())

    def status(self, job: str, *, ago: float = 1000, **more: Any) -> None:
        updated = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.now - ago))
        status = {"state": "succeeded", "final": True, "updated": updated, "exit_code": 0, **more}
        self.api.put(self.account.bucket, JobKeys(job).status, json.dumps(status).encode())

    def server(self, job: str) -> str:
        image = self.api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
        tags = job_tags(job)
        specification = [{"ResourceType": "instance", "Tags": tags}]
        made = self.api.call(
            "ec2",
            "run_instances",
            ImageId=image,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=specification,
        )
        return str(made["Instances"][0]["InstanceId"])

    def found(self, later: float = 0) -> set[tuple[str, str, str]]:
        return {(each.kind, each.job, each.why) for each in Sweep(self.account, time.time() + later).find()}


@pytest.fixture
def left(settings: Settings) -> Left:
    return Left(open_account(settings))


def test_nothing_of_what_lives(left: Left) -> None:
    for job in ("starting", "running", "kept", "going-off", "stranded"):
        left.role(job)
        left.record(job)
    left.status("running", state="running", final=False)
    left.server("running")
    left.status("kept", kept_until=left.now + 600)
    left.server("kept")
    left.status("going-off", ago=1)
    left.server("going-off")
    left.status("stranded", state="uploading", final=False)
    left.api.call("ec2", "stop_instances", InstanceIds=[left.server("stranded")])
    assert left.found() == set()


def test_a_stopped_server_of_which_everything_has_come_is_left_over(left: Left) -> None:
    """It asked to be stopped, delivered before it was, and turned itself off meanwhile; its disk is paid for. One that
    failed has told of its end and may have results all the same."""
    for job, more in (("come", {"streams": {"stdout": 0, "stderr": 0}}), ("crashed", {"state": "broken"})):
        left.record(job, age=2000)
        left.status(job, **more)
        left.api.call("ec2", "stop_instances", InstanceIds=[left.server(job)])
    assert left.found() == {("instance", "come", "its job has ended (succeeded)")}


def test_images_of_environments_that_are_too_old_or_too_many(left: Left) -> None:
    """Where no images are made of environments, none is looked for."""
    made = []
    for key in ("a" * 40, "b" * 40):
        request = make_request(left.server("x"), key, "ami-1")
        # moto gives a snapshot no tags.
        request["TagSpecifications"] = [
            each for each in request["TagSpecifications"] if each["ResourceType"] == "image"
        ]
        made.append(left.api.call("ec2", "create_image", **request)["ImageId"])
    left.api.call("ec2", "create_image", InstanceId=left.server("x"), Name="the user's own")
    left.record("x")
    long = {("image", "-", "it was made long ago")}
    assert long.isdisjoint(left.found(OLDEST + 60))
    settings = replace(left.account.settings, environment_images=True)
    account = replace(left.account, settings=settings)
    assert [each for each in Sweep(account).find() if each.kind == "image"] == []
    found = [each for each in Sweep(account, time.time() + OLDEST + 60).find() if each.kind == "image"]
    assert {(each.kind, each.job, each.why) for each in found} == long
    assert sorted(each.id for each in found) == sorted(made)
    for each in found:
        each.remove()
    assert [each["Name"] for each in left.api.call("ec2", "describe_images", Owners=["self"])["Images"]] == [
        "the user's own"
    ]


def test_inputs_stay_as_long_as_a_job_is_known_that_was_given_them(left: Left) -> None:
    bucket = left.account.bucket
    for digest in ("a" * 64, "b" * 64, "c" * 64):
        left.api.put(bucket, BLOBS + digest, b"x")
    record = {"created": left.now, "deadline": left.now + 7200, "packs": [{"sha256": "a" * 64}]}
    record["large"] = [{"place": "big", "sha256": "b" * 64}]
    left.api.put(bucket, JobKeys("ended").record, json.dumps(record).encode())
    left.status("ended")
    assert left.found() == set(), "a client may be about to write its record"
    unknown = ("input", "-", "it belongs to no known job")
    assert left.found(STARTING + 1) == {unknown}
    found = Sweep(left.account, time.time() + STARTING + 1).find()
    # Somebody takes what was to be removed; the other job is forgotten.
    record["packs"] = [{"sha256": "c" * 64}]
    left.api.put(bucket, JobKeys("new").record, json.dumps(record).encode())
    for each in found:
        each.remove()
    assert left.api.get(bucket, BLOBS + "c" * 64) == b"x"
    Jobs(left.account.settings).remove("ended")
    for each in Sweep(left.account, time.time() + STARTING + 1).find():
        each.remove()
    assert left.api.get(bucket, BLOBS + "a" * 64) is None
    assert left.api.get(bucket, BLOBS + "b" * 64) == b"x"


def test_an_input_that_was_begun_and_given_up(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, uploads = left.account.bucket, left.api.uploads
    left.api.call("s3", "create_multipart_upload", Bucket=bucket, Key=BLOBS + "d" * 64)

    def begun_now(bucket: str, prefix: str) -> list[Any]:
        """moto says the same day of 2010 of each."""
        return [{**each, "Initiated": datetime.fromtimestamp(left.now, UTC)} for each in uploads(bucket, prefix)]

    monkeypatch.setattr(left.api, "uploads", begun_now)
    assert left.found(80000) == set()
    assert left.found(86401) == {("uploads", "-", "begun more than a day ago")}
    for each in Sweep(left.account, time.time() + 86401).find():
        each.remove()
    assert uploads(bucket, BLOBS) == []


def test_each_with_its_reason(left: Left) -> None:
    left.role("ended")
    left.record("ended", age=2000)
    left.status("ended")
    left.server("not-gone")
    left.record("not-gone", age=2000)
    left.status("not-gone")
    left.server("overdue")
    left.record("overdue", age=9000)
    left.status("overdue", state="running", final=False)
    left.server("unknown")
    left.record("never", age=2000)
    left.record("killed", age=2000)
    left.status("killed", state="running", final=False)
    left.api.put(left.account.bucket, JobKeys("killed").env, b"{}")
    left.api.call("s3", "create_multipart_upload", Bucket=left.account.bucket, Key=JobKeys("killed").result("x"))
    assert left.found() == {
        ("role", "ended", "its job has ended (succeeded)"),
        ("instance-profile", "ended", "its job has ended (succeeded)"),
        ("instance", "not-gone", "its job has ended (succeeded)"),
        ("instance", "overdue", "its job's deadline is over"),
        ("instance", "unknown", "its job has no record"),
        ("record", "never", "its server was never started"),
        ("secrets", "killed", "its job has no server"),
        ("uploads", "killed", "its job has no server; 1 half done"),
    }


def test_an_end_that_is_told_while_a_job_is_cancelled_stays(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience is over, and the server delivers in the moment in which it is ended."""
    left.record("slow")
    left.status("slow", state="running", final=False)
    left.server("slow")

    def deliver_and_end(api: Api, instance: str) -> None:
        left.status("slow", ago=0)
        terminate(api, instance)

    monkeypatch.setattr(jobs, "_CANCEL_PATIENCE", 0.1)
    monkeypatch.setattr(jobs, "terminate", deliver_and_end)
    Jobs(left.account.settings).cancel("slow")
    status = left.account.status("slow")
    assert status is not None
    assert (status.state, status.exit_code) == ("succeeded", 0)


def test_the_servers_of_a_map_that_has_ended(left: Left) -> None:
    """Its group goes first, with the servers in it. One of a map that runs stays."""
    image = left.api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    subnet = left.api.call("ec2", "describe_subnets")["Subnets"][0]["SubnetId"]
    for job in ("ended", "runs"):
        tags = [*job_tags(job), {"Key": TAG_WORKER, "Value": "yes"}]
        data = {
            "ImageId": image,
            "InstanceType": "t3.small",
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
        }
        request = {
            "LaunchTemplateName": workers_name(job),
            "LaunchTemplateData": data,
            "TagSpecifications": [{"ResourceType": "launch-template", "Tags": job_tags(job)}],
        }
        left.api.call("ec2", "create_launch_template", **request)
        left.api.call(
            "autoscaling",
            "create_auto_scaling_group",
            AutoScalingGroupName=workers_name(job),
            MinSize=0,
            MaxSize=1,
            DesiredCapacity=1,
            VPCZoneIdentifier=subnet,
            LaunchTemplate={"LaunchTemplateName": workers_name(job), "Version": "1"},
            Tags=[
                {
                    **each,
                    "ResourceId": workers_name(job),
                    "ResourceType": "auto-scaling-group",
                    "PropagateAtLaunch": False,
                }
                for each in job_tags(job)
            ],
        )
        left.record(job, age=2000)
        left.server(job)
    left.status("ended")
    left.status("runs", state="running", final=False)
    assert not any(each.job == "runs" for each in Sweep(left.account).find())
    found = [each for each in Sweep(left.account).find() if each.job == "ended"]
    assert [each.kind for each in found][:1] == ["auto-scaling-group"]
    assert {each.kind for each in found} >= {"instance", "auto-scaling-group"}
    for each in found:
        each.remove()
    assert list(worker_groups(left.api)) == [workers_name("runs")]
    assert {each.job for each in live_workers(left.api)} == {"runs"}
    assert {each.job for each in live_servers(left.api)} == {"runs"}


def test_role_without_a_record_may_be_that_of_a_client_that_is_at_work(left: Left) -> None:
    left.role("new")
    assert left.found() == set()
    assert left.found(later=STARTING + 60) == {
        ("role", "new", "its job has no record"),
        ("instance-profile", "new", "its job has no record"),
    }


def test_disks_and_interfaces_that_outlived_their_server(left: Left, api: Api) -> None:
    tags = job_tags("gone")

    def specification(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tags}]

    zone = "us-east-1a"
    api.call("ec2", "create_volume", AvailabilityZone=zone, Size=8, TagSpecifications=specification("volume"))
    subnet = api.call("ec2", "describe_subnets")["Subnets"][0]["SubnetId"]
    made = api.call(
        "ec2", "create_network_interface", SubnetId=subnet, TagSpecifications=specification("network-interface")
    )
    found = Sweep(left.account).find()
    assert {(each.kind, each.job) for each in found} == {("volume", "gone"), ("network-interface", "gone")}
    assert made["NetworkInterface"]["NetworkInterfaceId"] in {each.id for each in found}
    for each in found:
        each.remove()
    assert Sweep(left.account).find() == []


def test_by_the_command_line(
    left: Left, settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    left.record("overdue", age=90000)
    server = left.server("overdue")
    left.role("ended")
    left.record("ended", age=2000)
    left.status("ended")
    assert perform(["sweep", "--dry-run"]) == 0
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["KIND", "instance", "instance-profile", "role"]
    assert "its job's deadline is over" in out
    assert "--dry-run" in err
    assert [each.instance for each in live_servers(left.api)] == [server]
    assert perform(["sweep", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [(each["kind"], each["removed"]) for each in found] == [
        ("instance", True),
        ("instance-profile", True),
        ("role", True),
    ]
    assert found[0]["hourly"] > 0.02
    assert live_servers(left.api) == []
    assert left.api.pages("iam", "list_roles", "Roles", PathPrefix=role.PATH) == []
    # With its server gone, the record of a job that never said anything goes too.
    assert perform(["sweep"]) == 0
    assert perform(["sweep"]) == 0
    assert "Nothing is left over" in capfd.readouterr().err
    # Logs and results of a job that has ended are its user's.
    assert left.api.get(left.account.bucket, JobKeys("ended").record) is not None


def test_ps_tells_jobs_apart(left: Left, settings: Settings) -> None:
    left.record("stranded")
    left.status("stranded", state="uploading", final=False)
    left.api.call("ec2", "stop_instances", InstanceIds=[left.server("stranded")])
    left.record("kept")
    left.status("kept", kept_until=left.now + 600)
    left.server("kept")
    left.record("starting")
    left.server("starting")
    left.record("lost", age=2000)
    for state, code in (("out-of-memory", 121), ("idle", 124), ("timed-out", 124), ("environment-failed", 123)):
        left.record(state)
        left.status(state, state=state, exit_code=code)
    listed = {each.name: each for each in Jobs(settings).listed(ended=True)}
    assert {name: each.state for name, each in listed.items()} == {
        **{name: name for name in ("stranded", "starting", "lost")},
        **{name: name for name in ("out-of-memory", "idle", "timed-out", "environment-failed")},
        "kept": "succeeded",
    }
    assert {each.name for each in Jobs(settings).listed()} == {"stranded", "kept", "starting"}
    assert listed["kept"].off_by == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(left.now + 600))
    dear, cheap = listed["starting"].hourly_usd, listed["stranded"].hourly_usd
    assert dear is not None and 0.02 < dear < 0.03
    assert cheap is not None and cheap < 0.001
    assert all(each.hourly_usd is None for each in Jobs(replace(settings, billed=False)).listed())


def test_a_removal_that_is_cut_off_is_gone_on_with(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there is anything of a job, it is known, and its name is nobody else's."""
    left.record("gone")
    left.status("gone")
    call = Api.call

    def cut_off(api: Api, service: str, operation: str, **params: Any) -> Any:
        answer = call(api, service, operation, **params)
        if operation == "delete_objects":
            raise Unreachable("The line is cut.")
        return answer

    jobs = Jobs(left.account.settings)
    with monkeypatch.context() as cut, pytest.raises(Unreachable):
        cut.setattr(Api, "call", cut_off)
        jobs.remove("gone")
    assert left.account.recorded() == ["gone"]
    assert jobs.remove("gone") == "removed, 1 object"
    assert left.account.recorded() == []


def test_environments_of_long_ago(left: Left) -> None:
    left.record("any")
    left.status("any")
    bucket = left.account.bucket
    for place, names in (
        ("envs/a/ami-1/1", ("proven.json", "pin.json", "pack-00000", "index.json")),
        ("envs/b/ami-1/2", ("proven.json", "pack-00000")),
        ("envs/b/ami-1/3", ("proven.json",)),
    ):
        for name in names:
            left.api.put(bucket, f"{place}/{name}", b"{}")

    def found(days: float) -> list[tuple[str, str]]:
        leftovers = Sweep(left.account, time.time() + days * 86400).find()
        return [(each.id, each.why) for each in leftovers if each.kind == "environment"]

    assert found(0.5) == []

    def keys() -> list[str]:
        pages = left.api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix="envs/b")
        return [each["Key"].removeprefix("envs/b/ami-1/") for each in pages]

    assert found(2) == [("envs/b/ami-1/2", "it was never whole")]
    for each in Sweep(left.account, time.time() + 2 * 86400).find():
        each.remove()
    assert keys() == ["2/proven.json", "3/proven.json"], "a job may run for 30 days, and pin another one in their place"
    assert found(30) == []
    assert [each for each, _ in found(31)] == ["envs/a/ami-1/1", "envs/b/ami-1/2", "envs/b/ami-1/3"]
    for each in Sweep(left.account, time.time() + 31 * 86400).find():
        each.remove()
    assert left.api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix="envs/") == []
