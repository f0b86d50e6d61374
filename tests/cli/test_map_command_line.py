"""What is wrong with a map is said before anything is started: exit code 2, no traceback, no cloud."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from skylift.cli import map as map_command
from skylift.cli.main import perform
from skylift.cli.map_display import going_on, results, summary
from skylift.client.map.outcome import InputOutcome, InputState, RunStream
from skylift.client.map.reading import MapReader
from skylift.client.remote.account import Account
from skylift.contract.map_spec import InputPlace, MapInput, MapSpec, ObjectRange


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("")
    for name in ("a.csv", "b.csv", "sub/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x,y\n1,2\n")

    def no_cloud(*_: object) -> None:
        raise AssertionError("a cloud was started for what is wrong")

    monkeypatch.setattr(map_command, "settings_for", no_cloud)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("job.py", "There are no inputs"),
        ("job.py *.parquet", "*.parquet: nothing matches"),
        ("job.py gone.csv", "there is no such file"),
        ("job.py a.csv --retries 2", "--retries is not an input"),
        ("other.py a.csv", "There is no script other.py"),
        ("--range 3..1 job.py", "ends before it begins"),
        ("--inputs list.txt job.py", "--inputs list.txt cannot be read"),
        ("--split 1MiB job.py job.py", "only CSV"),
        ("--split many job.py a.csv", "is not a size"),
        ("--halt 0 job.py a.csv", "--halt"),
        ("--servers 0 job.py a.csv", "--servers 0 is not a number from 1 to 1000"),
        ("--servers 1001 job.py a.csv", "--servers 1001 is not a number from 1 to 1000"),
        ("--servers many job.py a.csv", "--servers many is not a number from 1 to 1000, and not auto"),
        ("--servers \u0663 job.py a.csv", "is not a number from 1 to 1000"),
        (f"--servers 2 --name {'n' * 39} job.py a.csv", "too long for several servers"),
        ("--halt 120% job.py a.csv", "--halt"),
        ("--out s3://my-data/x job.py a.csv", "no results to S3"),
        ("--into s3://my-data/{name} job.py a.csv", "below the working directory"),
        ("--into ../{name} job.py a.csv", "below the working directory"),
        ("--into sums/{name} job.py **/*.csv", "would both come into sums/a.csv"),
        ("--name A job.py a.csv", "cannot be used"),
        ("-- true a.csv", "A map runs a script or a module"),
        ("-m json.tool gone.csv", "there is no such file"),
    ],
)
def test_what_is_wrong_is_said_first(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["map", *words.split()]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert message in told
    assert "Traceback" not in told


def test_errors_are_grouped_by_what_they_say() -> None:
    def failed(index: int, last: bytes) -> InputOutcome:
        told = b"Traceback\n" + last + b"\n\n"
        return InputOutcome(index, InputState.FAILED, 1, stderr=RunStream(len(told), told, len(told)))

    spec = MapSpec(("python", "job.py"), True, (), tuple(MapInput(n, str(n), str(n)) for n in range(6)))
    ended = [InputOutcome(0, InputState.SUCCEEDED, 0), failed(3, b"ValueError: b"), failed(1, b"ValueError: a")]
    ended.append(failed(2, b"ValueError: a"))
    assert summary(spec, {each.index: each for each in ended}) == [
        "1 of 6 inputs succeeded, 3 failed, 2 have no outcome.",
        "  2 x ValueError: a (first: input 1)",
        "  1 x ValueError: b (first: input 3)",
    ]


def test_a_map_that_has_looked_up_nothing_says_so() -> None:
    spec = MapSpec(("python", "job.py"), True, (), ())
    assert summary(spec, {}) == ["There was no input."]
    assert summary(spec._replace(places=(InputPlace("b", "us-east-1", "*"),)), {}) == ["Its inputs are not known yet."]


def test_the_end_says_where_results_are(folder: Path) -> None:
    spec = MapSpec(("python", "job.py"), True, (), (MapInput(0, "a", "a"),), outputs=("*.json", "x"))
    ended = [InputOutcome(index, InputState.SUCCEEDED, 0) for index in range(3)]
    assert results(spec._replace(outputs=()), []) == []
    assert results(spec._replace(inputs=()), []) == []
    assert results(spec, []) == ["No input has left a result: nothing matched --out *.json or x."]
    assert results(spec, [(ended[0], folder / "out/0")]) == ["Results of 1 input: out/0/"]
    many = [(each, folder / "sums/2026" / str(each.index)) for each in ended]
    assert results(spec, many) == ["Results of 3 inputs: sums/2026/"]
    assert results(spec, [(ended[0], Path("/other/a")), (ended[1], Path("/other/b"))]) == [
        "Results of 2 inputs: /other/"
    ]


def test_it_says_how_to_run_what_is_left() -> None:
    spec = MapSpec(("python", "job.py"), True, (), tuple(MapInput(n, str(n), str(n)) for n in range(2)))
    reader = MapReader(cast(Account, None), "sums", spec)
    assert going_on(reader) == ["To run what is left: skylift map --resume sums"]
    reader.outcomes[0] = InputOutcome(0, InputState.FAILED, 1)
    assert going_on(reader) == ["To run what is left: skylift map --resume sums --retry-failed sums"]
    reader.outcomes[1] = InputOutcome(1, InputState.SUCCEEDED, 0)
    assert going_on(reader) == ["To run what is left: skylift map --retry-failed sums"]
    reader.outcomes[0] = InputOutcome(0, InputState.SUCCEEDED, 0)
    assert going_on(reader) == []


def test_it_does_not_say_to_run_parts_again_whose_object_has_changed() -> None:
    parts = [ObjectRange("theirs", "us-east-1", key, '"0"', 2, 2, 4, key) for key in ("a.csv", "b\x1b.csv")]
    inputs = tuple(MapInput(n, f"s3://theirs/{part.key}", part.key, part=part) for n, part in enumerate(parts))
    etags = {"a.csv": '"0"', "b\x1b.csv": '"1"'}
    api = SimpleNamespace(call=lambda *_, Bucket, Key: {"ETag": etags[Key]})
    account = cast(Account, SimpleNamespace(api=api))
    reader = MapReader(account, "sums", MapSpec(("python", "job.py"), True, (), inputs))
    reader.outcomes.update({n: InputOutcome(n, InputState.BROKEN, 125) for n in range(2)})
    what = "s3://theirs/b\\x1b.csv has changed since it was split: 1 part of it cannot run any more. "
    told = f"{what}A new map splits what is there now: start it by its own command."
    assert going_on(reader) == [told, "To run what is left: skylift map --retry-failed sums"]
    reader.outcomes[0] = InputOutcome(0, InputState.SUCCEEDED, 0)
    assert going_on(reader) == [told]


def test_of_parts_of_many_objects_only_some_are_looked_at_and_the_broken_ones_first() -> None:
    """Also of parts that have not run, so that the last lines of a map do not wait for thousands of requests."""
    many = 5000
    parts = [ObjectRange("theirs", "us-east-1", f"{n}.csv", '"0"', 2, 2, 4, f"{n}.csv") for n in range(many)]
    inputs = tuple(MapInput(n, f"s3://theirs/{part.key}", part.key, part=part) for n, part in enumerate(parts))
    asked: list[str] = []

    def call(*_: str, Bucket: str, Key: str) -> dict[str, str]:
        asked.append(Key)
        return {"ETag": '"1"' if Key == "4999.csv" else '"0"'}

    account = cast(Account, SimpleNamespace(api=SimpleNamespace(call=call)))
    reader = MapReader(account, "sums", MapSpec(("python", "job.py"), True, (), inputs))
    reader.outcomes[4999] = InputOutcome(4999, InputState.BROKEN, 125)
    told = going_on(reader)
    assert told[0].startswith("s3://theirs/4999.csv has changed since it was split: 1 part of it cannot run any more.")
    assert told[1:] == ["To run what is left: skylift map --resume sums"]
    assert "4999.csv" in asked and len(asked) < 500
