"""Whole runs against moto's EC2, IAM and S3, on a server that is started from the user data moto was given."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.agent_bench import Machine, Metadata, until
from support.whole_run import Seen, host, order, run

from skylift.client.collect import results as collect
from skylift.client.errors import LaunchFailed, NameTaken, Refused, RunError, UsageError
from skylift.client.flow import Run
from skylift.client.job.job import Program
from skylift.client.job.outcome import Outcome
from skylift.client.job.record import JobKeys, bucket_name
from skylift.client.job.settings import NewestImage, Settings
from skylift.client.job.tags import TAG_JOB
from skylift.client.jobs.jobs import Jobs
from skylift.client.jobs.wait import collect as bring_results
from skylift.client.launch import image_making
from skylift.client.launch import server as launch
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.network import find_network
from skylift.client.launch.role import BOUNDARY
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.account import open_account
from skylift.client.remote.api import Api, Sink


def test_a_run_from_nothing_to_its_results(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    job = order(
        folder,
        "import os, sys\nprint('out', sys.argv[1:], os.environ['WORD'])\nprint('err', file=sys.stderr)\n"
        "open('result.txt', 'w').write('42')\nraise SystemExit(7)\n",
        "--flag",
        outputs=["result.txt"],
        env=["WORD=hush"],
    )
    with host(api, machine) as found:
        outcome = run(job, settings, seen)
    assert (outcome.exit_code, outcome.state, outcome.name) == (7, "failed", job.name)
    assert seen.streams == {"stdout": b"out ['--flag'] hush\n", "stderr": b"err\n"}
    assert (folder / "result.txt").read_text() == "42"
    assert [each.path for each in outcome.results] == ["result.txt"]
    assert outcome.instance == found["instance"]
    assert {"check", "network", "key", "role", "upload", "server", "program", "results"} <= set(outcome.steps)
    assert "hush" not in found["user_data"]
    machine.wait()


def test_a_program_that_was_never_started_has_no_step_for_results(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    job = plan_job(Order(Program("command", "nosuchcmd"), outputs=["*.txt"]), folder, {})
    with host(api, machine):
        outcome = run(job, settings, seen)
    machine.wait()
    assert (outcome.exit_code, outcome.unmatched) == (127, ("*.txt",))
    assert "results" not in {*outcome.steps, *seen.steps}
    assert "results..." not in seen.steps


def test_nothing_that_costs_is_left(settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path) -> None:
    job = order(folder, "pass")
    with host(api, machine):
        run(job, settings, seen)
    assert launch.live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    assert api.pages("iam", "list_instance_profiles", "InstanceProfiles", PathPrefix="/skylift/") == []
    assert api.get(bucket_name(str(settings.account), settings.region), JobKeys(job.name).record) is not None
    machine.wait()


def test_second_run_finds_what_the_first_made(
    settings: Settings, api: Api, machine: Machine, endpoint: str, metadata: Metadata, seen: Seen, folder: Path
) -> None:
    with host(api, machine):
        run(order(folder, "print(1)"), settings, seen)
    machine.wait()
    first = find_network(api)
    with Machine(endpoint, metadata) as second:
        with host(api, second):
            run(order(folder, "print(2)"), settings, seen)
        second.wait()
    assert find_network(api) == first
    assert len(api.call("ec2", "describe_key_pairs")["KeyPairs"]) == 1
    assert (
        len(api.call("ec2", "describe_vpcs", Filters=[{"Name": "tag:skylift:network", "Values": ["vpc"]}])["Vpcs"]) == 1
    )
    assert seen.streams["stdout"] == b"1\n2\n"


def test_instance_is_what_was_asked_for(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    job = order(folder, "print('up', flush=True)\nimport signal; signal.pause()", instance_type="t3.micro")
    described: dict[str, Any] = {}

    def look() -> None:
        if not described:
            found = api.call("ec2", "describe_instances", Filters=[{"Name": f"tag:{TAG_JOB}", "Values": [job.name]}])
            described.update(found["Reservations"][0]["Instances"][0])
            role_name = f"skylift-{job.name}"
            described["role"] = api.call("iam", "get_role", RoleName=role_name)["Role"]
            api.put(bucket_name(str(settings.account), settings.region), JobKeys(job.name).cancel, b"")

    seen.on_output = look
    with host(api, machine):
        outcome = run(job, settings, seen)
    machine.wait()
    assert outcome.state == "cancelled"
    assert described["InstanceType"] == "t3.micro"
    assert described["MetadataOptions"]["HttpTokens"] == "required"
    assert described["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/skylift/skylift-{job.name}")
    assert described["KeyName"].startswith("skylift-")
    assert described["role"]["Path"] == "/skylift/"
    assert described["role"]["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(f"policy/skylift/{BOUNDARY}")
    shutdown = "instanceInitiatedShutdownBehavior"
    answer = api.call("ec2", "describe_instance_attribute", InstanceId=described["InstanceId"], Attribute=shutdown)
    assert answer["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_unknown_type_is_told_before_anything_is_made(settings: Settings, api: Api, seen: Seen, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"t3\.smal") as caught:
        run(order(folder, "pass", instance_type="t3.smal"), settings, seen)
    assert "t3.small" in caught.value.advice
    assert caught.value.exit_code == 2
    assert find_network(api) is None
    assert api.call("s3", "list_buckets")["Buckets"] == []
    assert api.pages("iam", "list_roles", "Roles") == []
    assert not settings.key_dir.exists()


def test_missing_image_is_told_before_anything_is_made(settings: Settings, api: Api, seen: Seen, folder: Path) -> None:
    nowhere = replace(settings, image=NewestImage("no-such-image-*", ("amazon",)))
    with pytest.raises(LaunchFailed, match="no-such-image"):
        run(order(folder, "pass"), nowhere, seen)
    assert api.pages("iam", "list_roles", "Roles") == []


def test_a_record_names_the_image_that_its_server_has(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image of its environment is removed between the look and the launch."""
    monkeypatch.setattr("skylift.client.launch.check._find_image", lambda *_: "ami-0123456789abcdef0")
    call = Api.call

    def removed(self: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "run_instances" and params["ImageId"] == "ami-0123456789abcdef0":
            raise Refused("InvalidAMIID.NotFound", "It is not there.", operation)
        return call(self, service, operation, **params)

    monkeypatch.setattr(Api, "call", removed)
    job = order(folder, "print('done')", keep=600)
    with host(api, machine):
        assert run(job, settings, seen).exit_code == 0
    (server,) = launch.live_servers(api)
    record = api.get(bucket_name(str(settings.account), settings.region), JobKeys(job.name).record)
    assert json.loads(record or b"")["image"] == server.image != "ami-0123456789abcdef0"


def test_name_of_another_job_is_refused_and_that_job_untouched(
    settings: Settings, api: Api, seen: Seen, folder: Path
) -> None:
    bucket = bucket_name(str(settings.account), settings.region)
    ensure_bucket(api, bucket)
    api.put(bucket, JobKeys("mine").record, b"{}")
    with pytest.raises(NameTaken, match="mine"):
        run(order(folder, "pass", name="mine"), settings, seen)
    assert api.get(bucket, JobKeys("mine").record) == b"{}"
    assert api.get(bucket, JobKeys("mine").supervisor) is None
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    assert launch.live_servers(api) == []


def test_a_name_that_nobody_chose_is_drawn_again_when_another_job_has_it(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    bucket = bucket_name(str(settings.account), settings.region)
    job = order(folder, "print('mine')")
    ensure_bucket(api, bucket)
    api.put(bucket, JobKeys(job.name).record, b"{}")
    with host(api, machine):
        outcome = run(job, settings, seen)
    machine.wait()
    assert (outcome.exit_code, seen.streams["stdout"]) == (0, b"mine\n")
    assert outcome.name != job.name
    assert re.fullmatch(r"job-[2-9a-z]{4}", outcome.name)
    assert f"There is a job called {job.name} already. This one is called {outcome.name}." in seen.notes
    assert api.get(bucket, JobKeys(job.name).record) == b"{}"
    assert api.get(bucket, JobKeys(job.name).supervisor) is None
    assert api.get(bucket, JobKeys(outcome.name).record) is not None
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_a_drawn_name_whose_role_is_there_leaves_no_record_and_that_role_untouched(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    """Roles are the account's, records a region's."""
    job = order(folder, "pass")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    named = {"RoleName": f"skylift-{job.name}", "Path": "/skylift/", "AssumeRolePolicyDocument": trust}
    api.call("iam", "create_role", **named)
    with host(api, machine):
        outcome = run(job, settings, seen)
    machine.wait()
    assert outcome.exit_code == 0
    assert outcome.name != job.name
    bucket = bucket_name(str(settings.account), settings.region)
    assert api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"jobs/{job.name}/") == []
    roles = api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")
    assert [each["RoleName"] for each in roles] == [f"skylift-{job.name}"]


def test_server_that_ends_before_it_takes_the_job(settings: Settings, api: Api, seen: Seen, folder: Path) -> None:
    job = order(folder, "pass")

    def end_it() -> None:
        server = until(lambda: launch.live_servers(api), "the instance")[0]
        launch.terminate(api, server.instance)

    thread = threading.Thread(target=end_it)
    thread.start()
    with pytest.raises(LaunchFailed, match="terminated before it took the job"):
        run(job, settings, seen)
    thread.join()
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    assert Jobs(settings).listed(ended=True)[0].state == "broken"


def test_server_that_vanishes_in_the_middle(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    # In one write, where print makes two: the server goes with the first that is seen of it.
    job = order(folder, "import os, signal\nos.write(1, b'up\\n')\nsignal.pause()")

    def end_it() -> None:
        machine.kill()
        launch.terminate(api, launch.live_servers(api)[0].instance)
        seen.on_output = None

    seen.on_output = end_it
    with host(api, machine), pytest.raises(RunError, match="never reported"):
        run(job, settings, seen)
    assert seen.streams["stdout"] == b"up\n"
    assert [each.state for each in Jobs(settings).listed(ended=True)] == ["lost"]


def test_interrupt_before_the_program_takes_everything_down(
    settings: Settings, api: Api, seen: Seen, folder: Path
) -> None:
    job = order(folder, "pass")

    async def main() -> Outcome:
        started = Run(job, settings, seen)
        loop = asyncio.get_running_loop()

        def press() -> None:
            until(lambda: launch.live_servers(api), "the instance")
            loop.call_soon_threadsafe(started.interrupt)

        thread = threading.Thread(target=press)
        thread.start()
        outcome = await started.run()
        thread.join()
        return outcome

    outcome = asyncio.run(main())
    assert (outcome.exit_code, outcome.state) == (130, "cancelled")
    assert launch.live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_a_job_that_was_interrupted_before_it_had_a_server_is_listed_as_cancelled(
    settings: Settings, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record had been written. Neither is it lost, nor is its secret kept."""
    job = order(folder, "pass", env=["WORD=hush"])
    prefix, put = JobKeys(job.name), Api.put

    async def main() -> Outcome:
        started = Run(job, settings, seen)
        loop = asyncio.get_running_loop()

        def interrupted(self: Api, bucket: str, key: str, *rest: Any, **named: Any) -> bool:
            done = put(self, bucket, key, *rest, **named)
            if key == prefix.env:
                loop.call_soon_threadsafe(started.interrupt)
            return done

        monkeypatch.setattr(Api, "put", interrupted)
        return await started.run()

    outcome = asyncio.run(main())
    assert (outcome.exit_code, outcome.state) == (130, "cancelled")
    (listed,) = Jobs(settings).listed(ended=True)
    assert (listed.name, listed.state, listed.exit_code) == (job.name, "cancelled", 130)
    account = open_account(settings)
    assert api.has(account.bucket, prefix.record) and not api.has(account.bucket, prefix.env)
    assert launch.live_servers(api) == []


def test_an_interrupt_ends_the_download_of_results(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on its way then is the last that is asked for."""
    job = order(folder, "open('big.bin', 'wb').write(bytes(range(250)) * 20_000)", outputs=["big.bin"])
    asked: list[int] = []
    stream = Api.stream

    async def main() -> Outcome:
        started = Run(job, settings, seen)
        loop = asyncio.get_running_loop()

        def interrupted(
            self: Api, bucket: str, key: str, target: Sink, offset: int = 0, most: int | None = None
        ) -> Iterator[int]:
            if key.endswith("big.bin"):
                asked.append(offset)
                if offset == 0:
                    loop.call_soon_threadsafe(started.interrupt)
                until(lambda: any("Stopped bringing" in each for each in seen.notes), "the interrupt")
            yield from stream(self, bucket, key, target, offset, most)

        monkeypatch.setattr(collect, "_STRETCH", 100_000)
        monkeypatch.setattr(Api, "stream", interrupted)
        return await started.run()

    with host(api, machine):
        outcome = asyncio.run(main())
    machine.wait()
    assert (outcome.exit_code, outcome.state) == (130, "cancelled")
    assert 0 < len(asked) <= collect._AT_A_TIME
    assert not (folder / "big.bin").exists()
    monkeypatch.setattr(Api, "stream", stream)
    bring_results(open_account(settings), job.name, folder, seen)
    assert (folder / "big.bin").stat().st_size == 5_000_000


def test_an_interrupt_before_a_run_has_begun_begins_nothing(
    settings: Settings, api: Api, seen: Seen, folder: Path
) -> None:
    job = order(folder, "pass")

    async def main() -> Outcome:
        started = Run(job, settings, seen)
        started.interrupt()
        return await started.run()

    outcome = asyncio.run(main())
    assert (outcome.exit_code, outcome.state, seen.steps) == (130, "cancelled", [])
    assert launch.live_servers(api) == []


class Making:
    """The making of an image that goes on for as long as anybody waits."""

    is_awaited = False

    def __init__(self, *_: object) -> None:
        self.left = asyncio.Event()
        self.waited = False
        self.all.append(self)

    all: ClassVar[list[Making]] = []

    async def __aenter__(self) -> Making:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        self.left.set()

    async def finish(self) -> None:
        self.waited = not self.left.is_set()
        await self.left.wait()


def test_an_interrupt_leaves_out_the_image_of_the_environment(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_making, "ImageMaking", Making)
    monkeypatch.setattr(Making, "all", [])
    job = order(folder, "print('up')")

    async def main() -> Outcome:
        started = Run(job, settings, seen)
        loop = asyncio.get_running_loop()

        def press() -> None:
            seen.on_output = None
            loop.call_soon_threadsafe(started.interrupt)

        seen.on_output = press
        return await started.run()

    with host(api, machine):
        outcome = asyncio.run(main())
    machine.wait()
    assert outcome.name == job.name
    assert [each.waited for each in Making.all] == [False]


def test_third_interrupt_leaves_a_job_running_whose_server_is_out_of_reach(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    job = order(folder, "print('up', flush=True)\nimport signal; signal.pause()")

    async def main() -> Outcome:
        started = Run(job, settings, seen)
        loop = asyncio.get_running_loop()

        def press_thrice() -> None:
            # In one turn of the loop: the program may end at the first, and a later one would find it ended.
            for _ in range(3):
                started.interrupt()

        def press() -> None:
            seen.on_output = None
            loop.call_soon_threadsafe(press_thrice)

        seen.on_output = press
        return await started.run()

    with host(api, machine):
        outcome = asyncio.run(main())
    assert (outcome.exit_code, outcome.state) == (130, "detached")
    # Its status comes by S3, as its output does, and may come after it.
    until(lambda: [each.state for each in Jobs(settings).listed()] == ["running"], "its status")
    (listed,) = Jobs(settings).listed()
    assert listed.name == job.name
    assert Jobs(settings).cancel(job.name) == "cancelled"
    machine.wait()
    assert launch.live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    (listed,) = Jobs(settings).listed(ended=True)
    assert (listed.state, listed.exit_code) == ("cancelled", 143)
    assert Jobs(settings).cancel(job.name) == "had ended already"


def test_kept_server_keeps_its_role(settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path) -> None:
    job = order(folder, "print('done')", keep=600)
    with host(api, machine):
        outcome = run(job, settings, seen)
    assert outcome.kept_until is not None
    assert time.strptime(outcome.kept_until, "%Y-%m-%dT%H:%M:%SZ")
    assert len(launch.live_servers(api)) == 1
    assert len(api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/")) == 1
    Jobs(settings).cancel(job.name)
    assert launch.live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_the_client_leaves_a_server_that_stays_by_an_earlier_promise(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    first = order(folder, "print('done')", keep=600)
    with host(api, machine):
        promised = run(first, settings, seen).kept_until
        second = order(folder, "print('again')", reuse=first.name)
        outcome = run(second, settings, seen)
    assert seen.streams["stdout"] == b"done\nagain\n"
    assert outcome.kept_until == promised
    assert [each.job for each in launch.live_servers(api)] == [second.name]
    Jobs(settings).cancel(second.name)


def test_outcome_as_json_has_what_is_promised(
    settings: Settings, api: Api, machine: Machine, seen: Seen, folder: Path
) -> None:
    with host(api, machine):
        outcome = run(order(folder, "import os; os.kill(os.getpid(), 9)"), settings, seen)
    machine.wait()
    found = json.loads(json.dumps(outcome.as_json()))
    assert (found["exit_code"], found["signal"], found["state"]) == (137, "SIGKILL", "failed")
    assert set(found) >= {"name", "state", "exit_code", "reason", "signal", "instance", "results", "steps"}
