"""A map goes on where another one has ended: with what is left of it, by its own program, and once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skylift.client.errors import JobNotFound, NotPermitted, RecordDamaged, ResultsDamaged, UsageError
from skylift.client.job.job import Job, MapPart, Program
from skylift.client.job.record import JobKeys, encode_record
from skylift.client.job.server import Server
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.map.changed_objects import changed_parts
from skylift.client.map.continuation import Continuation, ContinuedMap, read_continuation
from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import InputOutcome, InputState, LogEntry, RunResult, RunStream, encode_entry
from skylift.client.map.places import Template
from skylift.client.map.planning import MapLimits, script_digest
from skylift.client.map.reading import MapReader
from skylift.client.map.spec import encode_spec
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.contract.map_progress import PROGRESS_LIMIT
from skylift.contract.map_spec import Blob, Halt, MapInput, MapSpec, ObjectRange, Resumed

SHA = "ab" * 32
INPUTS = (
    MapInput(0, "a.csv", "a.csv", Blob(SHA, 4, "a.csv")),
    MapInput(1, "s3://theirs/b.csv", "b.csv"),
    MapInput(2, "c", "c"),
    MapInput(3, "d", "d"),
)


SERVER = Server("i-0a", "pending", None, "", "early", "t3.small", "2026-01-31T12:00:00Z")


def ended(index: int, exit_code: int = 0) -> InputOutcome:
    state = InputState.FAILED if exit_code else InputState.SUCCEEDED
    run = f"{index}" * 8
    return InputOutcome(index, state, exit_code, run=run, stdout=RunStream(9, None, 9))


class Case:
    """An account with maps that have ended: `early` has an input that succeeded, one that failed, and two without an
    outcome."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.account, self.api, self.bucket, self.folder = account, account.api, account.bucket, folder
        (folder / "job.py").write_text("print(1)\n")
        digest = script_digest(self.job("x"))
        self.spec = MapSpec(
            ("python", "job.py"), True, ("-v",), INPUTS, outputs=("*.txt",), total=4, per_server=3,
            halt=Halt(count=2), retries=1, script=digest,
        )  # fmt: skip
        self.put("early", self.spec, [ended(0), ended(1, 7)])
        self.api.put(self.bucket, MapKeys("early").blob(SHA), b"x,y\n")

    def job(self, name: str, **more: object) -> Job:
        return plan_job(Order(Program("script", "job.py"), name=name, **more), self.folder, {})  # type: ignore[arg-type]

    def put(
        self,
        name: str,
        spec: MapSpec,
        outcomes: Sequence[InputOutcome],
        state: str = "failed",
        *,
        begun: bool = True,
        **more: object,
    ) -> None:
        job = replace(
            self.job(name, instance_type="c7i.large", max_time=7200, **more), map=MapPart(b"", lambda *_: None)
        )
        record = encode_record(job, created=1.0, deadline=2, packs=[], tools={})
        keys = MapKeys(name)
        status = {"job": name, "state": state, "final": state != "running", "exit_code": 1}
        written = {
            JobKeys(name).record: record,
            JobKeys(name).status: json.dumps(status).encode(),
            keys.spec: encode_spec(spec),
        }
        if begun:
            written[keys.log_entry(0)] = encode_entry(LogEntry(1, 1.0, "i-0a", tuple(outcomes)))
        for key, body in written.items():
            self.api.put(self.bucket, key, body)

    def again(self, **asked: bool) -> ContinuedMap:
        return ContinuedMap(self.account, Continuation("early", **asked))

    def plan(
        self, again: ContinuedMap, words: Sequence[str] = (), arguments: Sequence[str] | None = None
    ) -> tuple[Job, MapSpec]:
        order = again.order(Order(again.program(words, arguments, None)), ())
        return again.plan(plan_job(order, self.folder, {}), MapLimits(), Template())

    def listed(self, prefix: str) -> list[dict[str, str]]:
        return list(self.api.pages("s3", "list_objects_v2", "Contents", Bucket=self.bucket, Prefix=prefix))

    def start(self, name: str, job: Job, spec: MapSpec, outcomes: Sequence[InputOutcome]) -> MapReader:
        """What a client does for a job that has its name, and what the server writes then."""
        self.put(name, spec, outcomes, begun=bool(outcomes))
        assert job.map is not None
        try:
            job.map.send_inputs(self.api, self.bucket, name)
        except UsageError:
            job.map.take_back(self.api, self.bucket, name)
            raise
        return MapReader(self.account, name)


@pytest.fixture
def case(settings: Settings, api: Api, tmp_path: Path) -> Case:
    account = open_account(settings, api)
    ensure_bucket(api, account.bucket)
    return Case(account, tmp_path)


@pytest.mark.parametrize(
    ("asked", "left"),
    [({"unfinished": True}, [2, 3]), ({"failed": True}, [1]), ({"unfinished": True, "failed": True}, [1, 2, 3])],
)
def test_what_is_left_runs_and_what_has_succeeded_never_again(
    case: Case, asked: dict[str, bool], left: list[int]
) -> None:
    job, spec = case.plan(case.again(**asked))
    assert [each.index for each in spec.inputs] == left
    assert (spec.total, spec.resumes.job, spec.argv, spec.args) == (4, "early", ("python", "job.py"), ("-v",))
    assert (spec.outputs, spec.per_server, spec.halt, spec.retries) == (("*.txt",), 3, Halt(count=2), 1)
    assert spec.resumes.failed == (0 if "failed" in asked else 1)
    assert (job.instance_type, job.max_time, job.retry) == ("c7i.large", 7200, None)
    assert job.notes == (f"{len(left)} of the 4 inputs of early run.",)
    assert job.map is not None
    assert job.map.arns == (("arn:aws:s3:::theirs/b.csv",) if 1 in left else ())


def test_what_the_user_says_counts_more_than_what_the_map_had(case: Case) -> None:
    again = case.again(unfinished=True)
    said = Order(again.program((), ["-x"], None), instance_type="t3.large", max_time=60, outputs=["*.csv"])
    order = again.order(said, {"type", "max_time", "out", "retries"})
    assert order == said
    assert order.program.args == ("-x",)


def test_both_maps_are_read_as_one(case: Case) -> None:
    job, spec = case.plan(case.again(unfinished=True))
    for name, index in (("early", 0), ("late", 2)):
        run = MapKeys(name).run(index, f"{index}" * 8)
        case.api.put(case.bucket, f"{run}stdout", f"{name:>9}".encode())
        case.api.put(case.bucket, f"{run}results/r.txt", name.encode())
    before, after = (
        replace(ended(index), results=(RunResult("r.txt", len(name), _sha(name)),))
        for index, name in ((0, "early"), (2, "late"))
    )
    case.api.put(
        case.bucket, MapKeys("early").log_entry(1), encode_entry(LogEntry(1, 2.0, None, (replace(before, index=3),)))
    )
    case.put("early", case.spec, [before, ended(1, 7)])
    # What a map says of an input that is not its own is not taken.
    reader = case.start("late", job, spec._replace(inputs=INPUTS[2:3]), [after, replace(ended(0, 9))])
    assert [each.index for each in reader.spec.inputs] == [0, 1, 2, 3]
    assert [each.index for each in reader.read_on()] == [0, 1, 3, 2]
    assert {index: each.exit_code for index, each in reader.outcomes.items()} == {0: 0, 1: 7, 2: 0, 3: 0}
    assert reader.read_on() == []
    written = io.BytesIO()
    for outcome in (before, after):
        reader.write_stream(outcome, "stdout", written)
    assert written.getvalue() == b"    early     late"
    places = reader.bring_home([before, after], case.folder, Template(), lambda _: None)
    assert [(place / "r.txt").read_text() for _, place in places] == ["early", "late"]
    assert case.api.get(case.bucket, MapKeys("late").blob(SHA)) is None, "input 0 is not run again"


def test_results_that_cannot_be_written_here_name_their_input_and_what_fetches_them(case: Case) -> None:
    name = MapKeys("early").run(0, "0" * 8)
    case.api.put(case.bucket, f"{name}results/r.txt", b"early")
    name = MapKeys("early").run(1, "1" * 8)
    case.api.put(case.bucket, f"{name}results/r.txt", b"early")
    both = [
        replace(ended(index), run=f"{index}" * 8, results=(RunResult("r.txt", 5, _sha("early")),)) for index in (0, 1)
    ]
    reader = MapReader(case.account, "early")
    (case.folder / "out").mkdir()
    (case.folder / "out/0").write_text("a file where a folder should be")
    with pytest.raises(ResultsDamaged) as failed:
        reader.bring_home(both, case.folder, Template(), lambda _: None)
    assert failed.value.message == (
        f"Of input 0 ({reader.inputs[0].name}): Nothing can be written to {case.folder}/out/0: File exists."
    )
    assert failed.value.advice == "To fetch what is missing: skylift map-results early DIR"
    assert (case.folder / "out/1/r.txt").read_text() == "early", "what is wrong with one holds up no other"


def test_places_of_results_are_compared_once_and_not_for_each_outcome(case: Case) -> None:
    """Python brings each outcome home as it comes: for ten thousand inputs, that would be a hundred million places."""
    reader, asked = MapReader(case.account, "early"), []

    class Counted(Template):
        def folder(self, index: int, name: str) -> str:
            asked.append(index)
            return super().folder(index, name)

    for each in reader.read_on() * 3:
        reader.bring_home([each], case.folder, Counted(), lambda _: None)
    assert asked == [0, 1, 2, 3]


def test_local_inputs_are_copied_so_that_the_first_map_may_be_removed(case: Case) -> None:
    case.put("early", case.spec, [ended(0, 1)])
    job, spec = case.plan(case.again(failed=True))
    case.start("late", job, spec, [ended(0)])
    assert case.api.get(case.bucket, MapKeys("late").blob(SHA)) == b"x,y\n"
    case.api.delete_below(case.bucket, "jobs/early/")
    reader = MapReader(case.account, "late")
    reader.read_on()
    assert (reader.gone, list(reader.outcomes)) == ("early", [0])
    with pytest.raises(UsageError, match="goes on from early, which was removed"):
        ContinuedMap(case.account, Continuation("late", failed=True))


@pytest.mark.parametrize("data", [b" " * (PROGRESS_LIMIT + 1), b"[1,2]"], ids=["too-large", "list"])
def test_a_progress_that_cannot_be_read_is_none(case: Case, data: bytes) -> None:
    """It is only for display, and the outcomes are read all the same."""
    case.put("early", case.spec, [ended(0)])
    case.api.put(case.bucket, MapKeys("early").progress, data)
    reader = MapReader(case.account, "early")
    assert reader.progress() is None
    assert [each.index for each in reader.read_on()] == [0]


def test_one_map_goes_on_and_a_second_one_at_the_same_time_does_not(case: Case) -> None:
    job, spec = case.plan(case.again(unfinished=True))
    other, _ = case.plan(case.again(failed=True))
    case.start("late", job, spec, [])
    with pytest.raises(UsageError, match="late goes on where early has ended") as caught:
        case.start("later", other, spec, [])
    assert "--resume late" in caught.value.advice
    with pytest.raises(UsageError, match="late goes on where early has ended"):
        case.again(unfinished=True)
    # It was removed, or did not come to be: early is free.
    case.api.delete_below(case.bucket, "jobs/late/")
    case.start("later", case.plan(case.again(unfinished=True))[0], spec, [])
    with pytest.raises(UsageError, match="later goes on where early has ended"):
        case.again(unfinished=True)


def test_an_input_that_ends_its_server_is_known_to_the_map_that_goes_on(case: Case) -> None:
    key = MapKeys("early").log_entry(1)
    case.api.put(case.bucket, key, encode_entry(LogEntry(1, 2.0, lost=(3,), begun=((2, 1), (3, 1)))))
    _, spec = case.plan(case.again(unfinished=True, failed=True))
    assert {each.index: each.losses for each in spec.inputs} == {1: 0, 2: 1, 3: 2}
    case.put("late", spec, [])
    case.api.put(case.bucket, MapKeys("late").log_entry(1), encode_entry(LogEntry(1, 2.0, begun=((3, 1),))))
    reader = MapReader(case.account, "late")
    reader.read_on()
    assert [reader.losses(index) for index in (2, 3)] == [1, 3]


def other_script(case: Case) -> tuple[Sequence[str], Sequence[str] | None]:
    (case.folder / "job.py").write_text("print(2)\n")
    return (), None


def another_name(case: Case) -> tuple[Sequence[str], Sequence[str] | None]:
    (case.folder / "other.py").write_text("print(1)\n")
    return ("other.py",), None


def other_arguments(case: Case) -> tuple[Sequence[str], Sequence[str] | None]:
    return (), ["-x"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_script, "job.py is another one than early ran."),
        (another_name, "early ran job.py, not other.py."),
        (other_arguments, "The arguments are other ones than early had."),
    ],
)
def test_another_program_resumes_a_map_only_with_force(
    case: Case, change: Callable[[Case], tuple[Sequence[str], Sequence[str] | None]], told: str
) -> None:
    words = change(case)
    with pytest.raises(UsageError) as caught:
        case.plan(case.again(unfinished=True), *words)
    assert caught.value.message == told
    assert "--force" in caught.value.advice
    for asked in ({"unfinished": True, "force": True}, {"failed": True}):
        assert case.plan(case.again(**asked), *words)[0].notes[0] == told


def test_what_cannot_be_resumed_is_told(case: Case) -> None:
    case.api.put(
        case.bucket, JobKeys("plain").record, encode_record(case.job("plain"), created=1.0, deadline=2, packs=[])
    )
    asked = Continuation("plain", unfinished=True)
    with pytest.raises(UsageError, match="The job plain is not a map"):
        ContinuedMap(case.account, asked)
    with pytest.raises(JobNotFound):
        ContinuedMap(case.account, Continuation("none", unfinished=True))
    case.put("early", case.spec, [ended(index) for index in range(4)])
    with pytest.raises(UsageError, match="all 4 inputs have succeeded"):
        case.plan(case.again(unfinished=True, failed=True))
    case.put("early", case.spec, [ended(0), ended(1)])
    with pytest.raises(UsageError, match="No input of early has failed; 2 have no outcome"):
        case.plan(case.again(failed=True))
    case.put("early", case.spec, [ended(index, index) for index in range(4)])
    with pytest.raises(UsageError, match="Every input of early has an outcome; 3 have failed"):
        case.plan(case.again(unfinished=True))
    case.put("early", case.spec, [], env=["A=b"])
    with pytest.raises(UsageError, match="--env, which are not kept"):
        case.plan(case.again(unfinished=True))
    case.plan(case.again(unfinished=True, force=True))
    with pytest.raises(UsageError, match="name no others"):
        case.again(unfinished=True).program(["job.py", "a.csv"], None, None)


def test_parts_of_an_object_that_has_changed_fail_again_and_a_new_map_is_advised(case: Case) -> None:
    etags = {}
    case.api.call("s3", "create_bucket", Bucket="theirs")
    for key in ("a.csv", "b.csv"):
        case.api.put("theirs", key, b"x\n1\n2\n")
        etags[key] = str(case.api.call("s3", "head_object", Bucket="theirs", Key=key)["ETag"])
    places = ["a.csv", "a.csv", "b.csv"]
    parts = [ObjectRange("theirs", "us-east-1", key, etags[key], 2, 2, 4, key) for key in places]
    inputs = [MapInput(index, f"s3://theirs/{part.key}", part.key, part=part) for index, part in enumerate(parts)]
    case.put("early", case.spec._replace(inputs=(*inputs, MapInput(3, "c", "c"))), [ended(n, n + 1) for n in range(3)])
    assert len(case.plan(case.again(failed=True))[0].notes) == 1, "no object has changed"
    case.api.put("theirs", "a.csv", b"x\n1\n2\n3\n")
    job, spec = case.plan(case.again(failed=True))
    assert len(spec.inputs) == 3
    assert job.notes[1:] == (
        "s3://theirs/a.csv has changed since it was split: 2 parts of it cannot run any more. "
        "A new map splits what is there now: start it by its own command.",
    )
    case.api.call("s3", "delete_object", Bucket="theirs", Key="b.csv")
    with pytest.raises(UsageError) as caught:
        case.plan(case.again(failed=True))
    assert caught.value.message == (
        "s3://theirs/a.csv and 1 other object have changed since they were split: 3 parts of them cannot run any more."
    )
    assert caught.value.advice == "A new map splits what is there now: start it by its own command."
    case.plan(case.again(failed=True, unfinished=True))


def test_parts_of_an_object_that_cannot_be_asked_for_run_as_they_would(case: Case) -> None:
    def refused(*_: object, **__: object) -> None:
        raise NotPermitted("403", "Forbidden", "head_object")

    account: Any = SimpleNamespace(api=SimpleNamespace(call=refused))
    part = ObjectRange("theirs", "us-east-1", "a.csv", '"0"', 2, 2, 4, "a.csv")
    assert changed_parts(account, [MapInput(0, "s3://theirs/a.csv", "a.csv", part=part)]) == ()


def test_a_server_that_a_client_has_just_started_is_waited_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """That client sees the mark, and terminates it."""
    job, spec = case.plan(case.again(unfinished=True))
    looks = iter([[SERVER], []])
    monkeypatch.setattr("skylift.client.map.continuation.live_servers", lambda *_: next(looks))
    case.start("later", job, spec, [])
    assert case.account.record("later").is_map
    assert next(looks, None) is None
    assert json.loads(case.api.get(case.bucket, MapKeys("early").resumed) or b"") == {"job": "later"}


def test_who_does_not_go_on_leaves_nothing_behind(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has the map again. When that one is lost, the map can go on."""
    job, spec = case.plan(case.again(unfinished=True))
    with monkeypatch.context() as there:
        there.setattr("skylift.client.map.continuation.live_servers", lambda *_: [SERVER])
        there.setattr("skylift.client.map.continuation._GOING", 0.0)
        with pytest.raises(UsageError, match="The map early goes on: another client has started a server"):
            case.start("later", job, spec, [])
    assert case.api.get(case.bucket, MapKeys("early").resumed) is None
    with pytest.raises(JobNotFound):
        case.account.record("later")
    assert [each["Key"] for each in case.listed("jobs/later/")] == []
    job, spec = case.plan(case.again(unfinished=True))
    case.start("last", job, spec, [])
    assert json.loads(case.api.get(case.bucket, MapKeys("early").resumed) or b"") == {"job": "last"}


def mark_of(case: Case, name: str) -> object:
    return json.loads(case.api.get(case.bucket, MapKeys(name).resumed) or b"null")


def test_a_map_that_could_not_be_started_leaves_the_earlier_one_as_it_was(case: Case) -> None:
    """EC2 has had no room for a server, say."""
    job, spec = case.plan(case.again(unfinished=True))
    assert job.map is not None
    unsent = replace(job.map, send_inputs=lambda *_: None)
    case.start("taken", replace(job, map=unsent), spec, [])
    unsent.take_back(case.api, case.bucket, "taken")
    assert case.account.record("taken").is_map, "another job's, whose name it was"
    case.start("later", job, spec, [])
    job.map.take_back(case.api, case.bucket, "later")
    assert mark_of(case, "early") is None
    assert case.listed("jobs/later/") == []
    case.plan(case.again(unfinished=True))


@pytest.mark.parametrize("there", ["an outcome", "another map"])
def test_a_map_that_was_begun_all_the_same_stays(case: Case, there: str) -> None:
    job, spec = case.plan(case.again(unfinished=True))
    case.start("later", job, spec, [ended(2)] if there == "an outcome" else [])
    if there == "another map":
        case.api.put(case.bucket, MapKeys("later").resumed, b'{"job": "last"}')
    assert job.map is not None
    job.map.take_back(case.api, case.bucket, "later")
    assert mark_of(case, "early") == {"job": "later"}
    assert case.account.record("later").is_map


def test_a_map_whose_client_was_killed_while_it_sent_inputs_is_told_of(case: Case) -> None:
    case.api.call("s3", "delete_object", Bucket=case.bucket, Key=MapKeys("early").log_entry(0))
    case.api.call("s3", "delete_object", Bucket=case.bucket, Key=MapKeys("early").blob(SHA))
    with pytest.raises(UsageError, match=r"A file of early is not in the bucket: a\.csv\. Its client ended") as caught:
        case.plan(case.again(unfinished=True))
    assert caught.value.advice == "Start the map anew, by its own command."
    case.put("early", case.spec, [ended(0)])
    case.plan(case.again(unfinished=True))
    case.api.call("s3", "delete_object", Bucket=case.bucket, Key=MapKeys("early").spec)
    with pytest.raises(UsageError, match="The map early was never started"):
        case.again(unfinished=True)


def test_a_map_that_names_itself_is_damaged(case: Case) -> None:
    case.put("early", case.spec._replace(resumes=Resumed("early")), [])
    with pytest.raises(RecordDamaged, match="go on from each other"):
        MapReader(case.account, "early")


def test_one_map_is_named() -> None:
    assert read_continuation(None, None, force=False) is None
    assert read_continuation("a", "a", force=True) == Continuation("a", unfinished=True, failed=True, force=True)
    for names, force in ((("a", "b"), False), ((None, None), True)):
        with pytest.raises(UsageError):
            read_continuation(*names, force=force)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
