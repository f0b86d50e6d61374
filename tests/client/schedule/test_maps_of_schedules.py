"""Schedules of maps against moto: what is kept for all runs, what a run may look up, and what a client believes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.whole_run import Seen

from skylift.client.errors import RecordDamaged, UsageError
from skylift.client.job.job import Program
from skylift.client.job.record import SCHEDULES, JobKeys
from skylift.client.job.settings import Settings
from skylift.client.map.continuation import Continuation, ContinuedMap
from skylift.client.map.inputs import InputWords
from skylift.client.map.keys import MapKeys
from skylift.client.map.looked_up import encode_found
from skylift.client.map.outcome import InputOutcome, InputState, LogEntry, MapEnd, encode_entry
from skylift.client.map.places import Template
from skylift.client.map.planning import MapLimits
from skylift.client.map.reading import MapReader
from skylift.client.map.spec import parse_spec
from skylift.client.plan.plan_job import plan_job
from skylift.client.plan.read_options import read_options
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
from skylift.client.schedule.planning import plan_maps
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.schedules import Schedules
from skylift.client.steps import Clock

RUN = "sums-20261128-0200"
KEYS = MapKeys(RUN)


@pytest.fixture
def account(
    settings: Settings, prepared: None, api: Api, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Account:
    """With a schedule `sums`, whose runs look into s3://days-of-a-user/in/*.csv and have a local file."""
    monkeypatch.chdir(folder)
    (folder / "sum.py").write_text("")
    (folder / "a.csv").write_text("1,2\n")
    account = open_account(settings, api)
    api.call("s3", "create_bucket", Bucket="days-of-a-user")
    api.put("days-of-a-user", "in/monday.csv", b"")
    make(account, seen, ("a.csv", "s3://days-of-a-user/in/*.csv"))
    return account


def make(account: Account, seen: Seen, words: tuple[str, ...], name: str = "sums") -> None:
    what = Program("script", "sum.py")
    asked = read_options({"out": "sum.json", "retries": 1}, what)
    job = plan_maps(asked, what, name, InputWords(words), MapLimits(), lambda: account.api)
    order = ScheduleOrder(job, Recurrence("cron(0 2 * * ? *)"), "skip", "map sum.py")
    assert asyncio.run(MakeSchedule(order, account.settings, seen, Clock(seen)).run())


def statements(account: Account, schedule: str = "sums") -> list[dict[str, Any]]:
    role = f"skylift-schedule.{schedule}"
    found = account.api.call("iam", "get_role_policy", RoleName=role, PolicyName="job")["PolicyDocument"]
    listed: list[dict[str, Any]] = found["Statement"]
    return listed


def test_what_is_kept_for_all_runs(account: Account) -> None:
    prefix = JobKeys("sums", SCHEDULES)
    spec = parse_spec(account.api.get(account.bucket, prefix.map) or b"")
    assert [(each.bucket, each.region, each.key) for each in spec.places] == [
        ("days-of-a-user", "us-east-1", "in/*.csv")
    ]
    assert [(each.text, each.blob.size if each.blob else None) for each in spec.inputs] == [("a.csv", 4)]
    assert (spec.outputs, spec.retries) == (("sum.json",), 1)
    blob = MapKeys("sums", SCHEDULES).blob(spec.inputs[0].blob.sha256 if spec.inputs[0].blob else "")
    assert account.api.get(account.bucket, blob) == b"1,2\n"
    record = account.record(RUN)
    assert (record.is_map, record.relaunched, record.group) == (True, False, "")


def test_a_run_may_list_what_it_looks_up_and_write_only_its_own(account: Account) -> None:
    listing = [each for each in statements(account) if each["Action"] == "s3:ListBucket"]
    assert [(each["Resource"], each["Condition"]) for each in listing] == [
        ("arn:aws:s3:::days-of-a-user", {"StringEquals": {"s3:prefix": "in/"}})
    ]
    reading = next(each for each in statements(account) if each["Sid"] == "ReadInputs")["Resource"]
    assert "arn:aws:s3:::days-of-a-user/in/*.csv" in reading
    for each in statements(account):
        actions = [each["Action"]] if isinstance(each["Action"], str) else each["Action"]
        if {"s3:PutObject", "s3:DeleteObject"} & set(actions):
            written = [each["Resource"]] if isinstance(each["Resource"], str) else each["Resource"]
            assert not [one for one in written if "/in/" in one or "record.json" in one]
    role = account.api.call("iam", "get_role", RoleName="skylift-schedule.sums")["Role"]
    boundary = role["PermissionsBoundary"]["PermissionsBoundaryArn"]
    version = account.api.call("iam", "get_policy", PolicyArn=boundary)["Policy"]["DefaultVersionId"]
    document = account.api.call("iam", "get_policy_version", PolicyArn=boundary, VersionId=version)
    allowed = [each for each in document["PolicyVersion"]["Document"]["Statement"] if "Other" in each["Sid"]]
    assert [(each["Action"], each["Resource"]) for each in allowed] == [
        ("s3:GetObject", ["arn:aws:s3:::days-of-a-user/*"]),
        ("s3:ListBucket", ["arn:aws:s3:::days-of-a-user"]),
    ]


def test_a_run_may_read_what_it_may_find_also_where_that_is_not_there_yet(account: Account, seen: Seen) -> None:
    """An object comes in the place of a folder, or the other way round, and a glob or a folder stays what it is."""
    for key in ("object", "folder/a.csv"):
        account.api.put("days-of-a-user", key, b"")
    places = ("latest.csv", "object", "folder", "folder/", "a[*]", "in/*.csv")
    make(account, seen, tuple(f"s3://days-of-a-user/{each}" for each in places), "places")
    reading = next(each for each in statements(account, "places") if each["Sid"] == "ReadInputs")["Resource"]
    ours = "arn:aws:s3:::days-of-a-user/"
    assert {each.removeprefix(ours) for each in reading if each.startswith(ours)} == {
        "latest.csv", "latest.csv/*", "object", "object/*", "folder", "folder/*", "a?", "in/*.csv",
    }  # fmt: skip


def test_a_map_without_places_may_list_nothing(account: Account, seen: Seen) -> None:
    make(account, seen, ("a.csv",), "plain")
    assert "s3:ListBucket" not in json.dumps(statements(account, "plain"))


def test_its_inputs_are_known_once_the_run_has_looked_them_up(account: Account) -> None:
    reader = MapReader(account, RUN)
    assert ([each.text for each in reader.spec.inputs], len(reader.own.places)) == (["a.csv"], 1)
    account.api.put(account.bucket, KEYS.found, encode_found([["in/monday.csv", "in/tuesday.csv"]]))
    assert reader.read_on() == []
    assert [each.name for each in reader.spec.inputs] == ["a.csv", "monday.csv", "tuesday.csv"]
    assert (reader.own.total, reader.own.places, sorted(reader.inputs)) == (3, (), [0, 1, 2])
    assert [each.name for each in MapReader(account, RUN).spec.inputs] == ["a.csv", "monday.csv", "tuesday.csv"]


@pytest.mark.parametrize("found", [b"{", encode_found([["secret.csv"]]), encode_found([["in/../../x.csv"]]), b"[]"])
def test_a_list_that_names_anything_else_is_damage_and_no_input(account: Account, found: bytes) -> None:
    account.api.put(account.bucket, KEYS.found, found)
    with pytest.raises(RecordDamaged, match=r"found\.json"):
        MapReader(account, RUN)


def test_a_run_stays_when_its_schedule_is_removed(account: Account) -> None:
    schedules = Schedules(account.settings, account)
    account.api.put(account.bucket, KEYS.found, encode_found([["in/monday.csv"]]))
    ended(account)
    assert "1 run of it stays" in schedules.remove("sums")
    reader = MapReader(account, RUN)
    reader.read_on()
    assert [each.name for each in reader.spec.inputs] == ["a.csv", "monday.csv"]
    assert reader.outcomes[1].succeeded
    with pytest.raises(UsageError, match=r"is not in the bucket: a\.csv"):
        go_on(account)


def test_a_map_of_the_users_own_keeps_its_spec_when_a_schedule_of_its_name_is_removed(account: Account) -> None:
    """It may be called as a run would be."""
    account.api.put(account.bucket, JobKeys(RUN).map, b"its own")
    account.api.put(account.bucket, JobKeys(RUN).record, b"{}")
    Schedules(account.settings, account).remove("sums")
    kept = [account.api.get(account.bucket, each) for each in (JobKeys(RUN).map, JobKeys(RUN).record)]
    assert kept == [b"its own", b"{}"]


def test_what_is_left_of_a_run_goes_on_as_a_map_of_its_own(account: Account) -> None:
    account.api.put(account.bucket, KEYS.found, encode_found([["in/monday.csv"]]))
    ended(account)
    go_on(account)
    spec = parse_spec(account.api.get(account.bucket, MapKeys("rest").spec) or b"")
    assert [(each.index, each.name) for each in spec.inputs] == [(0, "a.csv")]
    assert (spec.resumes and spec.resumes.job, spec.total, spec.places) == (RUN, 2, ())
    assert spec.inputs[0].blob is not None
    assert account.api.get(account.bucket, MapKeys("rest").blob(spec.inputs[0].blob.sha256)) == b"1,2\n"


def test_a_run_that_never_knew_its_inputs_is_not_continued(account: Account) -> None:
    ended(account)
    with pytest.raises(UsageError, match="ended before it knew its inputs"):
        go_on(account)


def ended(account: Account) -> None:
    """The run has done its second input, and not its first."""
    outcome = InputOutcome(1, InputState.SUCCEEDED, 0)
    entries = [LogEntry(1, 1.0, "i-0123456789abcdef0"), LogEntry(1, 2.0, outcomes=(outcome,))]
    entries.append(LogEntry(1, 3.0, ended=MapEnd("1 of 2 inputs have failed.")))
    for number, each in enumerate(entries):
        account.api.put(account.bucket, KEYS.log_entry(number), encode_entry(each))
    status = {"state": "failed", "final": True, "exit_code": 1, "instance": "i-0123456789abcdef0"}
    account.api.put(account.bucket, JobKeys(RUN).status, json.dumps(status).encode())


def go_on(account: Account) -> None:
    again = ContinuedMap(account, Continuation(RUN, unfinished=True))
    run = read_options({"name": "rest"}, Program("script", ""))
    order = replace(again.order(run.order, ()), program=again.program([], None, None))
    job = plan_job(order, Path.cwd(), {})
    job, _ = again.plan(job, MapLimits(), Template())
    assert job.map is not None
    account.api.put(account.bucket, MapKeys("rest").spec, job.map.spec)
    job.map.send_inputs(account.api, account.bucket, "rest")
