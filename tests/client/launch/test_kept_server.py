"""Servers that are kept: who may have one, what goes along with it, and what is left to it when others are put away."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast

import pytest
from kept_yard import Yard
from support.agent_bench import until
from support.whole_run import Seen, order

from skylift.client.errors import LaunchFailed, NotPermitted, Refused, UsageError
from skylift.client.job import tags as tagging
from skylift.client.job.cache import Cache
from skylift.client.job.job import Job, Spot
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.settings import Access, Settings
from skylift.client.job.tags import TAG_CONFIGURATION, TAG_JOB, TAG_MARK
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.sweep import Sweep
from skylift.client.launch import cap, role
from skylift.client.launch import kept_server as warm
from skylift.client.launch.check import check
from skylift.client.launch.fleet import fleet_request, template_request
from skylift.client.launch.kept_connection import KeptConnection
from skylift.client.launch.last_kept import LastKept, StartedConnection, last_kept, remember_kept
from skylift.client.launch.network import Network
from skylift.client.launch.server import launch_request, live_servers
from skylift.client.launch.server_reuse import ServerReuse
from skylift.client.launch.stages import Checked, Launched
from skylift.client.launch.undo import Undo
from skylift.client.remote import ssh
from skylift.client.remote.account import open_account
from skylift.client.remote.api import Api
from skylift.client.ship.blob_store import Blob
from skylift.client.ship.pack import Pack
from skylift.client.ship.upload import InputUpload, Shipment, Shipping
from skylift.client.steps import Clock
from skylift.client.submit import Submit
from skylift.contract.stream import HostKeys


@pytest.fixture
def yard(settings: Settings) -> Yard:
    return Yard(open_account(settings))


def test_only_those_that_wait_for_this_user(yard: Yard) -> None:
    yard.api.call("ec2", "create_key_pair", KeyName="somebody-elses")
    mine = yard.keep("mine")
    yard.keep("theirs", key="somebody-elses")
    yard.keep("working", state="running", final=False)
    yard.keep("leaving", until=1)
    yard.keep("not-kept", kept_until=None)
    assert [each.server.instance for each in yard.waiting()] == [mine]
    (yard.account.settings.key_dir / f"{yard.account.number}-us-east-1.pub").unlink()
    assert yard.waiting() == [], "without a key of its own, nobody has started any"


def test_a_server_that_says_that_it_stays_for_ever_is_not_believed(yard: Yard) -> None:
    """Its next job's deadline would be made of that."""
    yard.keep("kept", until=9e9)
    assert [each.until for each in yard.waiting()] == [yard.now + 7200], "no longer than its own record allows"


def kept_for(yard: Yard, job: Job, seen: Seen, settings: Settings | None = None) -> list[str]:
    """The last jobs of the servers that this job may take."""
    return [each.server.job for each in checked(job, settings or yard.account.settings, seen).kept]


def checked(job: Job, settings: Settings, seen: Seen) -> Checked:
    with TemporaryFile() as archive:
        return asyncio.run(check(job, settings, Clock(seen), archive))


@pytest.fixture
def fitting(yard: Yard, tmp_path: Path, seen: Seen) -> Path:
    """A folder. The server of `kept` waits for the next job of the project there."""
    folder = tmp_path / "project"
    folder.mkdir()
    instance = yard.keep("kept")
    configuration = checked(order(folder, "", keep=60), yard.account.settings, seen).configuration
    tags = [{"Key": TAG_CONFIGURATION, "Value": configuration}]
    yard.api.call("ec2", "create_tags", Resources=[instance], Tags=tags)
    return folder


def test_only_a_run_that_asks_for_a_kept_server_takes_one(yard: Yard, fitting: Path, seen: Seen) -> None:
    assert kept_for(yard, order(fitting, ""), seen) == []
    assert kept_for(yard, order(fitting, "", keep=60), seen) == ["kept"]
    assert kept_for(yard, order(fitting, "", reuse="kept"), seen) == ["kept"]
    assert kept_for(yard, order(fitting, "", keep=60, fresh=True), seen) == []


def test_a_run_of_another_project_does_not_take_it(yard: Yard, fitting: Path, tmp_path: Path, seen: Seen) -> None:
    assert kept_for(yard, order(tmp_path, "", keep=60), seen) == []
    with pytest.raises(UsageError, match="of another project"):
        kept_for(yard, order(tmp_path, "", reuse="kept"), seen)
    (fitting / "pyproject.toml").touch()
    (fitting / "inside").mkdir()
    assert kept_for(yard, order(fitting / "inside", "", keep=60), seen) == ["kept"]


def test_a_name_that_is_asked_for_is_that_server_or_none(yard: Yard, fitting: Path, seen: Seen) -> None:
    yard.keep("newer")
    assert kept_for(yard, order(fitting, "", keep=60, reuse="kept"), seen) == ["kept"]
    with pytest.raises(UsageError, match=r"No server waits after the job nobody\."):
        kept_for(yard, order(fitting, "", reuse="nobody"), seen)
    with pytest.raises(UsageError, match=r"is a t3\.small"):
        kept_for(yard, order(fitting, "", reuse="kept", instance_type="t3.medium"), seen)
    with pytest.raises(UsageError, match="image, network"):
        kept_for(yard, order(fitting, "", reuse="kept"), seen, replace(yard.account.settings, access=Access(True)))


def test_a_named_server_that_another_run_has_by_now(yard: Yard, fitting: Path, seen: Seen) -> None:
    """No other server is started instead."""
    yard.api.put(yard.account.bucket, JobKeys("kept").claim, b"{}")
    job = order(fitting, "", name="one", reuse="kept")
    with pytest.raises(LaunchFailed, match="Another run has the server of kept now") as failed:
        asyncio.run(Submit(job, yard.account.settings, seen, Clock(seen)).run())
    assert failed.value.exit_code == 125
    assert [each.job for each in live_servers(yard.api)] == ["kept"]
    assert not yard.api.has(yard.account.bucket, JobKeys("one").record), "the same command may be given again"


@pytest.mark.parametrize("more", [{"fresh": True}, {"spot": Spot()}, {"servers": 2}])
def test_what_does_not_go_with_a_named_server(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--reuse"):
        order(tmp_path, "", reuse="kept", **more)


def test_one_of_two_has_it(yard: Yard) -> None:
    yard.keep("kept")
    assert warm.claim_server(yard.account, "one", yard.waiting()) is not None
    assert warm.claim_server(yard.account, "two", yard.waiting()) is None
    assert warm.take_server(yard.account, "one", "kept")
    assert json.loads(yard.api.get(yard.account.bucket, JobKeys("kept").next) or b"") == {"job": "one"}


def test_a_server_that_goes_off_is_nobodys(yard: Yard) -> None:
    yard.keep("kept")
    assert warm.claim_server(yard.account, "one", yard.waiting()) is not None
    yard.api.put(yard.account.bucket, JobKeys("kept").next, b'{"job": null}')
    assert not warm.take_server(yard.account, "one", "kept")


def test_a_server_that_has_ended_while_all_was_sent(yard: Yard, tmp_path: Path, seen: Seen) -> None:
    """Its disk went with it, and nothing is left that could be tagged: the job is another server's."""
    instance = yard.keep("kept")
    found = warm.claim_server(yard.account, "one", yard.waiting())
    yard.api.put(yard.account.bucket, JobKeys("kept").next, b'{"job": null}')
    yard.api.call("ec2", "terminate_instances", InstanceIds=[instance])
    assert not take(yard, found, order(tmp_path, "", name="one"), seen)
    assert yard.account.status("one") is None, "nothing was given up, either"


def take(yard: Yard, found: warm.KeptServer | None, job: Job, seen: Seen) -> bool:
    """Whether the job has taken over the server that it has claimed."""
    assert found is not None
    upload = InputUpload((Pack(Blob("", "0", 0, BytesIO), 1, 0),), (), ())
    checked = Checked(yard.account, Shipment(job, 9_000, upload, None, None), "ami-1", None, "fit", (found,))
    shipping = Shipping(yard.account, seen, Clock(seen))

    async def take(server: Server) -> bool:
        async with Undo(yard.account, job.name, seen, lambda: False) as undo:
            connecting = KeptConnection(job.name)
            taking = ServerReuse(checked, shipping, undo, connecting, seen, Clock(seen), detached=False)
            taken = await taking.take(server)
            undo.keep()
        return taken

    return asyncio.run(take(found.server))


@pytest.mark.parametrize(
    ("has_cap", "failed", "taken"),
    [
        (True, NotPermitted("AccessDeniedException", "no", "update_schedule", "Ask for it."), False),
        (True, Refused("ThrottlingException", "Rate exceeded", "update_schedule"), False),
        (False, NotPermitted("AccessDeniedException", "no", "update_schedule", "Ask for it."), True),
    ],
)
def test_a_server_that_keeps_the_deadline_of_its_last_job_is_not_taken(
    yard: Yard, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch, has_cap: bool, failed: Refused, taken: bool
) -> None:
    """The cloud would end it in the middle of this job."""
    instance = yard.keep("kept")
    if has_cap:
        cap.cap_server(yard.account, instance, time.time() + 60)
    asked = Api.call

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "update_schedule":
            raise failed
        return asked(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    found = warm.claim_server(yard.account, "one", yard.waiting())
    assert take(yard, found, order(tmp_path, "", name="one"), seen) is taken
    (note,) = seen.notes
    assert note.startswith(f"Nothing but {instance}" if taken else f"{instance} ends at the deadline of kept")
    assert [each.job for each in live_servers(yard.api)] == ["one" if taken else "kept"]


def test_a_server_that_is_not_taken_does_not_keep_the_cap_of_the_job_that_it_lured(
    yard: Yard, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its root has said that it waits, and then that it waits no longer, when the cap had come to the next job's
    deadline."""
    instance = yard.keep("kept")
    cap.cap_server(yard.account, instance, time.time() + 60)
    found = warm.claim_server(yard.account, "one", yard.waiting())
    asked = Api.call

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "update_schedule":
            api.put(yard.account.bucket, JobKeys("kept").next, b'{"job": null}', first=True)
        return asked(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    assert not take(yard, found, order(tmp_path, "", name="one"), seen)
    assert live_servers(yard.api) == []
    assert cap.capped(yard.api) == {}


@pytest.mark.parametrize("claimed", [False, True])
def test_a_server_that_leaves_after_it_was_taken(yard: Yard, tmp_path: Path, seen: Seen, *, claimed: bool) -> None:
    """As where IAM does not let it read the job's record in time. The job is another server's, unless it had claimed
    it."""
    instance = yard.keep("kept")
    (server,) = yard.waiting()
    upload = InputUpload((Pack(Blob("", hashlib.sha256(b"").hexdigest(), 0, BytesIO), 1, 0),), (), ())
    job, deadline = order(tmp_path, "", name="one"), int(time.time()) + 9_000
    checked = Checked(yard.account, Shipment(job, deadline, upload, None, None), "ami-1", None, "fit", (server,))
    shipping = Shipping(yard.account, seen, Clock(seen))

    def leave() -> None:
        until(lambda: yard.api.has(yard.account.bucket, JobKeys("kept").next), "the server to be taken")
        if claimed:
            yard.api.put(yard.account.bucket, f"{JobKeys('one').attempts}1.json", b"{}")
        yard.api.call("ec2", "terminate_instances", InstanceIds=[instance])

    async def take() -> Launched | None:
        leaving = asyncio.ensure_future(asyncio.to_thread(leave))
        async with Undo(yard.account, "one", seen, lambda: False) as undo:
            connecting = KeptConnection("one")
            found = await ServerReuse(checked, shipping, undo, connecting, seen, Clock(seen), detached=True).run()
            undo.keep()
        await leaving
        return found

    if claimed:
        with pytest.raises(LaunchFailed, match="before it took the job"):
            asyncio.run(take())
        return
    assert asyncio.run(take()) is None
    assert any("Another server is started" in each for each in seen.notes)
    assert yard.account.status("one") is None, "the next server finds the job as it was"
    assert yard.roles() == []


def test_a_role_that_others_change_all_the_time(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """IAM refuses each change, and the job gets a server of its own."""
    yard.keep("kept")
    (server,) = live_servers(yard.api)
    monkeypatch.setattr("skylift.client.remote.api.pauses", lambda _: iter([True, False]))
    call = yard.api.call

    def busy(service: str, operation: str, **params: Any) -> Any:
        if service == "iam":
            raise Refused("ConcurrentModification", "try again", operation)
        return call(service, operation, **params)

    monkeypatch.setattr(yard.api, "call", busy)
    assert not warm.assign_server(yard.api, server, "one", {})


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAvmQYuYD71X7/XlPU3aEWsBp0En6Ta+MF6J0ChgMILQ"


class Begun:
    """A connection that has begun, and what is done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def is_up(self) -> bool:
        return True

    async def connect(self) -> Begun:
        self.done.append("connect")
        return self

    async def hand_over(self, last: str) -> None:
        self.done.append(f"hand over {last}")

    def end(self) -> None:
        self.done.append("end")


def test_a_run_takes_a_server_through_the_connection_that_has_begun_and_forgets_it(
    yard: Yard, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is this job's from here on, and ends with it unless it is kept again."""
    instance = yard.keep("kept")
    (server,) = live_servers(yard.api)
    assert server.address is not None
    published = {"user": "me", "keys": [HOST_KEY], "instance": instance}
    yard.api.put(yard.account.bucket, JobKeys("kept").host_keys, json.dumps(published).encode())
    settings = replace(yard.account.settings, cache=Cache(tmp_path / "cache"))
    host_keys, until = HostKeys("me", (HOST_KEY,), instance), yard.now + 600
    remembered = LastKept(yard.account.number, "kept", "t3.small", server.address, host_keys, until)
    remember_kept(settings, remembered)
    monkeypatch.setattr("skylift.client.launch.check.configuration_of", lambda *_: "fit")
    begun = Begun()
    connection = StartedConnection(remembered, cast(ssh.SshStart, begun))
    cap.cap_server(yard.account, instance, time.time() + 60)
    job = order(tmp_path, "", name="one", instance_type="t3.small", reuse="kept", max_time=1)
    launched = asyncio.run(Submit(job, settings, seen, Clock(seen), connection=connection).run())
    assert isinstance(launched, Launched)
    record = yard.account.record("one")
    assert record.promised == yard.now + 600, "it stays as long as the last run has said"
    assert record.deadline == launched.deadline >= record.promised
    assert seen.warnings == [f"{instance}: what kept has left there is removed, its files and processes, for this run."]
    assert launched.server.instance == instance
    assert begun.done == ["connect", "hand over kept"]
    assert last_kept(settings) is None
    for request in cap.server_requests(yard.account.number, instance, launched.deadline):
        found = yard.api.call("scheduler", "get_schedule", GroupName=cap.GROUP, Name=request["Name"])
        assert found["ScheduleExpression"] == request["ScheduleExpression"], "that of the last job would end this one"


def test_who_cancels_a_job_that_was_kept_forgets_its_server(yard: Yard, tmp_path: Path) -> None:
    instance = yard.keep("kept")
    settings = replace(yard.account.settings, cache=Cache(tmp_path / "cache"))
    host_keys = HostKeys("me", (HOST_KEY,), instance)
    remember_kept(settings, LastKept(yard.account.number, "kept", "t3.small", "127.0.0.1", host_keys, yard.now + 600))
    assert last_kept(settings) is not None
    Jobs(settings).cancel("kept")
    assert last_kept(settings) is None


def test_a_server_that_leaves_while_the_job_is_checked_gets_nothing(yard: Yard, tmp_path: Path, seen: Seen) -> None:
    """Hashing large inputs may take longer than it waits."""
    yard.keep("kept", until=60)
    (found,) = yard.waiting()
    assert found.waits(yard.now + 50)
    assert not found.waits(yard.now + 56)
    job, upload = order(tmp_path, "", name="one"), InputUpload((), (), ())
    gone = (replace(found, until=yard.now),)
    checked = Checked(yard.account, Shipment(job, 9_000, upload, None, None), "ami-1", None, "fit", gone)
    shipping = Shipping(yard.account, seen, Clock(seen))

    async def take() -> Launched | None:
        async with Undo(yard.account, "one", seen, lambda: False) as undo:
            return await ServerReuse(
                checked, shipping, undo, KeptConnection("one"), seen, Clock(seen), detached=False
            ).run()

    assert asyncio.run(take()) is None
    assert not yard.api.has(yard.account.bucket, JobKeys("one").record)
    assert not yard.api.has(yard.account.bucket, JobKeys("kept").claim)


def test_a_server_whose_role_is_gone(yard: Yard) -> None:
    yard.keep("kept")
    (found,) = yard.waiting()
    role.remove_role(yard.api, "kept")
    assert not warm.assign_server(yard.api, found.server, "one", {})


def test_the_role_goes_along(yard: Yard) -> None:
    """It outlives the job that it was made for, in whatever way that is put away, and ends with the server."""
    instance = yard.keep("first")
    (server,) = [each.server for each in yard.waiting()]
    policy = role.job_policy("second", yard.account.bucket, yard.account.number, "us-east-1")
    warm.assign_server(yard.api, server, "second", policy)
    yard.api.put(
        yard.account.bucket, JobKeys("second").record, json.dumps({"created": yard.now, "deadline": 9e9}).encode()
    )
    (now,) = live_servers(yard.api)
    assert (now.instance, now.job, now.role) == (instance, "second", "skylift-first")
    found = yard.api.call("iam", "get_role_policy", RoleName="skylift-first", PolicyName="job")["PolicyDocument"]
    assert found == policy
    assert [each.kind for each in Sweep(yard.account).find()] == []
    Jobs(yard.account.settings).remove("first")
    assert yard.roles() == ["skylift-first"]
    Jobs(yard.account.settings).cancel("second")
    assert yard.roles() == []


def test_a_tag_that_is_added_is_on_everything_and_goes_along(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tagging._TAGS, "team", lambda job: f"of {job}")
    wanted = {"Name": "skylift first", TAG_JOB: "first", "team": "of first"}
    job, key = order(tmp_path, "", name="first"), yard.key
    network = Network("vpc-1", (("a", "subnet-1"),), ("sg-1",), frozenset())
    profile = role.JobRole("skylift-first", "arn:aws:iam::123456789012:instance-profile/x")
    template = template_request(job, network, key, profile, "ami-1", "")
    requests = (
        launch_request(job, "token", network, "subnet-1", key.name, profile, "ami-1", ""),
        template["LaunchTemplateData"],
        template,
        fleet_request(job, Spot(), "lt-1", network, "token", 9_000),
    )
    made = [each for request in requests for each in request["TagSpecifications"]]
    kinds = ["instance", "volume", "network-interface"]
    assert [each["ResourceType"] for each in made] == [*kinds, *kinds, "launch-template", "fleet"]
    assert [{tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in made] == [wanted] * len(made)

    yard.keep("first")
    (server,) = [each.server for each in yard.waiting()]
    assert tags_of_role(yard) == [wanted, wanted]
    assert warm.tag_server(yard.api, server, "second")
    later = {"Name": "skylift second", TAG_JOB: "second", "team": "of second"}
    assert tags_of_role(yard) == [later, later]
    for part in (server.instance, *server.parts):
        wanted_of = [{"Name": "resource-id", "Values": [part]}]
        found = yard.api.pages("ec2", "describe_tags", "Tags", Filters=wanted_of)
        assert {each["Key"]: each["Value"] for each in found if each["Key"] != TAG_CONFIGURATION} == later, part


def tags_of_role(yard: Yard) -> list[dict[str, str]]:
    """Those of the role, and of its profile."""
    name = "skylift-first"
    found = (
        yard.api.call("iam", "get_role", RoleName=name)["Role"],
        yard.api.call("iam", "get_instance_profile", InstanceProfileName=name)["InstanceProfile"],
    )
    return [{tag["Key"]: tag["Value"] for tag in each["Tags"] if tag["Key"] != TAG_MARK} for each in found]


def test_the_role_of_a_server_that_is_gone(yard: Yard) -> None:
    """Its status tells which one that was, and its tag whether that is true."""
    instance = yard.keep("first")
    status = {"state": "succeeded", "final": True, "role": "skylift-first"}
    yard.api.put(yard.account.bucket, JobKeys("second").status, json.dumps(status).encode())
    warm.remove_roles(yard.account, "second", [])
    assert yard.roles() == ["skylift-first"], "it is the first job's still"
    (server,) = live_servers(yard.api)
    assert warm.tag_server(yard.api, server, "second")
    yard.api.call("ec2", "terminate_instances", InstanceIds=[instance])
    warm.remove_roles(yard.account, "second", [])
    assert yard.roles() == []


def test_what_makes_another_server_necessary(settings: Settings, tmp_path: Any) -> None:
    from skylift.client.job.job import Program
    from skylift.client.job.settings import Access
    from skylift.client.plan.plan_job import Order, plan_job

    (tmp_path / "x.py").touch()
    job = plan_job(Order(Program("script", "x.py")), tmp_path, {})
    other = plan_job(Order(Program("script", "x.py"), instance_type="m7i.large"), tmp_path, {})
    private = replace(settings, access=Access(private=True))
    fits = [
        warm.configuration_of(job, "ami-1", settings, "203.0.113.7/32", ()),
        warm.configuration_of(other, "ami-1", settings, "203.0.113.7/32", ()),
        warm.configuration_of(job, "ami-2", settings, "203.0.113.7/32", ()),
        warm.configuration_of(job, "ami-1", settings, "203.0.113.8/32", ()),
        warm.configuration_of(job, "ami-1", private, None, ()),
        warm.configuration_of(job, "ami-1", settings, "203.0.113.7/32", ("my-bucket",)),
    ]
    assert len(set(fits)) == len(fits)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.py").touch()
    elsewhere = plan_job(Order(Program("script", "x.py")), tmp_path / "other", {})
    assert warm.configuration_of(elsewhere, "ami-1", settings, "203.0.113.7/32", ()) not in fits
    again = plan_job(Order(Program("script", "x.py"), max_time=60, env=["A=b"]), tmp_path, {})
    assert warm.configuration_of(again, "ami-1", settings, "203.0.113.7/32", ()) == fits[0]
