"""Jobs that do not come to a server: what they leave behind, and what their user is told. EC2 is moto's."""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.whole_run import Seen, order, run

from skylift.cli.main import perform
from skylift.client.errors import LaunchFailed, NotPermitted, Refused, UsageError
from skylift.client.flow import Run
from skylift.client.job.cache import Cache
from skylift.client.job.job import Job, MapPart, Spot
from skylift.client.job.record import JobKeys, bucket_name
from skylift.client.job.settings import Settings
from skylift.client.jobs.jobs import Jobs
from skylift.client.launch import server as launch
from skylift.client.launch.fleet import JobFleet
from skylift.client.launch.last_kept import LastKept, StartedConnection
from skylift.client.remote import ssh
from skylift.client.remote.api import Api
from skylift.client.ship.archive import whole_archive
from skylift.client.ship.stdin import Stdin
from skylift.client.steps import Clock
from skylift.client.submit import Submit
from skylift.client.watch.forward import Forward, Forwards
from skylift.contract.stream import HostKeys
from skylift.python import work

pytestmark = pytest.mark.usefixtures("prepared")


def no_room(*_: Any) -> None:
    raise LaunchFailed("No room.")


def a_map(job: Job, told: list[str]) -> Job:
    """As client/map has it: what it sends and takes back is told."""
    part = MapPart(
        b"{}",
        lambda _api, _bucket, name: told.append(f"sent {name}"),
        take_back=lambda _api, _bucket, name: told.append(f"took back {name}"),
    )
    return replace(job, map=part)


def test_a_map_that_cannot_be_started_takes_back_what_it_has_written(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("skylift.client.launch.start.run_instance", no_room)
    job = a_map(order(folder, ""), told)
    with pytest.raises(LaunchFailed, match="No room"):
        run(job, settings, seen)
    assert told == [f"sent {job.name}", f"took back {job.name}"]
    assert [each["RoleName"] for each in api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")] == []
    bucket = bucket_name(settings.account or "", settings.region)
    assert api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix="jobs/") == []
    with pytest.raises(LaunchFailed, match="No room"):
        run(replace(job, name_was_drawn=False), settings, seen)


def records(settings: Settings, api: Api, job: Job) -> list[Any]:
    bucket = bucket_name(settings.account or "", settings.region)
    return api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"jobs/{job.name}/")


def refuse(monkeypatch: pytest.MonkeyPatch, error: Refused, *operations: str, after: bool = False) -> None:
    """Have these operations answer with the error, with `after` once they have done their work."""
    call = Api.call

    def answer(self: Api, service: str, operation: str, **params: Any) -> Any:
        if operation not in operations:
            return call(self, service, operation, **params)
        if after:
            call(self, service, operation, **params)
        raise error

    monkeypatch.setattr(Api, "call", answer)


def test_a_job_without_room_that_is_not_taken_down_whole_keeps_its_record(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`skylift cancel`, which the user is told of, takes the rest down."""
    job = order(folder, "")
    with monkeypatch.context() as patch:
        patch.setattr("skylift.client.launch.start.run_instance", no_room)
        refuse(patch, Refused("ServiceFailure", "IAM is away.", "DeleteRole"), "delete_role")
        with pytest.raises(LaunchFailed, match="No room"):
            run(job, settings, seen)
    assert any(f"`skylift cancel {job.name}`" in each for each in seen.notes)
    assert len(api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")) == 1
    Jobs(settings).cancel(job.name)
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


@pytest.mark.parametrize("code", ["InternalError", "InternalFailure", "Unavailable", "RequestLimitExceeded", "Unheard"])
def test_a_job_that_may_have_a_server_keeps_its_record(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """EC2 does not list it yet, so that it is not ended at once."""
    job = order(folder, "")
    with monkeypatch.context() as patch:
        patch.setattr("skylift.client.launch.start.live_servers", lambda *_: [])
        refuse(patch, Refused(code, "Something is wrong.", "RunInstances"), "run_instances", after=True)
        with pytest.raises(LaunchFailed, match=code):
            run(job, settings, seen)
    assert any(f"`skylift cancel {job.name}`" in each for each in seen.notes)
    assert len(launch.live_servers(api, job.name)) == 1
    Jobs(settings).cancel(job.name)
    assert launch.live_servers(api, job.name) == []


@pytest.mark.parametrize(
    "code",
    [
        "InsufficientInstanceCapacity",
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "InvalidParameterValue",
        "UnauthorizedOperation",
    ],
)
def test_a_job_that_ec2_has_refused_has_no_record(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    job = order(folder, "")
    refuse(monkeypatch, Refused(code, "No.", "RunInstances"), "run_instances")
    with pytest.raises(LaunchFailed, match=code):
        run(job, settings, seen)
    assert records(settings, api, job) == []


@pytest.mark.parametrize("started", [False, True])
def test_a_spot_job_without_room_has_no_record_unless_a_server_was_begun(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch, *, started: bool
) -> None:
    job = replace(order(folder, ""), spot=Spot(types=("t3.small",)))
    here, ended = "skylift.client.launch", list[str]()
    servers = [SimpleNamespace(instance="i-0123456789abcdef0")] if started else []
    # Moto's fleets have room always.
    monkeypatch.setattr(f"{here}.fleet.start_fleet", lambda *_: JobFleet("fleet-1", job.name))
    monkeypatch.setattr(f"{here}.fleet.delete_fleets", lambda _, fleets, **__: ended.extend(each.id for each in fleets))
    monkeypatch.setattr(f"{here}.fleet.await_server", no_room)
    monkeypatch.setattr(f"{here}.start.live_servers", lambda *_: servers)
    monkeypatch.setattr(f"{here}.start.terminate", lambda _, instance: ended.append(instance))
    with pytest.raises(LaunchFailed, match="No room"):
        run(job, settings, seen)
    assert (bool(records(settings, api, job)), ended) == (started, ["fleet-1", *(each.instance for each in servers)])


def test_why_a_job_did_not_start_is_told_also_when_its_record_cannot_be_removed(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise NotPermitted("AccessDenied", "You may not.", "ListMultipartUploads")

    monkeypatch.setattr("skylift.client.launch.start.run_instance", no_room)
    monkeypatch.setattr(Api, "delete_below", denied)
    job = order(folder, "")
    with pytest.raises(LaunchFailed, match="No room"):
        run(job, settings, seen)
    assert any("ListMultipartUploads" in each for each in seen.notes)
    assert any(f"`skylift rm {job.name}`" in each for each in seen.notes)


def test_a_detached_job_without_room_leaves_nothing_of_its_standard_input(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skylift.client.launch.start.run_instance", no_room)
    job = replace(order(folder, "", name="again"), stdin=True)
    (folder / "input").write_text("some words\n")

    async def submit() -> None:
        with (folder / "input").open("rb") as source:
            stdin = Stdin(source.fileno())
            await Submit(job, settings, seen, Clock(seen), detached=True, stdin=stdin).run()

    for _ in range(2):
        with pytest.raises(LaunchFailed, match="No room"):
            asyncio.run(submit())
        assert records(settings, api, job) == []


def test_the_event_loop_does_not_wait_for_the_supervisors_archive(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another Python may compile it, and Ctrl-C and the connection to a kept server are served meanwhile."""
    makers: list[threading.Thread] = []

    def make(cache: Cache) -> bytes:
        makers.append(threading.current_thread())
        return whole_archive(cache)

    for room in ("launch.kept_server", "ship.upload"):
        monkeypatch.setattr(f"skylift.client.{room}.whole_archive", make)
    monkeypatch.setattr("skylift.client.launch.start.run_instance", no_room)
    with pytest.raises(LaunchFailed, match="No room"):
        run(order(folder, ""), settings, seen)
    assert makers
    assert threading.main_thread() not in makers


def test_a_map_that_is_resumed_while_it_starts_gives_way(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever resumes it has seen neither server nor status, as if its client had been killed."""
    told: list[str] = []
    start, bucket = launch.run_instance, bucket_name(settings.account or "", settings.region)

    def start_meanwhile(*given: Any) -> Any:
        api.put(bucket, JobKeys(job.name).resumed, b'{"job": "later"}')
        api.put(bucket, JobKeys("later").record, b"{}")
        return start(*given)

    monkeypatch.setattr("skylift.client.launch.start.run_instance", start_meanwhile)
    job = a_map(order(folder, ""), told)
    with pytest.raises(LaunchFailed, match="resumed it as another one"):
        run(job, settings, seen)
    assert launch.live_servers(api) == []
    assert told == [f"sent {job.name}", f"took back {job.name}"]


class Begun:
    """A connection that has begun, to a server that is no more."""

    def __init__(self, settings: Settings) -> None:
        self.ended = False
        host_keys = HostKeys("me", ("ssh-ed25519 none",), "i-0123456789abcdef0")
        to = LastKept(settings.account or "", "last", "t3.small", "127.0.0.1", host_keys, 9e9)
        self.connection = StartedConnection(to, cast(ssh.SshStart, self))

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def begun(settings: Settings) -> Begun:
    return Begun(settings)


def test_a_connection_that_has_begun_to_a_server_that_is_no_more_is_closed_before_there_is_a_new_one(
    settings: Settings, seen: Seen, folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []

    def start(*_: Any) -> None:
        ended.append(begun.ended)
        no_room()

    monkeypatch.setattr("skylift.client.launch.start.run_instance", start)
    with pytest.raises(LaunchFailed, match="No room"):
        asyncio.run(Run(order(folder, ""), settings, seen, connection=begun.connection).run())
    assert ended == [True]


def test_a_connection_that_has_begun_is_closed_where_nobody_comes_to_it(
    settings: Settings, seen: Seen, folder: Path, begun: Begun
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        forwards = Forwards([Forward(taken.getsockname()[1], 80)])
        run = Run(order(folder, ""), settings, seen, forwards=forwards, connection=begun.connection)
        with pytest.raises(UsageError, match="the port is not available"):
            asyncio.run(run.run())
    assert begun.ended


def test_a_connection_that_has_begun_is_closed_for_who_is_interrupted_at_once(
    settings: Settings, seen: Seen, folder: Path, begun: Begun
) -> None:
    run = Run(order(folder, ""), settings, seen, connection=begun.connection)
    run.interrupt()
    assert asyncio.run(run.run()).state == "cancelled"
    assert begun.ended


@pytest.mark.parametrize("options", [(), ("-d",)])
def test_the_command_hands_on_what_has_begun(
    settings: Settings, folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "job.py").touch()
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    monkeypatch.setattr("skylift.client.launch.last_kept.start_connection", lambda *_: begun.connection)
    monkeypatch.setattr("skylift.client.launch.start.run_instance", no_room)
    assert perform(["run", *options, "job.py"]) == 125
    assert begun.ended


@pytest.mark.parametrize("detached", [False, True])
def test_python_hands_on_what_has_begun(
    settings: Settings, seen: Seen, folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch, detached: bool
) -> None:
    monkeypatch.setattr("skylift.python.work.start_connection", lambda *_: begun.connection)
    monkeypatch.setattr("skylift.client.launch.start.run_instance", no_room)
    job = order(folder, "")
    with pytest.raises(LaunchFailed, match="No room"):
        if detached:
            work.start_submission(job, settings, seen, None).result()
        else:
            work.start_run(job, settings, seen, Forwards(()), None).result()
    assert begun.ended
