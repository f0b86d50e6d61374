"""A job that was started by one and is looked at, waited for, attended and forgotten by another."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine, until
from support.waiting_job import WAITS, WaitingJob, go, submit
from support.whole_run import Seen, host, order

from skylift.cli.main import perform
from skylift.client.attach import Attach
from skylift.client.errors import JobNotFound, NotPermitted, RunError, Unreachable
from skylift.client.job.outcome import Outcome
from skylift.client.job.record import JobKeys
from skylift.client.job.settings import Settings
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.logs import show_logs
from skylift.client.jobs.wait import collect, wait
from skylift.client.launch import role
from skylift.client.launch import server as launch
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.job_group import job_groups, make_job_group
from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import LogEntry, MapEnd, encode_entry
from skylift.client.map.spec import encode_spec
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.steps import Clock
from skylift.client.watch.watched_job import find_job
from skylift.contract.map_spec import Halt, MapInput, MapSpec, Resumed


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Account:
    """Another machine with the same account's credentials, and nothing else of the first."""
    return open_account(replace(settings, key_dir=tmp_path / "other-keys", caller_address=lambda: "203.0.113.8"))


@pytest.fixture
def waiting(settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path) -> WaitingJob:
    job = order(folder, WAITS, outputs=["result.txt"], env=["WORD=hush"])
    with host(api, machine):
        return WaitingJob(job.name, submit(job, settings, seen))


def test_submitted_job_is_the_servers_own(
    waiting: WaitingJob, api: Api, machine: Machine, folder: Path, elsewhere: Account
) -> None:
    assert api.get(elsewhere.bucket, f"{JobKeys(waiting.name).base}/server/attempts/1.json") is not None
    assert launch.live_servers(api)[0].instance == waiting.taken.server.instance
    go(machine)
    there = Seen()
    outcome = asyncio.run(wait(elsewhere, waiting.name, there))
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("failed", 7, "The program exited with 7.")
    assert [each.path for each in outcome.results] == ["result.txt"]
    assert not (folder / "result.txt").exists()
    machine.wait()
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_attended_from_elsewhere(
    waiting: WaitingJob, api: Api, machine: Machine, elsewhere: Account, tmp_path: Path
) -> None:
    there, home = Seen(), tmp_path / "there"
    home.mkdir()
    there.on_output = lambda: go(machine)

    async def main() -> Outcome:
        return await Attach(find_job(elsewhere, waiting.name, home), there, Clock(there)).run()

    outcome = asyncio.run(main())
    assert (outcome.state, outcome.exit_code) == ("failed", 7)
    assert there.streams == {"stdout": b"ready\ndone\n", "stderr": b"a complaint\n"}
    assert (home / "result.txt").read_text() == "42" * 1000
    assert launch.live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    machine.wait()


def test_a_cloud_that_is_away_while_things_are_put_away(
    elsewhere: Account, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results wait for it to come back, and so does the rest."""
    ensure_bucket(api, elsewhere.bucket)
    role.create_role(api, "over", elsewhere.number)
    ended = {"state": "succeeded", "final": True, "exit_code": 0, "reason": "", "streams": {}}
    for key, body in {
        JobKeys("over").record: {"keep": 0, "instance_type": "t3.small", "created": 1, "deadline": 2},
        JobKeys("over").status: ended,
        JobKeys("over").manifest: {"results": [], "unmatched": [], "left_behind": [], "final": True},
    }.items():
        api.put(elsewhere.bucket, key, json.dumps(body).encode())
    remove, tried = role.remove_role_of, []

    def away_at_first(to: Api, name: str, jobs: Collection[str]) -> None:
        tried.append(name)
        if len(tried) == 1:
            raise Unreachable("delete_role: nobody is there")
        remove(to, name, jobs)

    monkeypatch.setattr(role, "remove_role_of", away_at_first)
    there = Seen()

    async def main() -> Outcome:
        return await Attach(find_job(elsewhere, "over", tmp_path), there, Clock(there)).run()

    assert asyncio.run(main()).state == "succeeded"
    assert tried == ["skylift-over"] * 2
    assert there.notes == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


SUCCEEDED = {"state": "succeeded", "final": True, "exit_code": 0, "reason": "", "streams": {}}
NO_RESULTS = {"results": [], "unmatched": [], "left_behind": [], "final": True}
MAP = {"keep": 0, "instance_type": "t3.small", "created": 1, "deadline": 2, "map": {"group": "skylift-workers.many"}}


def test_results_that_are_interrupted_say_how_to_go_on(
    elsewhere: Account,
    settings: Settings,
    api: Api,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ensure_bucket(api, elsewhere.bucket)
    for key, body in {
        JobKeys("over").record: {"keep": 0, "instance_type": "t3.small", "created": 1, "deadline": 2, "outputs": ["a"]},
        JobKeys("over").status: SUCCEEDED,
        JobKeys("over").manifest: {**NO_RESULTS, "results": [{"path": "a", "size": 1, "sha256": "0" * 64}]},
    }.items():
        api.put(elsewhere.bucket, key, json.dumps(body).encode())
    monkeypatch.chdir(folder)
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    monkeypatch.setattr(Api, "stream", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert perform(["results", "over"]) == 130
    assert "The same command goes on where this one has stopped." in capfd.readouterr().err


def test_who_waits_for_a_map_puts_away_what_its_servers_cannot(elsewhere: Account, api: Api) -> None:
    ensure_bucket(api, elsewhere.bucket)
    (vpc, *_) = api.pages("ec2", "describe_vpcs", "Vpcs")
    make_job_group(api, "many", vpc["VpcId"], 1.0, "map")
    role.create_role(api, role.worker_of("many"), elsewhere.number, owner="many")
    prefix = JobKeys("many")
    for key, body in {prefix.record: MAP, prefix.status: SUCCEEDED, prefix.manifest: NO_RESULTS}.items():
        api.put(elsewhere.bucket, key, json.dumps(body).encode())
    assert asyncio.run(wait(elsewhere, "many", Seen())).exit_code == 0
    assert job_groups(api) == {}
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_who_waits_for_a_map_that_was_ended_early_is_told_why(
    elsewhere: Account, settings: Settings, api: Api, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its job has failed as any program does."""
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    ensure_bucket(api, elsewhere.bucket)
    keys, prefix = MapKeys("many"), JobKeys("many")
    failed = {**SUCCEEDED, "state": "failed", "exit_code": 1, "reason": "The program exited with 1."}
    for key, body in {prefix.record: MAP, prefix.status: failed, prefix.manifest: NO_RESULTS}.items():
        api.put(elsewhere.bucket, key, json.dumps(body).encode())
    spec = MapSpec(("job.py",), True, (), (MapInput(0, "a", "a"),), halt=Halt(count=1))
    api.put(elsewhere.bucket, keys.spec, encode_spec(spec))
    end = MapEnd("It was ended early: 1 of 5 inputs have failed (--halt).", halted=True)
    for number, entry in enumerate([LogEntry(1, 1.0, "i-0a"), LogEntry(1, 2.0, ended=end)]):
        api.put(elsewhere.bucket, keys.log_entry(number), encode_entry(entry))
    assert perform(["wait", "many"]) == 1
    assert end.reason in capfd.readouterr().out
    assert perform(["wait", "--json", "many"]) == 1
    (found,) = json.loads(capfd.readouterr().out)
    assert (found["reason"], found["ended_early"]) == ("The program exited with 1.", end.reason)
    api.put(elsewhere.bucket, keys.log_entry(2), b"{")
    assert perform(["wait", "many"]) == 1
    assert keys.log_entry(2) in capfd.readouterr().err
    assert perform(["wait", "--json", "many"]) == 1
    assert "ended_early" not in json.loads(capfd.readouterr().out)[0]


@pytest.mark.parametrize("halt", [None, Halt(count=3)])
def test_who_waits_for_a_map_reads_no_more_of_its_log_than_why_it_ended(
    elsewhere: Account, settings: Settings, api: Api, monkeypatch: pytest.MonkeyPatch, halt: Halt | None
) -> None:
    """The log of a large map has thousands of entries, with all outcomes in them, as have those of the maps before."""
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    ensure_bucket(api, elsewhere.bucket)
    keys, prefix = MapKeys("many"), JobKeys("many")
    failed = {**SUCCEEDED, "state": "failed", "exit_code": 1, "reason": "The program exited with 1."}
    for key, body in {prefix.record: MAP, prefix.status: failed, prefix.manifest: NO_RESULTS}.items():
        api.put(elsewhere.bucket, key, json.dumps(body).encode())
    spec = MapSpec(("job.py",), True, (), (MapInput(0, "a", "a"),), halt=halt, resumes=Resumed("before"))
    api.put(elsewhere.bucket, keys.spec, encode_spec(spec))
    end = MapEnd("1 of 1 inputs have failed.")
    for number, entry in enumerate([LogEntry(1, 1.0, "i-0a"), LogEntry(1, 2.0), LogEntry(1, 3.0, ended=end)]):
        api.put(elsewhere.bucket, keys.log_entry(number), encode_entry(entry))
    read: list[str] = []
    get = Api.get

    def noted(self: Api, bucket: str, key: str, *more: Any) -> bytes | None:
        read.append(key)
        return get(self, bucket, key, *more)

    monkeypatch.setattr(Api, "get", noted)
    assert perform(["wait", "many"]) == 1
    assert [each for each in read if each.startswith(keys.log)] == [keys.log_entry(2)]
    assert not [each for each in read if each.startswith(JobKeys("before").base)]


def test_a_map_whose_server_is_gone_is_told_how_to_go_on(elsewhere: Account, api: Api) -> None:
    ensure_bucket(api, elsewhere.bucket)
    api.put(elsewhere.bucket, JobKeys("many").record, json.dumps(MAP).encode())
    with pytest.raises(RunError, match="never reported") as caught:
        asyncio.run(wait(elsewhere, "many", Seen()))
    assert caught.value.advice.endswith("To run what is left: skylift map --resume many")


def test_logs_are_looked_at_while_it_runs_and_after(
    waiting: WaitingJob, api: Api, machine: Machine, elsewhere: Account
) -> None:
    def shown() -> Seen:
        there = Seen()
        asyncio.run(show_logs(elsewhere, waiting.name, there))
        return there

    # Two streams, either of which may be told first.
    until(lambda: shown().streams == {"stdout": b"ready\n", "stderr": b"a complaint\n"}, "the first lines")
    follower = Seen()
    follower.on_output = lambda: go(machine)
    status = asyncio.run(show_logs(elsewhere, waiting.name, follower, follow=True))
    assert status is not None and status.exit_code == 7
    assert follower.streams == {"stdout": b"ready\ndone\n", "stderr": b"a complaint\n"}
    machine.wait()
    only = Seen()
    asyncio.run(show_logs(elsewhere, waiting.name, only, only="stderr"))
    assert only.streams == {"stdout": b"", "stderr": b"a complaint\n"}
    # Looking put nothing away.
    assert len(api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")) == 1


def test_logs_since_then(elsewhere: Account, api: Api) -> None:
    api.call("s3", "create_bucket", Bucket=elsewhere.bucket)
    top = JobKeys("x").stream("stdout")
    api.put(elsewhere.bucket, JobKeys("x").record, b'{"created": 1, "deadline": 2}')
    api.put(elsewhere.bucket, f"{top}{0:020d}", b"before\n")
    (piece,) = api.pages("s3", "list_objects_v2", "Contents", Bucket=elsewhere.bucket, Prefix=top)
    told = Seen()
    asyncio.run(show_logs(elsewhere, "x", told, since=piece["LastModified"].timestamp() + 1))
    assert told.streams["stdout"] == b""
    asyncio.run(show_logs(elsewhere, "x", told, since=piece["LastModified"].timestamp()))
    assert told.streams["stdout"] == b"before\n"


def test_logs_since_the_second_that_something_was_written(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path, elsewhere: Account
) -> None:
    source = "import os, time\nprint('old')\nwhile not os.path.exists('go'): time.sleep(0.02)\n"
    job = order(folder, source + "time.sleep(1.2)\nprint('new', time.time())\n")
    with host(api, machine):
        submit(job, settings, seen)
    piece = f"{JobKeys(job.name).stream('stdout')}{0:020d}"
    until(lambda: api.get(elsewhere.bucket, piece), "the old line, with its time")
    go(machine)
    machine.wait()
    whole, since, later = Seen(), Seen(), Seen()
    asyncio.run(show_logs(elsewhere, job.name, whole))
    old, new = whole.streams["stdout"].splitlines(keepends=True)
    assert old == b"old\n"
    asyncio.run(show_logs(elsewhere, job.name, since, since=float(new.split()[1])))
    assert since.streams["stdout"] == new
    asyncio.run(show_logs(elsewhere, job.name, later, since=float(new.split()[1]) + 3600))
    assert later.streams["stdout"] == b""


def test_job_that_ended_is_collected_again_and_forgotten(
    settings: Settings,
    api: Api,
    machine: Machine,
    seen: Seen,
    folder: Path,
    elsewhere: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = order(folder, "open('r', 'w').write('x' * 5000)", outputs=["r"])
    with host(api, machine):
        submit(job, settings, seen)
    machine.wait()
    home = tmp_path / "there"
    home.mkdir()
    assert [each.path for each in collect(elsewhere, job.name, home, Seen()).results] == ["r"]
    assert (home / "r").read_text() == "x" * 5000
    # As if a minute had passed in which the server did not go off.
    monkeypatch.setattr("skylift.client.jobs.jobs._OFF_PATIENCE", 0.0)
    with pytest.raises(RunError, match="has a server still"):
        Jobs(settings).remove(job.name)
    launch.terminate(api, launch.live_servers(api)[0].instance)
    assert Jobs(settings).remove(job.name).startswith("removed, ")
    assert api.pages("s3", "list_objects_v2", "Contents", Bucket=elsewhere.bucket, Prefix="jobs/") == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    with pytest.raises(JobNotFound):
        Jobs(settings).remove(job.name)


def test_server_that_went_without_a_word(waiting: WaitingJob, api: Api, machine: Machine, elsewhere: Account) -> None:
    machine.kill()
    launch.terminate(api, launch.live_servers(api)[0].instance)
    with pytest.raises(RunError, match="never reported") as caught:
        asyncio.run(wait(elsewhere, waiting.name, Seen()))
    assert caught.value.exit_code == 125


def test_detached_by_the_command_line(
    settings: Settings,
    api: Api,
    machine: Machine,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    # There is no SSH here, of which it would tell after a while.
    monkeypatch.setattr("skylift.client.watch.stream._NOTE_AFTER", 3600.0)
    (folder / "job.py").write_text(WAITS)
    with host(api, machine):
        assert perform(["run", "-d", "--name", "nightly", "--out", "result.txt", "job.py"]) == 0
    assert capfd.readouterr().out == "nightly\n"
    assert perform(["run", "-d", "--name", "nightly", "job.py"]) == 2
    assert "skylift rm nightly" in capfd.readouterr().err
    until((machine.home / "job" / "job.py").exists, "the job to be unpacked")
    assert perform(["results", "nightly"]) == 125
    assert "has not ended yet" in capfd.readouterr().err
    go(machine)
    assert perform(["logs", "-f", "nightly"]) == 0
    assert capfd.readouterr() == ("ready\ndone\n", "a complaint\n")
    assert perform(["logs", "--stderr", "nightly"]) == 0
    assert capfd.readouterr() == ("a complaint\n", "")
    assert perform(["wait", "--json", "nightly"]) == 7
    (found,) = json.loads(capfd.readouterr().out)
    assert (found["name"], found["state"]) == ("nightly", "failed")
    assert perform(["results", "nightly", "there"]) == 0
    assert capfd.readouterr().out == "result.txt\n"
    assert (folder / "there/result.txt").exists()
    machine.wait()
    assert perform(["attach", "-q", "nightly"]) == 7
    assert capfd.readouterr() == ("ready\ndone\n", "a complaint\n")
    assert perform(["rm", "nightly"]) == 0
    assert perform(["logs", "nightly"]) == 2


@pytest.mark.parametrize("command", ["attach", "wait", "logs", "results", "rm"])
@pytest.mark.parametrize("name", ["nobody-knows", "../x"])
def test_job_that_is_not_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    monkeypatch.setattr("skylift.place.local.local_settings", lambda *_: settings)
    assert perform([command, "--", name]) == 2
    assert name in capfd.readouterr().err


def test_who_waits_for_a_job_that_is_being_started_leaves_it_alone(elsewhere: Account, api: Api) -> None:
    """The record is there before the server: what its client has made by then is not left over."""
    ensure_bucket(api, elsewhere.bucket)
    (vpc, *_) = api.pages("ec2", "describe_vpcs", "Vpcs")
    make_job_group(api, "many", vpc["VpcId"], 1.0, "map")
    role.create_role(api, role.worker_of("many"), elsewhere.number, owner="many")
    prefix = JobKeys("many")
    api.put(elsewhere.bucket, prefix.record, json.dumps({**MAP, "created": time.time()}).encode())
    seen, made = Seen(), (job_groups(api), api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/"))

    async def main() -> Outcome:
        waiting = asyncio.ensure_future(wait(elsewhere, "many", seen))
        while not seen.notes and not waiting.done():
            await asyncio.sleep(0.01)
        assert seen.notes == ["many has no server yet. Waiting until its client has started one."]
        assert (job_groups(api), api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")) == made
        api.put(elsewhere.bucket, prefix.manifest, json.dumps(NO_RESULTS).encode())
        api.put(elsewhere.bucket, prefix.status, json.dumps(SUCCEEDED).encode())
        return await waiting

    assert asyncio.run(main()).exit_code == 0
    assert job_groups(api) == {}


def test_a_job_that_is_removed_before_it_has_a_server_is_not_waited_for(elsewhere: Account, api: Api) -> None:
    ensure_bucket(api, elsewhere.bucket)
    record = JobKeys("gone").record
    api.put(elsewhere.bucket, record, json.dumps({**MAP, "created": time.time()}).encode())
    seen = Seen()

    async def main() -> None:
        waiting = asyncio.ensure_future(wait(elsewhere, "gone", seen))
        while not seen.notes and not waiting.done():
            await asyncio.sleep(0.01)
        api.delete_below(elsewhere.bucket, "jobs/gone/", last=record)
        await waiting

    with pytest.raises(RunError, match="never reported"):
        asyncio.run(main())


def test_what_cannot_be_put_away_changes_no_outcome(
    elsewhere: Account, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_bucket(api, elsewhere.bucket)
    (vpc, *_) = api.pages("ec2", "describe_vpcs", "Vpcs")
    make_job_group(api, "many", vpc["VpcId"], 1.0, "map")
    prefix, failed = JobKeys("many"), {**SUCCEEDED, "state": "failed", "exit_code": 7}
    for key, body in {prefix.record: MAP, prefix.status: failed, prefix.manifest: NO_RESULTS}.items():
        api.put(elsewhere.bucket, key, json.dumps(body).encode())
    call = api.call

    def refuse(service: str, operation: str, **what: Any) -> Any:
        if service in ("iam", "autoscaling"):
            raise NotPermitted("AccessDenied", "you may not", operation)
        return call(service, operation, **what)

    monkeypatch.setattr(Api, "call", lambda _, *args, **what: refuse(*args, **what))
    seen = Seen()
    assert asyncio.run(wait(elsewhere, "many", seen)).exit_code == 7
    assert seen.notes[0].startswith("Not everything could be taken down: ")
    assert job_groups(api) == {}
