"""How the outcomes of `skylift.map` end: a map that did not come to all its inputs says why."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import skylift
from skylift.client.job.outcome import Outcome
from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import InputOutcome, InputState, LogEntry, MapEnd, encode_entry
from skylift.client.map.places import Template
from skylift.client.map.reading import MapReader
from skylift.contract.map_spec import MapInput, MapSpec
from skylift.contract.states import State
from skylift.python import mapping
from skylift.python.mapping import InputResult, MapPlan, results

SPEC = MapSpec(("python", "job.py"), True, (), tuple(MapInput(number, str(number), str(number)) for number in range(3)))
HALTED = MapEnd("It was ended early: 1 of 3 inputs have failed (--halt).", halted=True)
FAILED = Outcome("sums", State.FAILED, 1, "The program exited with 1.")


class Ended:
    """The bucket of a map that has ended so, and the run of it."""

    def __init__(self, outcome: Outcome, entry: LogEntry) -> None:
        log = [LogEntry(1, 1.0, "i-0a"), entry]
        keys = MapKeys("sums")
        self.objects = {keys.log_entry(number): encode_entry(each) for number, each in enumerate(log)}
        self.outcome = outcome
        self.api = SimpleNamespace(get=lambda bucket, key, most: self.objects.get(key))

    def start(self, *words: Any) -> Ended:
        begun: Callable[[str], object] = words[-1]
        begun("sums")
        return self

    def ends_within(self, seconds: float) -> bool:
        return True

    def result(self) -> Outcome:
        return self.outcome


@pytest.fixture
def outcomes_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Reads all that comes of a map that has ended so into a list, which stays when an error ends that."""

    def run(outcome: Outcome, entry: LogEntry, come: list[InputResult], *, ordered: bool = False) -> None:
        ended = Ended(outcome, entry)
        account = SimpleNamespace(api=ended.api, bucket="bucket")
        monkeypatch.setattr(mapping, "open_account", lambda _: account)
        monkeypatch.setattr(mapping.work, "start_run", ended.start)
        planned: Any = SimpleNamespace(name="sums")
        settings: Any = None
        for each in results(MapPlan(planned, settings, SPEC, Template()), ordered=ordered):
            come.append(each)

    return run


def had(*exit_codes: int) -> tuple[InputOutcome, ...]:
    return tuple(
        InputOutcome(index, InputState.FAILED if code else InputState.SUCCEEDED, code)
        for index, code in enumerate(exit_codes)
    )


@pytest.mark.parametrize("ordered", [True, False])
def test_a_map_that_was_halted_says_why_after_all_outcomes(outcomes_of: Any, ordered: bool) -> None:
    come: list[InputResult] = []
    with pytest.raises(skylift.JobFailed) as failed:
        outcomes_of(FAILED, LogEntry(1, 2.0, outcomes=had(0, 3), ended=HALTED), come, ordered=ordered)
    assert [each.index for each in come] == [0, 1]
    assert str(failed.value) == "sums: failed, exit code 1. It was ended early: 1 of 3 inputs have failed (--halt)."
    assert failed.value.outcome.reason == HALTED.reason


@pytest.mark.parametrize("ordered", [True, False])
def test_what_an_earlier_map_has_done_comes_in_its_place(
    outcomes_of: Any, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    """The map runs 1 and 2, after one that had 0 and 3."""
    begin, come = MapReader.__init__, list[InputResult]()

    def carrying(self: Any, *words: Any) -> None:
        begin(self, *words)
        self._carried = [InputOutcome(index, InputState.SUCCEEDED, 0) for index in (0, 3)]
        self._runs_here = {1, 2}
        self.inputs = {each: MapInput(each, str(each), str(each)) for each in range(4)}

    monkeypatch.setattr(MapReader, "__init__", carrying)
    done = Outcome("sums", State.SUCCEEDED, 0, "")
    outcomes_of(done, LogEntry(1, 2.0, outcomes=had(0, 0, 0)[1:], ended=MapEnd("Done.")), come, ordered=ordered)
    assert [each.index for each in come] == ([0, 1, 2, 3] if ordered else [0, 3, 1, 2])


def test_what_the_server_says_cannot_move_the_cursor(outcomes_of: Any) -> None:
    with pytest.raises(skylift.JobFailed) as failed:
        outcomes_of(FAILED, LogEntry(1, 2.0, ended=MapEnd("a\x1b[2J", halted=True)), [])
    assert str(failed.value) == "sums: failed, exit code 1. a\\x1b[2J"


def test_a_map_whose_coordinator_has_failed_raises_what_its_job_says(outcomes_of: Any) -> None:
    come: list[InputResult] = []
    with pytest.raises(skylift.JobFailed, match=r"exit code 125\. The program exited with 125"):
        outcomes_of(
            Outcome("sums", State.FAILED, 125, "The program exited with 125."), LogEntry(1, 2.0, outcomes=had(0)), come
        )
    assert [each.index for each in come] == [0]


def test_inputs_that_have_failed_are_no_error(outcomes_of: Any) -> None:
    come: list[InputResult] = []
    outcomes_of(FAILED, LogEntry(1, 2.0, outcomes=had(0, 3, 0), ended=MapEnd("1 of 3 inputs have failed.")), come)
    assert [each.exit_code for each in come] == [0, 3, 0]


@pytest.mark.parametrize("reason", ["", "All is well.\x1b[2J"])
def test_a_success_that_leaves_inputs_without_an_outcome_is_not_believed(outcomes_of: Any, reason: str) -> None:
    """No coordinator says so. Root of a server can write it into the job's record."""
    come: list[InputResult] = []
    entry = LogEntry(1, 2.0, outcomes=had(0), ended=MapEnd("All inputs succeeded."))
    with pytest.raises(skylift.JobFailed) as failed:
        outcomes_of(Outcome("sums", State.SUCCEEDED, 0, reason), entry, come)
    assert [each.index for each in come] == [0]
    assert failed.value.exit_code == failed.value.outcome.exit_code == 125
    told = "Its server says that it succeeded, but 2 of 3 inputs have no outcome."
    assert str(failed.value) == f"sums: broken, exit code 125. {told}"
